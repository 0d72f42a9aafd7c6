/* Calls of the operating system that several modules need: `remote/system.py`. */
#ifndef FLEETAUDIT_SYSTEM_H
#define FLEETAUDIT_SYSTEM_H

/* Closes a socket in any state: as programs do, or by a RST instead of a TIME_WAIT. */
void close_quietly(int fd);
void close_by_reset(int fd);
/* Keeps this process on its CPU if possible. */
void stay_on_this_cpu(void);

#endif
