/* Runs the steps of one trial: `remote/trial.py`. */
#ifndef FLEETAUDIT_TRIAL_H
#define FLEETAUDIT_TRIAL_H

#include "connection.h"
#include "text.h"

/* A trial as it is reported. `shape`: its JSON object without "count", "error" and "failed_step",
   and without anything that depends on time. `key`: what equal trials share besides these two:
   `key_of` of `remote/scenario.py`. `error` and `failed_step` are added by scenario.c, since a
   repeated trial changes them.

   The times are comma-separated JSON values, "" for none: see `Times` of `reply.py`. `headers` are
   bytes: the IP and TCP headers of what `at` has, one behind the other. They are reported if the
   trials of a scenario differ, or if this one `deviates` from what is expected, as in
   `remote/trace.py`. */
struct trial {
    struct text shape, key;
    bool has_connection, deviates;
    struct text began, ports, steps, at, windows, headers;
    char error[1200];
    int failed_step; /* -1: none */
};

/* Runs a trial. Returns false, with UNSUPPORTED, OUT_OF_RESOURCES or a scarce SYSTEM_ERROR, if
   there is no trial. `c.timed_out` and `timeout.in_trial` say whether it may be repeated.
   Everything is cleaned up in either case. */
bool run_trial(struct connection *c, struct trial *trial, struct failure *failure);
void free_trial(struct trial *trial);

#endif
