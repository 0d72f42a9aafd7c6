/* The kernel's TCP counters: `remote/counters.py`. */
#ifndef FLEETAUDIT_COUNTERS_H
#define FLEETAUDIT_COUNTERS_H

#include <stdbool.h>

#include "notes.h"
#include "text.h"

/* The names of `remote/counters.py`: the first OF_TRIALS of them are read in every trial. */
enum { COUNTER_FILES = 2, REPORTED_COUNTERS = 10, OF_TRIALS = 11, ALL_COUNTERS = 20 };
extern const char *const COUNTER_NAMES[ALL_COUNTERS];

/* `notes` gets what cannot be read, NULL: nobody wants to know. */
struct counters {
    int fd[COUNTER_FILES]; /* /proc/net/netstat and /proc/net/snmp; -1: cannot be opened */
    struct notes *notes;
};

struct counter_values {
    bool is_known[ALL_COUNTERS];
    long long value[ALL_COUNTERS];
};

void open_counters(struct counters *counters, struct notes *notes);
void read_counters(struct counters *counters, struct counter_values *found);
void close_counters(struct counters *counters);
/* Adds as JSON by how much the counters of trials grew, `most` for more; "null" if OutRsts or
   TCPAbortOnClose is unknown. */
void add_moved_counters(struct text *json, const struct counter_values *before,
                        const struct counter_values *after, long long most);
/* Adds as JSON the known counters since the boot. */
void add_counters_since_boot(struct text *json, const struct counter_values *found);

#endif
