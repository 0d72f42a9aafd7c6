/* Runs a child process that holds copies of sockets: `remote/child.py`. */
#ifndef FLEETAUDIT_CHILD_H
#define FLEETAUDIT_CHILD_H

#include "connection.h"
#include "failure.h"

/* Starts it; it closes its copies of the sockets `drop`. */
bool start_child(struct child *child, const int *drop, int count, struct failure *failure);
/* Ends it by "exit", "exec", "kill" or "term", and waits until it is gone. */
bool end_child(struct child *child, const char *how, struct failure *failure);
/* Ends it, whatever it does; does nothing if it is gone. */
void close_child(struct child *child);

#endif
