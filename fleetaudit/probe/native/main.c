/* Runs the whole probe, and prints its reply: `remote/main.py`. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "child.h"
#include "files.h"
#include "init.h"
#include "namespace.h"
#include "own_proc.h"
#include "reply.h"
#include "stay.h"
#include "sysctl_copy.h"
#include "waiting.h"

enum { NOT_UNDERSTOOD = 2, MAX_COPY_NOTE = 65536, MAX_FILES_NAME = 64 };

/* What a process needs to move into another namespace: the host's settings, and a note of those
   that could not be copied into the first one. */
struct surroundings {
    struct settings settings;
    struct text note;
    char available_ulp[SYSCTL_VALUE];
};

/* Ends the experiments; if the program is stuck, the next alarm ends it by default action. */
static void ring(int number) {
    (void)number;
    time_is_up = 1;
    signal(SIGALRM, SIG_DFL);
    alarm((unsigned)MERCY);
}

static void set_alarm(double seconds) {
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)seconds}};
    timer.it_value.tv_usec = (suseconds_t)((seconds - (double)timer.it_value.tv_sec) * 1e6);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static double smaller(double a, double b) {
    return a < b ? a : b;
}

/* Sets the soft alarm. Without SA_RESTART it ends every call that blocks. */
static void start_alarm(double end) {
    struct sigaction action = {.sa_handler = ring};
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGALRM, &action, NULL);
    double remaining = larger(0.1, end - now());
    timeout.deadline = now() + remaining;
    set_alarm(remaining);
}

/* Sets the hard alarm: a slow reader of the output may use the rest of the time. Returns whether
   the soft one rang. */
static bool end_soft_alarm(double end) {
    signal(SIGALRM, SIG_DFL);
    set_alarm(larger(0, end - now()) + MERCY);
    bool has_rung = time_is_up;
    time_is_up = 0; /* what follows waits for the worker's end */
    return has_rung;
}

/* Copies the host's settings here, after the kernel's defaults were read. */
static void use_host_settings(struct reply *reply, struct surroundings *here) {
    char id[MAX_FILES_NAME];
    make_sysctls_writable();
    if (namespace_id(id, sizeof id)) {
        read_defaults(&reply->host.sysctls);
        copy_settings(&here->settings, &here->note);
        note_used(&reply->host.sysctls);
    } else {
        text_put(&here->note,
                 "/proc/self/ns/net cannot be read, so no sysctl was written: the experiment ran "
                 "under this kernel's defaults");
    }
    if (here->note.length) {
        add_note(&reply->notes, "%s", here->note.data);
    }
}

/* Moves this process from its namespace into another one with the host's settings; returns false
   unless the laboratory there is as good. */
static bool move_to_another(struct lab *lab, void *argument) {
    const struct surroundings *here = argument;
    struct text note = {.limit = MAX_COPY_NOTE};
    struct failure failure = {0};
    struct lab before = *lab;
    close_lab(lab);
    if (!enter_namespace(&failure)) {
        return false;
    }
    copy_settings(&here->settings, &note);
    if (strcmp(note.data ? note.data : "", here->note.data ? here->note.data : "")) {
        return false;
    }
    open_lab(lab, true, before.available_ulp);
    return has_same_abilities(lab, &before);
}

/* Moves into a private namespace if the request wants one; returns false if it must be one, and
   there is none. */
static bool enter_if_asked(struct reply *reply, struct surroundings *here) {
    enum isolation isolation = reply->request->isolation;
    if (isolation == ISOLATION_HOST) {
        return true;
    }
    read_host_settings(&here->settings);
    reply->is_private = isolate(reply->isolation_note, sizeof reply->isolation_note);
    if (reply->is_private) {
        use_host_settings(reply, here);
    }
    return reply->is_private || isolation == ISOLATION_AUTO;
}

/* Describes the host, moves into a private namespace if possible, and runs the scenarios. */
static void fill_reply(struct reply *reply) {
    static struct surroundings here = {.note = {.limit = MAX_COPY_NOTE}};
    static struct lab lab;
    struct move move = {move_to_another, &here};
    describe_host(&reply->host, reply->request, &reply->notes);
    if (reply->request->watch.seconds > 0) {
        watch_host(&reply->watch, &reply->request->watch);
    }
    if (!sysctl_value("net.ipv4.tcp_available_ulp", here.available_ulp,
                      sizeof here.available_ulp)) {
        here.available_ulp[0] = 0;
    }
    if (time_is_up) {
        return;
    }
    if (poll(NULL, 0, 0) && errno != EINTR) {
        reply->reason = "the host forbids poll(2), so nothing can be waited for";
        return;
    }
    if (!enter_if_asked(reply, &here)) {
        reply->reason = reply->isolation_note;
        return;
    }
    open_lab(&lab, reply->is_private, here.available_ulp);
    snprintf(reply->capture_note, sizeof reply->capture_note, "%s", lab.no_capture);
    if (!reply->is_private) {
        move.call = NULL;
    }
    run_workers(&reply->workers, &lab, move);
    if (*reply->workers.problem) {
        reply->reason = reply->workers.problem;
    }
}

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Returns the seconds of CPU time that this process and its children have used. */
static double cpu_seconds(void) {
    double seconds = 0;
    const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage usage;
        if (!getrusage(whose[i], &usage)) {
            seconds += seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
        }
    }
    return seconds;
}

/* Reads the request, runs it and prints the reply; returns the exit status. */
static int run_probe(void) {
    static struct request request;
    static struct reply reply;
    char reason[128];
    if (!read_request(&request, reason, sizeof reason) ||
        !begin_reply(&reply, &request, reason, sizeof reason)) {
        fprintf(stderr, "%s\n", reason);
        return NOT_UNDERSTOOD;
    }
    double started = now(), end = started + request.deadline;
    reply.reason = "the probe's time ran out";
    start_alarm(end);
    fill_reply(&reply);
    if (end_soft_alarm(end)) {
        reply.reason = "the probe's time ran out";
        add_note(&reply.notes, "the alarm rang after %.1f s: what was not done by then is not run",
                 request.deadline);
    }
    end_workers(&reply.workers);
    reply.cpu = cpu_seconds();
    reply.elapsed = larger(0, smaller(request.deadline + MERCY, now() - started));
    signal(SIGPIPE, SIG_DFL);
    print_reply(&reply);
    return 0;
}

int main(int arguments, char **argument) {
    if (is_guest()) { /* the arguments are words of the kernel's command line */
        run_as_init();
        return run_probe();
    }
    if (is_started_by_child(arguments, argument)) {
        return 0;
    }
    if (!stay_if_asked(arguments, argument)) {
        return NOT_UNDERSTOOD;
    }
    return run_probe();
}
