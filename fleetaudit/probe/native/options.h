/* Socket options by their names in the step language: `remote/options.py`. */
#ifndef FLEETAUDIT_OPTIONS_H
#define FLEETAUDIT_OPTIONS_H

#include <stdbool.h>

#include "failure.h"
#include "request.h"

/* Sets the option that a step names: its words are the name and one or more integers. */
bool set_socket_option(int fd, const struct step *step, struct failure *failure);

#endif
