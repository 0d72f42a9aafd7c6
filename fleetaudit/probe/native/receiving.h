/* Receives, and waits until what was sent has arrived: `remote/receiving.py`. */
#ifndef FLEETAUDIT_RECEIVING_H
#define FLEETAUDIT_RECEIVING_H

#include <stdbool.h>

#include "connection.h"

/* Counts the bytes of a recv. After the end they are the peer's evidence, as one number. */
void record_received(struct connection *c, enum side side, long count);
/* Returns whether what a side receives and sends now shows the closer's end. */
bool is_evidence(const struct connection *c, enum side side);
/* Keeps the errno of a peer's send after the end as evidence; any other is a failure. */
bool record_refused_send(struct connection *c, enum side side, struct failure *failure);
/* Receives `count` bytes, or fails if they do not come. */
bool receive_exactly(struct connection *c, enum side side, long count, int flags,
                     struct failure *failure);
/* Waits until what a side sent is in the other's receive queue, or that is full, or the sender was
   reset. */
bool wait_for_arrival(struct connection *c, enum side sender, struct failure *failure);
/* Returns whether a side's TCP is in CLOSE. */
bool was_reset(struct connection *c, enum side side);

#endif
