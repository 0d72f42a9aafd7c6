/* Process 1 of a guest of the kernel transport: `transport/kernel/init.py`. */
#ifndef FLEETAUDIT_INIT_H
#define FLEETAUDIT_INIT_H

#include <stdbool.h>

/* Returns whether this is process 1 of such a guest. In a container the probe is process 1, too. */
bool is_guest(void);
/* Makes a system of a guest and runs the probe in it. Returns in a child process, which is to run
   the probe; process 1 sends what that prints over a serial port, and then ends the guest. */
void run_as_init(void);

#endif
