/* Waits, for longer on a host that is slow: `remote/waiting.py` has the reasons. All times are in
   seconds. */
#ifndef FLEETAUDIT_WAITING_H
#define FLEETAUDIT_WAITING_H

#include <signal.h>
#include <stdbool.h>

#include "text.h"

/* How long to wait on this host: `slowest` is the longest delay that was measured, `in_trial` that
   of the present trial. */
struct adaptive_timeout {
    double slowest, in_trial, deadline;
};

extern struct adaptive_timeout timeout;

/* Whether the alarm rang: set by its handler (main.c). Every wait then ends early, and no other
   step begins. */
extern volatile sig_atomic_t time_is_up;

double now(void);        /* CLOCK_MONOTONIC */
double wall_clock(void); /* since 1970, by a clock that somebody may set */

void record_delay(double seconds);
void begin_trial_timeout(void);
double timeout_remaining(void);
double timeout_seconds(void);
double timeout_stretched(double seconds);

struct wait {
    double fixed; /* negative: the adaptive timeout, which may grow while it lasts */
    double began;
};

struct wait start_wait(double fixed);
bool is_wait_over(const struct wait *wait);

void sleep_for(double seconds); /* measures the delay */
void pause_for(double seconds); /* does not, as time.sleep of Python */
/* Returns whether `test(argument)` came true within `seconds`, or the adaptive timeout if that is
   negative. */
bool wait_until(bool (*test)(void *argument), void *argument, double seconds);
/* Returns the events that poll(2) reports of a descriptor within `seconds`; POLLERR and POLLHUP
   always. */
int poll_events(int fd, int mask, double seconds);
/* Adds the names of poll(2)'s events as a JSON array, ["IN","RDHUP"]. */
void add_event_names(struct text *json, int events);
/* Returns the events of a descriptor once there are any, 0 if none comes in time. */
int wait_for_events(int fd, int mask);

#endif
