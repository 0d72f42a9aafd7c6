/* Runs the steps of one trial. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "trial.h"

#include <poll.h>
#include <stdio.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "child.h"
#include "files.h"
#include "system.h"
#include "trace.h"
#include "verbs.h"
#include "waiting.h"
#include "witnesses.h"

/* Characters of one trial: its rows take up to 100 each, all else less than that together. */
enum { MOST_SHAPE = 65536, MOST_TIMES = 8192, MOST_HEADERS = 65536 };

/* The state of a side before a step, to detect what the step changes. */
struct watch {
    struct connection *c;
    enum side side;
    int events;
    long segments;
    bool had_fin;
};

static struct watch start_watch(struct connection *c, enum side side) {
    return (struct watch){c, side, events_of(c, side), segments_sent(c, side), has_fin(c, side)};
}

/* Returns whether the side's socket shows a new FIN or RST within `seconds`, or the adaptive
   timeout if that is negative. */
static bool notices(const struct watch *watch, double seconds) {
    int fd = watch->c->socket[watch->side];
    if (fd < 0 || watch->events & (POLLERR | POLLHUP)) {
        return true;
    }
    if (watch->events & POLLRDHUP) {
        return poll_events(fd, 0, seconds < 0 ? timeout_stretched(NOTICE / 2) : seconds);
    }
    return seconds < 0 ? wait_for_events(fd, POLLRDHUP) : poll_events(fd, POLLRDHUP, seconds);
}

static bool require_notice(const struct watch *watch, struct failure *failure) {
    if (notices(watch, -1) || has_fin(watch->c, watch->side)) {
        return true;
    }
    return fail_with(failure, STEP_TIMED_OUT, "the %s did not notice it", side_name(watch->side));
}

static bool has_sent_more(void *argument) {
    const struct watch *watch = argument;
    return segments_sent(watch->c, watch->side) > watch->segments;
}

/* Waits until a side that received a FIN has acknowledged it (delayed by up to 40 ms): a closer
   that is still in FIN_WAIT1 behaves differently. */
static void wait_for_ack(struct watch *watch) {
    struct connection *c = watch->c;
    if (watch->segments < 0 || (events_of(c, watch->side) & POLL_END) != POLLRDHUP) {
        return;
    }
    if (watch->side == PEER) {
        hasten_ack(c);
    }
    wait_until(has_sent_more, watch, timeout_stretched(0.25));
    settle(&c->lab->fence); /* the acknowledgment was sent: wait until it has arrived */
}

/* Notes the closer's receive queue. rx_queue shows more than FIONREAD and costs more time. */
static void note_queue(struct connection *c) {
    if (c->socket[CLOSER] < 0) {
        return;
    }
    c->fionread = unread_of(c, CLOSER);
    c->rx_queue = -1;
    if (c->lab->is_private && (c->kind == KIND_TCP || c->kind == KIND_MAPPED)) {
        c->rx_queue = rx_queue(c->lab, &c->address[CLOSER], &c->address[PEER], c->scenario);
    }
}

/* Notes how many bytes of the closer are not acknowledged before the ending step. */
static void note_unacknowledged(struct connection *c, enum side side) {
    int fd[MAX_REFERENCES + 1];
    if (side != CLOSER) {
        return;
    }
    c->unacknowledged = 0;
    for (int i = open_sockets(c, CLOSER, fd) - 1; i >= 0; i--) {
        unsigned count = (unsigned)number_of(fd[i], SIOCOUTQ);
        if (count > c->unacknowledged) {
            c->unacknowledged = count;
        }
    }
}

/* Returns how many seconds to wait for a RST that may not come. Over TCP it has arrived once all is
   delivered; MPTCP reports it to the socket later. */
static double notice_time(struct connection *c) {
    bool is_delivered = settle(&c->lab->fence) && c->kind != KIND_MPTCP;
    return is_delivered ? 0.0 : timeout_stretched(NOTICE);
}

static bool is_step(const struct step *step, enum actor actor, const char *verb) {
    return step->actor == actor && is_verb(step, verb);
}

/* Fails if the closer has unread bytes although its step before has read all. A reader opens the
   window of a sender that was blocked, and a process that does not run for a while leaves it the
   time to send. */
static bool require_nothing_late(struct connection *c, int number, struct failure *failure) {
    const struct step *step = &c->scenario->step[number];
    if (number < 1 || !is_step(step - 1, BY_CLOSER, "read-all") ||
        !is_step(step, BY_CLOSER, "close") || !unread_of(c, CLOSER)) {
        return true;
    }
    return fail_with(failure, STEP_TIMED_OUT, "more bytes came after it had read all");
}

static bool call(struct connection *c, const struct step *step, struct failure *failure) {
    return step->verb->run(c, step, failure);
}

