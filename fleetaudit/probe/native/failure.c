/* Why something could not be done, in words. */
#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "errno_table.h"

static const struct errno_entry *entry_of(int number) {
    for (int i = 0; i < ERRNO_ENTRIES; i++) {
        if (ERRNO_TABLE[i].number == number) {
            return &ERRNO_TABLE[i];
        }
    }
    return NULL;
}

const char *error_name(int number) {
    static char digits[16];
    const struct errno_entry *entry = entry_of(number);
    if (entry) {
        return entry->name;
    }
    snprintf(digits, sizeof digits, "%d", number);
    return digits;
}

bool fail_with(struct failure *failure, enum failure_kind kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    failure->kind = kind;
    failure->number = 0;
    vsnprintf(failure->text, sizeof failure->text, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_by_errno(struct failure *failure) {
    failure->kind = SYSTEM_ERROR;
    failure->number = errno;
    failure->text[0] = '\0';
    return false;
}

/* Fills in UNSUPPORTED with a cause. */
static void fill_unsupported(struct failure *failure, int number, const char *format,
                             va_list arguments) {
    char problem[sizeof failure->text - 32];
    vsnprintf(problem, sizeof problem, format, arguments);
    fail_with(failure, UNSUPPORTED, "%s (%s)", problem, error_name(number));
}

bool fail_unsupported(struct failure *failure, const char *format, ...) {
    int number = errno;
    va_list arguments;
    va_start(arguments, format);
    fill_unsupported(failure, number, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_one_of(int number, const int *numbers) {
    for (; *numbers; numbers++) {
        if (*numbers == number) {
            return true;
        }
    }
    return false;
}

bool unsupported_if(struct failure *failure, const int *numbers, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (failure->kind == SYSTEM_ERROR && is_one_of(failure->number, numbers)) {
        fill_unsupported(failure, failure->number, format, arguments);
    }
    va_end(arguments);
    return false;
}

bool is_scarce(int number) {
    static const int SCARCE[] = {EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENFILE, ENOMEM, ENOBUFS, 0};
    return is_one_of(number, SCARCE);
}

bool is_refused(int number) {
    return number == EPERM || number == EACCES;
}

bool is_forbidden(int number) {
    return number == EPERM || number == ENOSYS;
}

/* Returns the words of a SYSTEM_ERROR; a number that has none has its digits. */
static const char *words_of(int number) {
    const struct errno_entry *entry = entry_of(number);
    return entry ? entry->words : error_name(number);
}

void reason_of(const struct failure *failure, char *into, int size) {
    if (failure->kind != SYSTEM_ERROR) {
        snprintf(into, size, "%s", failure->text);
        return;
    }
    snprintf(into, size, "%s (%s)", words_of(failure->number), error_name(failure->number));
}

void message_of(const struct failure *failure, char *into, int size) {
    bool is_of_system = failure->kind == SYSTEM_ERROR;
    snprintf(into, size, "%s", is_of_system ? words_of(failure->number) : failure->text);
}
