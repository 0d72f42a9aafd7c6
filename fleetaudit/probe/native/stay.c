/* Waits after the reply: `docs/containers.md`.

   Kubernetes starts what a DaemonSet runs again whenever it ends, also if it ends well. So the
   parent stays, for a bounded time, and costs nothing until then. It is mostly process 1 of a
   container, which has duties: a signal without a handler does not end it, and children whose
   parents have ended are its own. */
#define _GNU_SOURCE
#include "stay.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "waiting.h"

enum { LONGEST_STAY = 30 * 24 * 3600 };

static bool read_seconds(const char *word, long *seconds) {
    char *end;
    *seconds = strtol(word, &end, 10);
    return *word && !*end && *seconds > 0 && *seconds <= LONGEST_STAY;
}

/* Waits for one of the signals, at most until `end`; returns false if it is time to end. */
static bool wait_for_child(const sigset_t *signals, double end) {
    double seconds = end - now();
    if (seconds <= 0) {
        return false;
    }
    struct timespec rest = {.tv_sec = (time_t)seconds};
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    int number = sigtimedwait(signals, NULL, &rest);
    return number == SIGCHLD || number < 0;
}

/* Returns in the child only. */
static void stay(long seconds) {
    sigset_t signals, before;
    double end = now() + (double)seconds;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &before);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) { /* it ended before: no signal will come */
            _exit(0);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    if (child < 0) {
        perror("the probe cannot be started");
    }
    while (wait_for_child(&signals, end)) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
            continue;
        }
    }
    _exit(0);
}

bool stay_if_asked(int arguments, char **argument) {
    long seconds;
    if (arguments <= 1) {
        return true;
    }
    if (arguments != 3 || strcmp(argument[1], "--stay") || !read_seconds(argument[2], &seconds)) {
        fprintf(stderr, "the only argument is --stay SECONDS, at most %d\n", LONGEST_STAY);
        return false;
    }
    stay(seconds);
    return true;
}
