/* Moves this process into a private network namespace: `remote/namespace.py`. */
#ifndef FLEETAUDIT_NAMESPACE_H
#define FLEETAUDIT_NAMESPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

/* Writes the kernel's name for this process's network namespace; returns false if it is unknown. */
bool namespace_id(char *into, size_t size);
/* Moves this process into a new network namespace. Returns false with a failure, perhaps when it
   has moved halfway. */
bool enter_namespace(struct failure *failure);
/* The same, after it was tried in a child process; returns false, with why in `note`, if this
   process stays where it is. */
bool isolate(char *note, size_t size);

#endif
