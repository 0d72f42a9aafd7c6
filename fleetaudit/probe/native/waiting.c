/* Waits, for longer on a host that is slow. */
#define _GNU_SOURCE
#include "waiting.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <time.h>

#include "constants.h"

struct adaptive_timeout timeout;
volatile sig_atomic_t time_is_up;

/* The events of poll(2), without POLL, in the order in which they are reported. */
static const struct event {
    const char *name;
    int bit;
} EVENTS[] = {
    {"IN", POLLIN},   {"PRI", POLLPRI}, {"OUT", POLLOUT},
    {"ERR", POLLERR}, {"HUP", POLLHUP}, {"RDHUP", POLLRDHUP},
};

static double larger(double one, double another) {
    return one > another ? one : another;
}

static double smaller(double one, double another) {
    return one < another ? one : another;
}

static double seconds_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double now(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

double wall_clock(void) {
    return seconds_of(CLOCK_REALTIME);
}

void record_delay(double seconds) {
    timeout.slowest = larger(timeout.slowest, seconds);
    timeout.in_trial = larger(timeout.in_trial, seconds);
}

void begin_trial_timeout(void) {
    timeout.slowest *= 0.9; /* a stall passes */
    timeout.in_trial = 0;
}

double timeout_remaining(void) {
    return larger(0, timeout.deadline - now());
}

/* PATIENCE, or a hundred times the longest delay, up to an eighth of the remaining time, so that
   one scenario cannot use up the run. */
double timeout_seconds(void) {
    double remaining = timeout_remaining();
    double least = smaller(PATIENCE, remaining / 2);
    return larger(least, smaller(100 * timeout.slowest, remaining / 8));
}

double timeout_stretched(double seconds) {
    return larger(seconds, smaller(4 * timeout.slowest, timeout_remaining() / 256));
}

struct wait start_wait(double fixed) {
    return (struct wait){.fixed = fixed, .began = now()};
}

bool is_wait_over(const struct wait *wait) {
    double seconds = wait->fixed < 0 ? timeout_seconds() : wait->fixed;
    return time_is_up || now() - wait->began >= seconds;
}

void pause_for(double seconds) {
    struct timespec rest;
    rest.tv_sec = (time_t)seconds;
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    while (!time_is_up && nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

void sleep_for(double seconds) {
    double began = now();
    pause_for(seconds);
    record_delay(now() - began - seconds);
}

bool wait_until(bool (*test)(void *argument), void *argument, double seconds) {
    struct wait wait = start_wait(seconds);
    double pause = 0.00025;
    while (!test(argument)) {
        if (is_wait_over(&wait)) {
            return test(argument); /* this process may have been stopped since the last test */
        }
        sleep_for(pause);
        pause = smaller(pause * 2, 0.004);
    }
    return true;
}

/* As poll(2), which a signal interrupts: goes on unless that was the alarm. */
static int poll_one(struct pollfd *polled, double seconds) {
    double end = now() + seconds;
    int found = poll(polled, 1, (int)(seconds * 1000));
    while (found < 0 && errno == EINTR && !time_is_up) {
        found = poll(polled, 1, (int)(larger(0, end - now()) * 1000));
    }
    return found;
}

int poll_events(int fd, int mask, double seconds) {
    struct pollfd polled = {.fd = fd, .events = (short)mask};
    double began = now();
    int found = poll_one(&polled, time_is_up ? 0 : seconds);
    if (found <= 0 || seconds == 0) {
        record_delay(now() - began - seconds);
    }
    return found > 0 ? polled.revents : 0;
}

int wait_for_events(int fd, int mask) {
    struct wait wait = start_wait(-1);
    int found = poll_events(fd, mask, 0.1);
    while (!found && !is_wait_over(&wait)) {
        found = poll_events(fd, mask, 0.1);
    }
    return found;
}

void add_event_names(struct text *json, int events) {
    const char *separator = "";
    text_put(json, "[");
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        if (events & EVENTS[i].bit) {
            text_format(json, "%s\"%s\"", separator, EVENTS[i].name);
            separator = ",";
        }
    }
    text_put(json, "]");
}