/* Runs a step over AF_UNIX, which is complete when its call returns. Notes which of the peer's
   events an ending step of the closer adds. */
static bool run_unix_step(struct connection *c, int number, struct failure *failure) {
    const struct step *step = &c->scenario->step[number];
    if (step->actor != BY_CLOSER || !step->verb->is_ending) {
        return call(c, step, failure);
    }
    if (!c->ending) {
        note_queue(c);
    }
    c->ending = true;
    int before = events_of(c, PEER);
    if (!call(c, step, failure)) {
        return false;
    }
    c->poll_added[c->polls_added].step = number;
    c->poll_added[c->polls_added++].events = events_of(c, PEER) & ~before;
    return true;
}

/* Waits until the closer notices that the peer ended. */
static bool await_notice(const struct watch *watch, bool is_blocked, struct failure *failure) {
    return watch->had_fin || is_blocked || require_notice(watch, failure);
}

/* Waits until the other side notices that the closer ended, as far as it can. */
static void watch_notice(struct connection *c, const struct watch *watch) {
    notices(watch, notice_time(c));
    if (watch->side == PEER && !watch->had_fin) { /* also if it arrives later */
        c->segments_before_fin = watch->segments;
        c->fin_arrived_at = now();
    }
}

/* Runs a step that ends the connection, or one direction, until the other side notices. */
static bool run_ending_step(struct connection *c, int number, struct failure *failure) {
    const struct step *step = &c->scenario->step[number];
    if (step->actor == BY_CLOSER || step->actor == BY_LISTENER) {
        if (!c->ending || !is_verb(step, "shutdown")) { /* after a half-close more may have come */
            note_queue(c);
        }
        c->ending = true;
    }
    struct watch watch = start_watch(c, step->actor == BY_PEER ? CLOSER : PEER);
    if (!require_nothing_late(c, number, failure)) {
        return false;
    }
    bool is_peers = step->actor == BY_PEER, is_blocked = is_peers && unacked_of(c, PEER) > 0;
    if (step->actor == BY_CLOSER) {
        note_unacknowledged(c, CLOSER);
    }
    if (!call(c, step, failure)) {
        return false;
    }
    if (!is_peers) {
        watch_notice(c, &watch);
    } else if (!await_notice(&watch, is_blocked, failure)) {
        return false;
    }
    if (number + 1 < c->scenario->steps && !watch.had_fin) {
        wait_for_ack(&watch);
    }
    return true;
}

/* Runs a send after the closer's first ending step, which may be answered by a RST. */
static bool run_late_send(struct connection *c, const struct step *step, struct failure *failure) {
    struct watch watch = start_watch(c, PEER);
    if (step->actor == BY_CLOSER) {
        note_unacknowledged(c, CLOSER);
    }
    if (!call(c, step, failure)) {
        return false;
    }
    notices(&watch, notice_time(c));
    return true;
}

/* Returns how the two are connected for a step, NULL if it needs no connection. */
static const char *connection_for(const struct step *step) {
    if (is_verb(step, "connect") || is_verb(step, "sign")) {
        return NULL;
    }
    bool is_of_listener = is_step(step, BY_LISTENER, "close") || is_verb(step, "share");
    if (is_of_listener || is_verb(step, "fill-queue") || is_verb(step, "queue-up")) {
        return "unaccepted";
    }
    bool is_side = step->actor == BY_CLOSER || step->actor == BY_PEER || step->actor == BY_BOTH;
    return is_side ? "tcp" : NULL;
}

/* Connects the two; a listener is enough for a step before the peer tries to. */
static bool connect_for(struct connection *c, const char *how, struct failure *failure) {
    if (tries_to_connect(c->scenario)) {
        return prepare_listener(c, "unanswered", failure);
    }
    return connect_sides(c, PEER, how, 0, failure);
}

/* Connects the two if no step has done so. */
static bool connect_if_needed(struct connection *c, const struct step *step,
                              struct failure *failure) {
    const char *how = connection_for(step);
    char reason[sizeof failure->text - 64];
    if (c->client_side != NO_SIDE || !how || connect_for(c, how, failure)) {
        return true;
    }
    bool is_scarce_error = failure->kind == SYSTEM_ERROR && is_scarce(failure->number);
    if (is_scarce_error || failure->kind == UNSUPPORTED || failure->kind == OUT_OF_RESOURCES) {
        return false;
    }
    reason_of(failure, reason, sizeof reason);
    return fail_with(failure, STEP_FAILED, "the two sides could not be connected: %s", reason);
}

