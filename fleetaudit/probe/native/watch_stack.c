/* Tells by the kernel's stack why a connection was reset.

   Before 6.12 nothing else tells it, and since then TCP_STATE has three causes (net/ipv4/tcp.c:
   tcp_disconnect() is called by close(2) with SO_LINGER 0, by connect(2) with AF_UNSPEC, and for
   the connections that a closed listener had not accepted). */
#include "watch_stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "waiting.h"

/* The longest function that is believed in, in bytes. */
enum { MAX_FUNCTION = 65536, MAX_SYMBOLS = 1000000, CLOCK_EVERY = 4096 };

static const struct {
    const char *name;
    enum part part;
} FUNCTIONS[] = {
    {"tcp_send_active_reset", SENDS_RESET},
    {"tcp_close", CLOSES},
    {"__tcp_close", CLOSES},
    {"mptcp_do_fastclose", FAST_CLOSES},
    {"tcp_disconnect", DISCONNECTS},
    {"inet_csk_listen_stop", DROPS_CHILD},
    {"inet_child_forget", DROPS_CHILD},
    {"tcp_keepalive_timer", KEEPS_ALIVE},
    {"tcp_write_timer", RESENDS},
    {"tcp_write_timer_handler", RESENDS},
    {"tcp_retransmit_timer", RESENDS},
    {"tcp_probe_timer", RESENDS},
    {"tcp_write_timeout", RESENDS},
    {"tcp_out_of_resources", RESENDS},
};

/* A suffix begins with a dot: ".part.0", ".cold". */
enum part part_of_name(const char *name, size_t length) {
    const char *dot = memchr(name, '.', length);
    size_t kept = dot ? (size_t)(dot - name) : length;
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        if (strlen(FUNCTIONS[i].name) == kept && !memcmp(name, FUNCTIONS[i].name, kept)) {
            return FUNCTIONS[i].part;
        }
    }
    return NO_PART;
}

/* A function ends where the next one begins. */
void add_symbol(struct symbols *symbols, const char *line) {
    char *end;
    uint64_t address = strtoull(line, &end, 16);
    if (end == line || *end != ' ' || !end[1] || !strchr("tTwW", end[1]) || end[2] != ' ') {
        return;
    }
    for (int i = 0; i < symbols->count; i++) {
        if (address > symbols->range[i].start && address < symbols->range[i].end) {
            symbols->range[i].end = address;
        }
    }
    const char *name = end + 3;
    enum part part = part_of_name(name, strcspn(name, " \t\n"));
    if (part != NO_PART && address && symbols->count < MAX_RANGES) {
        symbols->range[symbols->count].start = address;
        symbols->range[symbols->count].end = address + MAX_FUNCTION;
        symbols->range[symbols->count++].part = part;
    }
}

bool read_symbols(struct symbols *symbols) {
    char line[512];
    FILE *file = fopen("/proc/kallsyms", "re");
    symbols->count = 0;
    for (long i = 0; file && i < MAX_SYMBOLS && fgets(line, sizeof line, file); i++) {
        add_symbol(symbols, line);
        if (i % CLOCK_EVERY == 0 && time_is_up) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    for (int i = 0; i < symbols->count; i++) {
        if (symbols->range[i].part == SENDS_RESET) {
            return true;
        }
    }
    return false;
}

enum part part_at(const struct symbols *symbols, uint64_t address) {
    for (int i = 0; i < symbols->count; i++) {
        if (address >= symbols->range[i].start && address < symbols->range[i].end) {
            return symbols->range[i].part;
        }
    }
    return NO_PART;
}

static int index_of_part(const enum part *frame, int frames, enum part part) {
    int i = 0;
    while (i < frames && frame[i] != part) {
        i++;
    }
    return i;
}

/* Returns why tcp_send_active_reset() was called, by its callers. */
static enum watch_reason reason_of_callers(enum part caller, enum part caller_of_that) {
    static const enum watch_reason REASONS[PARTS] = {
        [NO_PART] = OTHER_REASON,     [SENDS_RESET] = OTHER_REASON, [CLOSES] = UNREAD_DATA,
        [FAST_CLOSES] = OTHER_REASON, [DISCONNECTS] = DISCONNECTED, [DROPS_CHILD] = OTHER_REASON,
        [KEEPS_ALIVE] = KEEPALIVE,    [RESENDS] = NO_MEMORY,
    };
    if (caller == DISCONNECTS && caller_of_that == CLOSES) {
        return LINGER_0;
    }
    if (caller == DISCONNECTS && caller_of_that == DROPS_CHILD) {
        return CHILD_SOCKET;
    }
    return REASONS[caller];
}

enum watch_reason reason_of_stack(enum watch_reason reported, const enum part *frame, int frames) {
    if (index_of_part(frame, frames, FAST_CLOSES) < frames) {
        return OTHER_REASON;
    }
    if (reported != BY_THE_CALLER && reported != NOT_REPORTED) {
        return reported;
    }
    int sender = frames; /* the last one: 5.10.218 reports the innermost frame twice */
    for (int i = 0; i < frames; i++) {
        sender = frame[i] == SENDS_RESET ? i : sender;
    }
    if (sender == frames) {
        return reported == NOT_REPORTED ? NO_PROGRAM : OTHER_REASON;
    }
    return reason_of_callers(sender + 1 < frames ? frame[sender + 1] : NO_PART,
                             sender + 2 < frames ? frame[sender + 2] : NO_PART);
}
