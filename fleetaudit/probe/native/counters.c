/* Reads the kernel's TCP counters on the host; the controller checks the ending against them. */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"

enum { TABLE_SIZE = 65536, NAMES_SIZE = 1000, MOST_NOTES = 20 };
enum { OUT_RSTS = 6, TCP_ABORT_ON_CLOSE = 0, IN_CSUM_ERRORS = 10 }; /* in COUNTER_NAMES */

const char *const COUNTER_NAMES[ALL_COUNTERS] = {
    "TCPAbortOnClose",   "TCPAbortOnData", "TCPAbortOnLinger", "TCPAbortOnMemory",
    "TCPAbortOnTimeout", "TCPAbortFailed", "OutRsts",          "EstabResets",
    "MPFastcloseTx",     "MPRstTx",        "InCsumErrors",     "ListenDrops",
    "ListenOverflows",   "ActiveOpens",    "PassiveOpens",     "CurrEstab",
    "MPFastcloseRx",     "MPRstRx",        "MPCapableSYNRX",   "MPCapableSYNTX",
};

static const char *const COUNTER_PATHS[COUNTER_FILES] = {"/proc/net/netstat", "/proc/net/snmp"};
static const char *const HEADINGS[] = {"TcpExt:", "Tcp:", "MPTcpExt:"};

/* One file while it is read: `missing` names the counters without a number. */
struct table {
    struct counter_values *found;
    struct text missing;
    int headings;
};

void open_counters(struct counters *counters, struct notes *notes) {
    counters->notes = notes;
    for (int i = 0; i < COUNTER_FILES; i++) {
        counters->fd[i] = open(COUNTER_PATHS[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (counters->fd[i] < 0) {
            note_unreadable(notes, COUNTER_PATHS[i], errno);
        }
    }
}

void close_counters(struct counters *counters) {
    for (int i = 0; i < COUNTER_FILES; i++) {
        if (counters->fd[i] >= 0) {
            close(counters->fd[i]);
        }
        counters->fd[i] = -1;
    }
}

static void add_missing(struct table *table, const char *name) {
    text_format(&table->missing, "%s%s", table->missing.length ? ", " : "", name);
}

/* A word in a line of a table; `length` 0: there is no more. */
struct word {
    const char *start;
    size_t length;
};

/* Returns the next word of a line from `*at` on, and moves `*at` behind it. */
static struct word next_word(const char **at) {
    const char *start = *at, *end;
    while (*start == ' ' || *start == '\t') {
        start++;
    }
    for (end = start; *end && *end != ' ' && *end != '\t' && *end != '\n'; end++) {
    }
    *at = end;
    return (struct word){start, (size_t)(end - start)};
}

static bool is_word(struct word word, const char *text) {
    return *word.start == *text && !strncmp(word.start, text, word.length) && !text[word.length];
}

static int counter_number(struct word name) {
    for (int i = 0; i < ALL_COUNTERS; i++) {
        if (is_word(name, COUNTER_NAMES[i])) {
            return i;
        }
    }
    return -1;
}

/* A counter without a number is unknown, not 0. */
static void read_value(struct table *table, int counter, struct word word) {
    char *end = NULL;
    errno = 0;
    long long value = word.length ? strtoll(word.start, &end, 10) : -1;
    if (errno || value < 0 || end != word.start + word.length) {
        if (counter != IN_CSUM_ERRORS) { /* which nobody reports of a host */
            add_missing(table, COUNTER_NAMES[counter]);
        }
        return;
    }
    table->found->is_known[counter] = true;
    table->found->value[counter] = value;
}

/* Adds the counters of a heading and the line of values below it. Columns differ between kernels,
   so they are found by name. */
static void read_row(struct table *table, const char *heading, const char *values) {
    struct word name = next_word(&heading), value = next_word(&values);
    bool has_values = name.length == value.length && !memcmp(name.start, value.start, name.length);
    while ((name = next_word(&heading)).length) {
        if (has_values) {
            value = next_word(&values);
        } else {
            value.length = 0;
        }
        int counter = counter_number(name);
        if (counter >= 0) {
            read_value(table, counter, value);
        }
    }
}

static bool is_heading(const char *line) {
    for (size_t i = 0; i < sizeof HEADINGS / sizeof *HEADINGS; i++) {
        if (!strncmp(line, HEADINGS[i], strlen(HEADINGS[i]))) {
            return true;
        }
    }
    return false;
}

/* Reads each heading with the line below it. The last line is empty, or was cut. */
static void read_lines(struct table *table, const char *line) {
    const char *end;
    while ((end = strchr(line, '\n'))) {
        const char *next = end + 1;
        if (is_heading(line)) {
            table->headings++;
            read_row(table, line, strchr(next, '\n') ? next : "");
        }
        line = next;
    }
}

static void read_table(struct table *table, int fd) {
    char text[TABLE_SIZE];
    ssize_t length = lseek(fd, 0, SEEK_SET) < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length < 0) {
        text_put(&table->missing, error_name(errno));
        return;
    }
    text[length] = 0;
    read_lines(table, text);
    if (!table->headings) {
        text_put(&table->missing, "any counter");
    }
}

void read_counters(struct counters *counters, struct counter_values *found) {
    memset(found, 0, sizeof *found);
    for (int i = 0; i < COUNTER_FILES; i++) {
        struct table table = {.found = found, .missing.limit = NAMES_SIZE};
        if (counters->fd[i] < 0) {
            continue;
        }
        read_table(&table, counters->fd[i]);
        if (table.missing.length && counters->notes && counters->notes->count < MOST_NOTES) {
            add_note(counters->notes, "%s has no number for: %s", COUNTER_PATHS[i],
                     table.missing.data);
        }
        text_free(&table.missing);
    }
}

void add_moved_counters(struct text *json, const struct counter_values *before,
                        const struct counter_values *after, long long most) {
    const int needed[] = {OUT_RSTS, TCP_ABORT_ON_CLOSE}; /* without them the others prove nothing */
    const char *separator = "";
    for (int i = 0; i < 2; i++) {
        if (!before->is_known[needed[i]] || !after->is_known[needed[i]]) {
            text_put(json, "null");
            return;
        }
    }
    text_put(json, "{");
    for (int i = 0; i < OF_TRIALS; i++) {
        long long by = after->value[i] - before->value[i];
        if (!before->is_known[i] || !after->is_known[i] || by <= 0) {
            continue;
        }
        text_format(json, "%s\"%s\":%lld", separator, COUNTER_NAMES[i], by < most ? by : most);
        separator = ",";
    }
    text_put(json, "}");
}

void add_counters_since_boot(struct text *json, const struct counter_values *found) {
    const char *separator = "";
    text_put(json, "{");
    for (int i = 0; i < ALL_COUNTERS; i++) {
        if (!found->is_known[i] || i == IN_CSUM_ERRORS) {
            continue;
        }
        text_format(json, "%s\"%s\":%lld", separator, COUNTER_NAMES[i], found->value[i]);
        separator = ",";
    }
    text_put(json, "}");
}