static bool run_step(struct connection *c, int number, struct failure *failure) {
    const struct step *step = &c->scenario->step[number];
    bool shuts_reading = is_verb(step, "shutdown") && !strcmp(step->word[0], "read");
    if (!connect_if_needed(c, step, failure)) {
        return false;
    }
    if (c->kind == KIND_UNIX) {
        return run_unix_step(c, number, failure);
    }
    if (step->verb->is_ending && !shuts_reading) {
        return run_ending_step(c, number, failure);
    }
    if (c->ending && !strncmp(step->verb->name, "send", 4)) {
        return run_late_send(c, step, failure);
    }
    return call(c, step, failure);
}

/* Returns whether a failure is that of a step, and not one that leaves no trial. */
static bool is_of_step(const struct failure *failure) {
    if (failure->kind == SYSTEM_ERROR) {
        return !is_scarce(failure->number);
    }
    return failure->kind == STEP_FAILED || failure->kind == STEP_TIMED_OUT;
}

/* Runs the steps up to the first that fails, which the trial then names; returns false if there is
   no trial. */
static bool run_steps(struct connection *c, struct trial *trial, struct failure *failure) {
    for (int number = 0; number < c->scenario->steps && !time_is_up; number++) {
        c->step_time[c->step_times++] = micros(wall_clock() - c->began);
        if (run_step(c, number, failure)) {
            continue;
        }
        if (!is_of_step(failure)) {
            return false;
        }
        c->timed_out = failure->kind == STEP_TIMED_OUT;
        trial->failed_step = number;
        reason_of(failure, trial->error, sizeof trial->error);
        return true;
    }
    return true;
}

static void begin_trial(struct trial *trial) {
    memset(trial, 0, sizeof *trial);
    trial->failed_step = -1;
    trial->shape.limit = trial->key.limit = MOST_SHAPE;
    trial->headers.limit = MOST_HEADERS;
    struct text *times[] = {&trial->began, &trial->ports, &trial->steps, &trial->at,
                            &trial->windows};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        times[i]->limit = MOST_TIMES;
    }
}

bool run_trial(struct connection *c, struct trial *trial, struct failure *failure) {
    struct counter_values after;
    struct peer_witness peer;
    struct capture *capture = &c->lab->capture;
    begin_trial(trial);
    begin_trial_timeout();
    if (capture->fd >= 0) {
        capture_drain(capture, -1, NULL);
        capture_take_lost(capture);
    }
    read_counters(&c->lab->counters, &c->before);
    c->began = (double)(long long)(wall_clock() * 1e6) / 1e6;
    bool is_trial = run_steps(c, trial, failure);
    if (is_trial) {
        failure->kind = NO_FAILURE; /* that of a step is in the trial */
        wait_for_final_ending(c);
        read_counters(&c->lab->counters, &after);
        question_peer(c, &peer);
        describe_trial(c, &peer, &c->before, &after, trial);
        trial->deviates = trial->deviates || trial->error[0];
    }
    clean_up(c);
    return is_trial;
}

void free_trial(struct trial *trial) {
    struct text *texts[] = {&trial->shape, &trial->key, &trial->began,   &trial->ports,
                            &trial->steps, &trial->at,  &trial->windows, &trial->headers};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        text_free(texts[i]);
    }
}

/* A shared listener must not hand a connection to the next trial for which accept failed in this
   one. */
static void forget_waiting(struct connection *c) {
    if (c->owns_listener) {
        watch_ports(c->lab, 0);
    } else if (c->is_waiting) {
        int *shared = &c->lab->listener[c->family][c->kind];
        close_quietly(*shared);
        *shared = -1;
    }
}

static void restore_sysctls(struct connection *c) {
    char path[512];
    while (c->changed_sysctls > 0) {
        const struct changed_sysctl *changed = &c->changed_sysctl[--c->changed_sysctls];
        if (sysctl_path(changed->key, path, sizeof path)) {
            write_file(path, changed->before);
        }
    }
}

void clean_up(struct connection *c) {
    for (int i = 0; i < c->children; i++) {
        close_child(&c->child[i]);
    }
    for (int i = 0; i < c->references; i++) {
        close_by_reset(c->reference[i].fd);
    }
    forget_waiting(c);
    for (enum side side = CLOSER; side < SIDES; side++) {
        close_by_reset(c->socket[side]); /* no TIME_WAIT */
    }
    /* After the sockets: these reset what the other side still sends. */
    for (int i = 0; i < c->cleanups; i++) {
        c->cleanup[i].call(c, &c->cleanup[i]);
    }
    if (c->owns_listener) {
        close_quietly(c->listener);
    }
    close_quietly(c->second_listener);
    restore_sysctls(c);
    /* The last segments of MPTCP's worker must not count for the next trial. */
    if (c->kind == KIND_MPTCP) {
        wait_for_quiet(c);
    }
    settle(&c->lab->fence);
    packets_free(&c->packets);
}
