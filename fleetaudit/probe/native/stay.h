/* Waits after the reply, for a container that would be started again if it ended. */
#ifndef FLEETAUDIT_STAY_H
#define FLEETAUDIT_STAY_H

#include <stdbool.h>

/* Reads the arguments: none, or --stay SECONDS. With the latter it returns in a child process,
   which is to run the probe; the parent ends after SECONDS, or on SIGTERM, with status 0. Returns
   false after a message on stderr if the arguments are others. */
bool stay_if_asked(int arguments, char **argument);

#endif
