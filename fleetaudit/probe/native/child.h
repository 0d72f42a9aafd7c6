/* Runs a child process that holds copies of sockets: `remote/child.py`. */
#ifndef FLEETAUDIT_CHILD_H
#define FLEETAUDIT_CHILD_H

#include "connection.h"
#include "failure.h"

/* Starts it; it closes its copies of the sockets `drop`, -1 for none. */
bool start_child(struct child *child, const int *drop, int count, struct failure *failure);
/* Ends it by "exit", "exec", "kill" or "term", and waits until it is gone. */
bool end_child(struct child *child, const char *how, struct failure *failure);
/* Ends it, whatever it does; does nothing if it is gone. */
void close_child(struct child *child);
/* Returns whether a child executed this program only to have something to execute: then it ends. */
bool is_started_by_child(int arguments, char *const *argument);

#endif
