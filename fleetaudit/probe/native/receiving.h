/* Waits until what was sent has arrived, and records what receiving shows: `remote/receiving.py`. */
#ifndef FLEETAUDIT_RECEIVING_H
#define FLEETAUDIT_RECEIVING_H

#include <stdbool.h>
#include <sys/types.h>

#include "connection.h"

/* As recv(2), and drops the bytes: of up to MAX_BULK. */
ssize_t receive_nowhere(int fd, size_t size, int flags);
/* Counts the bytes of a recv. After the end they are the peer's evidence, as one number. */
void record_received(struct connection *c, enum side side, long count);
/* Returns whether what a side receives and sends now shows the closer's end. */
bool is_evidence(const struct connection *c, enum side side);
/* Keeps the errno of a peer's send after the end as evidence; any other is a failure. */
bool record_refused_send(struct connection *c, enum side side, struct failure *failure);
bool receive_exactly(struct connection *c, enum side side, long count, int flags,
                     struct failure *failure);
/* Waits until what a side sent is in the other's receive queue, or that is full, or the sender was
   reset. */
bool wait_for_arrival(struct connection *c, enum side sender, struct failure *failure);
bool was_reset(struct connection *c, enum side side);

#endif
