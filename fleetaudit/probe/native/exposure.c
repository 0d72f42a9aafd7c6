/* What production shows: counters since boot, and sockets with unread data now. */
#include "exposure.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "constants.h"
#include "counters.h"
#include "failure.h"
#include "files.h"
#include "waiting.h"

/* How long a look at the tables of sockets may take, in seconds and lines. */
#define MAX_SCAN 0.2
enum { MAX_SCANNED = 100000, CLOCK_EVERY = 256, MAX_LINE = 65536, TABLE_FIELDS = 5 };
#define MAX_UPTIME 3.2e9

/* A file that is read line by line. */
struct lines {
    int fd;
    size_t length, used;
    char data[2 * MAX_LINE];
};

enum next_line { LINE, NO_LINE, LINE_TOO_LONG, LINE_UNREADABLE };

/* Finds the next line, without its end, in `line`. */
static enum next_line read_line(struct lines *lines, char **line) {
    for (;;) {
        char *begin = lines->data + lines->used;
        char *end = memchr(begin, '\n', lines->length - lines->used);
        if (end) {
            *end = 0;
            *line = begin;
            lines->used = (size_t)(end - lines->data) + 1;
            return LINE;
        }
        lines->length -= lines->used;
        memmove(lines->data, begin, lines->length);
        lines->used = 0;
        if (lines->length > MAX_LINE) {
            return LINE_TOO_LONG;
        }
        ssize_t count = read(lines->fd, lines->data + lines->length, MAX_LINE - 1);
        if (count < 0) {
            return LINE_UNREADABLE;
        }
        if (!count && !lines->length) {
            return NO_LINE;
        }
        if (!count) {
            lines->data[lines->length++] = '\n'; /* the last line has no end */
        }
        lines->length += (size_t)count;
    }
}

/* Counts the sockets with unread data. */
struct scan {
    double end;
    long long sockets, bytes, scanned;
    bool is_partial;
    int line;
};

enum table { TABLE_READ, TABLE_CUT, TABLE_UNKNOWN, TABLE_UNREADABLE };

static bool is_over(const struct scan *scan) {
    if (scan->scanned >= MAX_SCANNED) {
        return true;
    }
    return scan->scanned % CLOCK_EVERY == 0 && (now() > scan->end || time_is_up);
}

/* Reads a hexadecimal number up to `most`; returns false if the text is none. */
static bool read_hex(const char *text, unsigned long most, unsigned long *into) {
    char *end;
    errno = 0;
    *into = strtoul(text, &end, 16);
    return *text && *text != '-' && !*end && !errno && *into <= most;
}

/* Splits a line at its blanks; returns how many fields were found. */
static int split(char *line, char *field[TABLE_FIELDS]) {
    int count = 0;
    char *word;
    while (count < TABLE_FIELDS && (word = strsep(&line, " \t"))) {
        if (*word) {
            field[count++] = word;
        }
    }
    return count;
}

/* Adds one line of a table; returns false for an unknown format. */
static bool add_line(struct scan *scan, char *line) {
    char *field[TABLE_FIELDS];
    unsigned long state, unread;
    if (split(line, field) < TABLE_FIELDS || !read_hex(field[3], LONG_MAX, &state)) {
        return false;
    }
    char *queue = strchr(field[4], ':');
    if (!queue || !read_hex(queue + 1, 0xFFFFFFFF, &unread)) {
        return false;
    }
    if (state < 1 || state > CLOSE_WAIT) {
        return true;
    }
    scan->scanned++;
    scan->sockets += unread > 0;
    scan->bytes += (long long)unread;
    return true;
}

/* Reads a table up to its end, or up to the bounds. */
static enum table read_table(struct scan *scan, struct lines *lines) {
    static const enum table ENDS[] = {
        [NO_LINE] = TABLE_READ,
        [LINE_TOO_LONG] = TABLE_UNKNOWN,
        [LINE_UNREADABLE] = TABLE_UNREADABLE,
    };
    char *line;
    enum next_line next;
    while ((next = read_line(lines, &line)) == LINE) {
        scan->line++;
        if (scan->line == 1 && strstr(line, "local_address")) {
            continue;
        }
        if (is_over(scan)) {
            return TABLE_CUT;
        }
        if (!add_line(scan, line)) {
            return TABLE_UNKNOWN;
        }
    }
    return next == NO_LINE && !scan->line ? TABLE_UNKNOWN : ENDS[next];
}

static enum table open_and_read(struct scan *scan, const char *path) {
    struct lines *lines = malloc(sizeof *lines);
    enum table found = TABLE_UNREADABLE;
    if (!lines) {
        return found;
    }
    lines->length = lines->used = 0;
    lines->fd = open_to_read(path);
    scan->line = 0;
    if (lines->fd >= 0) {
        found = read_table(scan, lines);
        int number = errno;
        close(lines->fd);
        errno = number;
    }
    free(lines);
    return found;
}

/* Notes why a table was not read as a whole; one that is absent without IPv6 is no reason. */
static void note_table(struct scan *scan, enum table found, const char *path, bool may_be_absent,
                       struct notes *notes) {
    int number = errno;
    scan->is_partial |= found == TABLE_CUT || found == TABLE_UNKNOWN;
    if (found == TABLE_UNKNOWN) {
        add_note(notes, "%s lists no sockets: line %d is not as Linux writes it", path,
                 scan->line ? scan->line : 1);
    } else if (found == TABLE_UNREADABLE && !(may_be_absent && is_absent(number))) {
        note_unreadable(notes, path, number);
    }
}

/* Adds how many TCP sockets of this host hold unread data, null if unknown: counts and bytes, no
   addresses and ports. */
static void add_unread_sockets(struct text *json, struct notes *notes) {
    static const char *const PATHS[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    struct scan scan = {.end = now() + MAX_SCAN};
    enum table found = TABLE_READ;
    int tables = 0;
    for (int i = 0; i < 2 && found != TABLE_CUT; i++) {
        found = open_and_read(&scan, PATHS[i]);
        note_table(&scan, found, PATHS[i], i == 1, notes);
        tables += found == TABLE_READ || found == TABLE_CUT;
    }
    if (!tables) {
        text_put(json, "null");
        return;
    }
    text_format(json, "{\"sockets\":%lld,\"bytes\":%lld,\"scanned\":%lld,\"partial\":%s}",
                scan.sockets, scan.bytes, scan.scanned, scan.is_partial ? "true" : "false");
}

static void add_uptime(struct text *json, struct notes *notes) {
    char text[65], *end;
    if (read_file("/proc/uptime", text, sizeof text) < 0) {
        note_unreadable(notes, "/proc/uptime", errno);
        text_put(json, "null");
        return;
    }
    double seconds = strtod(text, &end);
    bool is_number = end != text && strchr(" \t\n", *end);
    if (is_number && seconds >= 0 && seconds <= MAX_UPTIME) {
        text_format(json, "%.6f", seconds);
        return;
    }
    add_note(notes, "/proc/uptime cannot be read: no number of seconds");
    text_put(json, "null");
}

static void add_counters(struct text *json, struct notes *notes) {
    struct counters counters;
    struct counter_values found;
    open_counters(&counters, notes);
    read_counters(&counters, &found);
    close_counters(&counters);
    add_counters_since_boot(json, &found);
}

void add_exposure(struct text *json, struct notes *notes) {
    text_put(json, "{\"counters\":");
    add_counters(json, notes);
    text_put(json, ",\"uptime_s\":");
    add_uptime(json, notes);
    text_put(json, ",\"unread_sockets\":");
    add_unread_sockets(json, notes);
    text_put(json, "}");
}
