/* Turns captured segments into the rows and headers that are reported: `remote/trace.py`. */
#ifndef FLEETAUDIT_TRACE_H
#define FLEETAUDIT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "text.h"
#include "trial.h"

/* One reported segment; `seq` and `ack` count from the first SYN of their side. */
struct row {
    const struct packet *packet;
    long long at; /* microseconds since the trial began */
    enum side sender;
    uint32_t seq, ack;
    char flags[12];
};

struct trace {
    struct row row[MAX_TRACE];
    int rows;
    long omitted;
};

/* Returns whole microseconds, bounded: somebody may set the clock during a trial. */
long long micros(double seconds);
/* Chooses the rows of what a connection captured, without the middle of a long trace. */
void make_trace(const struct connection *c, struct trace *trace);
/* Adds the rows as a JSON array, and their times and windows to the trial. */
void add_rows(struct trial *trial, const struct trace *trace);
/* Adds the member "connection", and its times and headers to the trial; nothing without a SYN. */
void add_connection(const struct connection *c, struct trial *trial, const struct trace *trace);
/* Adds what of a trace does not depend on time only, with every number above `most` as `most`. */
void add_essence(struct text *key, const struct trace *trace, long long most);
/* Returns the ending that the closer's segments show: "RST", "FIN", "FIN, then RST", "nothing". */
const char *captured_ending(const struct trace *trace);

#endif
