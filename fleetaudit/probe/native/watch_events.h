/* The two ways in which the kernel reports RSTs, and the sockets that would cause one. */
#ifndef FLEETAUDIT_WATCH_EVENTS_H
#define FLEETAUDIT_WATCH_EVENTS_H

#include "notes.h"
#include "watch_owners.h"
#include "watch_point.h"
#include "watch_ports.h"
#include "watch_rows.h"
#include "watch_stack.h"

struct perf;

/* A watch that runs. `counted`: by the kernel; `named`: in `rows`; `left_out`: answers to stray
   segments, and this probe's own; `lost`: those that found no room in a buffer. */
struct watching {
    struct tracepoint point;
    struct symbols symbols;
    bool has_symbols;
    struct owners *owners;
    struct ports *ports;
    struct rows *rows;
    struct perf *perf; /* that is read, or NULL */
    double began, seconds, cpu;
    long long counted, named, left_out, lost;
    bool is_sampled;
};

/* Returns whether more RSTs may be read by now; else notes that not all are. */
bool may_read_more(struct watching *watching);
/* Counts a RST that was read, for its reason and by the stack of the kernel. */
void take_reset(struct watching *watching, struct reset *reset, const enum part *frame, int frames);

/* Opens rings for each CPU; returns NULL with the problem. */
struct perf *open_perf(const struct watching *watching, struct watch_problem *problem);
void start_perf(struct perf *perf);
/* Waits until there is something to read, for 50 ms at most, and reads it. */
void read_perf(struct perf *perf, struct watching *watching);
/* Ends, reads the rest, and counts what the kernel counted. */
void stop_perf(struct perf *perf, struct watching *watching);
void close_perf(struct perf *perf);

/* The same by a tracing instance of its own; closing removes it. */
struct instance;
struct instance *open_instance(const struct watching *watching, struct watch_problem *problem);
void start_instance(struct instance *instance);
void read_instance(struct instance *instance, struct watching *watching);
void stop_instance(struct instance *instance, struct watching *watching);
void close_instance(struct instance *instance);
/* Removes the instances of probes that were killed. */
void remove_old_instances(int root);

/* Adds the sockets with unread data now by their owners, "null" if that is not known. */
void add_unread_owners(struct text *json, struct watching *watching, struct notes *notes);

#endif
