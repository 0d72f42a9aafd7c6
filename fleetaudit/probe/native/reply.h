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
    struct text watch; /* JSON, empty if the request asks for no watch */
    struct workers workers;
    bool is_private;
    char isolation_note[512], capture_note[512];
    const char *reason;
    void *reserve; /* memory that is freed for the text of the reply */
    double elapsed, cpu;
};

/* Keeps memory for the text of the reply; returns false, with why, if there is none. */
bool begin_reply(struct reply *reply, const struct request *request, char *reason, int size);
/* Prints the reply, or ends the process if that is not possible. */
void print_reply(struct reply *reply);

#endif
