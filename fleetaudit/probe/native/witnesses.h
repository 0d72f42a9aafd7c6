/* Collects the three witnesses of a trial, the wire, the peer's socket and the counters:
   `remote/witnesses.py`. */
#ifndef FLEETAUDIT_WITNESSES_H
#define FLEETAUDIT_WITNESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "counters.h"
#include "trial.h"

/* What the peer's socket shows; `is_there` is false if it is closed. */
struct peer_witness {
    bool is_there;
    int state; /* -1: unknown */
    int events, so_error;
};

/* Asks the peer's socket. State and poll(2) change nothing, so they come first; SO_ERROR last: it
   shares one pending error with recv. */
void question_peer(struct connection *c, struct peer_witness *peer);
/* Fills in a trial but its error. */
void describe_trial(struct connection *c, const struct peer_witness *peer,
                    const struct counter_values *before, const struct counter_values *after,
                    struct trial *trial);

#endif
