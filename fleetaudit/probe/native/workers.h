/* Runs scenarios in two processes at once, each in a network namespace of its own:
   `remote/workers.py`.

   A scenario mostly waits. Meanwhile the other process runs another one. They stay on one CPU, so
   the probe takes no more of a host than one process does. Each takes the number of its next
   scenario from one pipe, whose short reads are atomic, and the second one sends what it observed
   through a pipe of its own. This process runs scenarios as well: all of them where no other
   process can be made, or where they are too few to be worth one.

   Nothing is left behind: the kernel kills the worker once this process is gone, because then
   nobody has the other end of the pipe `alive` any more (F_SETSIG in fcntl(2)). */
#ifndef FLEETAUDIT_WORKERS_H
#define FLEETAUDIT_WORKERS_H

#include <sys/types.h>

#include "scenario.h"

/* A scenario with one of its families, and what was observed. */
struct pair {
    const struct scenario *scenario;
    enum family family;
    bool is_found;
    struct observation observation;
};

/* `problem` says why the worker ended early, "" if it did not. `worker` is 0 without one, `data`
   what it sent and was not taken yet. */
struct workers {
    struct pair *pair;
    int pairs, queue, alive, from_worker;
    pid_t worker;
    struct text data;
    size_t kept; /* bytes of all observations */
    char problem[128];
};

/* Moves a process into another namespace, and opens the laboratory there; returns false unless that
   is as good as the first one. */
struct move {
    bool (*call)(struct lab *lab, void *argument);
    void *argument;
};

/* Lists each scenario of a request with each of its families. Returns false without memory. */
bool begin_workers(struct workers *workers, const struct request *request);
/* Runs all scenarios, some of them in a second process unless `move.call` is NULL. */
void run_workers(struct workers *workers, struct lab *lab, struct move move);
/* Ends the worker if it still runs, and takes what it has observed. */
void end_workers(struct workers *workers);

#endif
