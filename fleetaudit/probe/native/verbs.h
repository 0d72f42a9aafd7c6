/* The table of all steps: `remote/verbs.py`. Each verb is a function of the connection, the step
   and a failure. */
#ifndef FLEETAUDIT_VERBS_H
#define FLEETAUDIT_VERBS_H

#include "connection.h"

struct verb {
    const char *name;
    bool (*run)(struct connection *c, const struct step *step, struct failure *failure);
    bool is_ending;  /* it is one of ENDINGS */
    unsigned actors; /* a bit for each enum actor that may do it */
    int words;       /* how many follow it at least */
};

/* Returns the verb of a name, NULL for none. */
const struct verb *find_verb(const char *name);
bool is_verb(const struct step *step, const char *name);
/* Returns whether a step has an actor and the words that its verb needs. */
bool is_complete_step(const struct step *step);
/* Returns the first word of a step, "" if it has none. */
const char *first_word(const struct step *step);
/* Connects the two sides: "tcp", "unaccepted", "unanswered", "fastopen", "mptcp", "mapped", "unix",
   "seqpacket" (connecting.c). */
bool connect_sides(struct connection *c, enum side client, const char *how, long size,
                   struct failure *failure);
/* Makes the client's socket, bound to a port that is captured: the same as before if this is not
   its first connection. */
bool make_client(struct connection *c, struct failure *failure);
/* Connects the client's socket in time, and accepts it unless that is put off. */
bool connect_to_listener(struct connection *c, const char *how, long size, struct failure *failure);
/* Connects a stranger, which sends a byte for TCP_DEFER_ACCEPT; returns its socket, which is closed
   with the trial, or -1 and a failure. */
int connect_stranger(struct connection *c, struct failure *failure);
/* Makes or chooses the listener for one of these, and notes its address. */
bool prepare_listener(struct connection *c, const char *how, struct failure *failure);
/* Returns whether a step tries to connect, to a listener that steps before it use up. */
bool tries_to_connect(const struct scenario *scenario);

#endif
