/* Text that grows up to a bound. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char WHITE_SPACE[] = " \t\n\v\f\r\x1c\x1d\x1e\x1f";
enum { FIRST_CAPACITY = 256, REPLACEMENT = 0xFFFD };

/* Makes room for `more` bytes and a zero byte; returns false, and cuts the text, if there is none.
 */
static bool make_room(struct text *text, size_t more) {
    if (text->is_cut || more > text->limit - text->length) {
        text->is_cut = true;
        return false;
    }
    size_t needed = text->length + more + 1, capacity = text->capacity;
    if (needed <= capacity) {
        return true;
    }
    if (!capacity) {
        capacity = FIRST_CAPACITY;
    }
    while (capacity < needed) {
        capacity *= 2;
    }
    char *data = realloc(text->data, capacity);
    text->is_cut = !data;
    if (!data) {
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_add(struct text *text, const char *data, size_t length) {
    if (!make_room(text, length)) {
        return;
    }
    memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = 0;
}

void text_put(struct text *text, const char *string) {
    text_add(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length >= 0 && make_room(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

/* The bytes that may follow a first byte of UTF-8, up to `last` (Unicode, table 3-7). */
struct utf8 {
    unsigned char first, last, second_least, second_most, more, bits;
};

static const struct utf8 UTF8[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 1, 0x1F}, {0xE0, 0xE0, 0xA0, 0xBF, 2, 0x0F},
    {0xE1, 0xEC, 0x80, 0xBF, 2, 0x0F}, {0xED, 0xED, 0x80, 0x9F, 2, 0x0F},
    {0xEE, 0xEF, 0x80, 0xBF, 2, 0x0F}, {0xF0, 0xF0, 0x90, 0xBF, 3, 0x07},
    {0xF1, 0xF3, 0x80, 0xBF, 3, 0x07}, {0xF4, 0xF4, 0x80, 0x8F, 3, 0x07},
};

static const struct utf8 *utf8_of(unsigned char first) {
    for (size_t i = 0; i < sizeof UTF8 / sizeof *UTF8; i++) {
        if (first >= UTF8[i].first && first <= UTF8[i].last) {
            return &UTF8[i];
        }
    }
    return NULL;
}

/* Reads one character; returns how many bytes it has. What begins one and does not complete it is
   one U+FFFD, as in Python. */
static size_t read_character(const unsigned char *at, unsigned *code) {
    *code = at[0];
    if (at[0] < 0x80) {
        return 1;
    }
    const struct utf8 *kind = utf8_of(at[0]);
    *code = REPLACEMENT;
    if (!kind) {
        return 1;
    }
    unsigned found = at[0] & kind->bits;
    for (size_t i = 1; i <= kind->more; i++) {
        unsigned least = i == 1 ? kind->second_least : 0x80;
        unsigned most = i == 1 ? kind->second_most : 0xBF;
        if (at[i] < least || at[i] > most) {
            return i;
        }
        found = found << 6 | (at[i] & 0x3F);
    }
    *code = found;
    return kind->more + 1;
}

static void put_character(struct text *text, unsigned code) {
    char plain = (char)code;
    if (code >= 0x20 && code < 0x7F && code != '"' && code != '\\') {
        text_add(text, &plain, 1);
    } else if (code > 0xFFFF) {
        text_format(text, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10),
                    0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
        text_format(text, "\\u%04x", code);
    }
}

void text_json_first(struct text *text, const char *string, size_t characters) {
    const unsigned char *at = (const unsigned char *)string;
    text_put(text, "\"");
    for (; *at && characters; characters--) {
        unsigned code;
        at += read_character(at, &code);
        put_character(text, code);
    }
    text_put(text, "\"");
}

void text_json(struct text *text, const char *string) {
    text_json_first(text, string, strlen(string));
}

char *strip(char *string) {
    string += strspn(string, WHITE_SPACE);
    size_t length = strlen(string);
    while (length && strchr(WHITE_SPACE, string[length - 1])) {
        string[--length] = 0;
    }
    return string;
}

void text_free(struct text *text) {
    free(text->data);
    *text = (struct text){.limit = text->limit};
}
