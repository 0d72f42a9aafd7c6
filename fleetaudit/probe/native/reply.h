/* The reply, one line: `remote/main.py`, `remote/times.py`. */
#ifndef FLEETAUDIT_REPLY_H
#define FLEETAUDIT_REPLY_H

#include "host.h"
#include "workers.h"

/* Everything that is reported; `fleetaudit/probe/reply.py` has the words. `reason` is why a
   scenario was not run. */
struct reply {
    const struct request *request;
    struct host host;
    struct notes notes;
    struct workers workers;
    bool is_private;
    char isolation_note[512], capture_note[512];
    const char *reason;
    double elapsed, cpu;
};

/* Prints the reply; returns false if it cannot be written. */
bool print_reply(struct reply *reply);

#endif
