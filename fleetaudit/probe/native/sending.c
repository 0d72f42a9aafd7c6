/* The steps that send. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "receiving.h"
#include "stream.h"
#include "verb_functions.h"
#include "waiting.h"

enum { QUIET = MSG_DONTWAIT | MSG_NOSIGNAL };

static const char *const KIND_NAMES[KINDS] = {
    [KIND_TCP] = "tcp",
    [KIND_MPTCP] = "mptcp",
    [KIND_MAPPED] = "mapped",
    [KIND_UNIX] = "AF_UNIX",
};

/* Sends `size` bytes, a message as one, and waits until they have arrived. */
static bool send_bytes(struct connection *c, enum side side, long size, int flags,
                       struct failure *failure) {
    long unsent = size;
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    while (unsent > 0) {
        long most = c->has_messages || unsent < STREAM_PIECE ? unsent : STREAM_PIECE;
        ssize_t count = send_stream(fd, c->sent[side], (size_t)most, QUIET | flags);
        if (count >= 0) {
            unsent -= (long)count;
            c->sent[side] += (unsigned long long)count;
            continue;
        }
        if (errno != EAGAIN) {
            return record_refused_send(c, side, failure);
        }
        if (!(wait_for_events(fd, POLLOUT) & POLLOUT)) {
            return fail_with(failure, STEP_TIMED_OUT, "the send blocked after %ld of %ld bytes",
                             size - unsent, size);
        }
    }
    return wait_for_arrival(c, side, failure);
}

bool send_some(struct connection *c, const struct step *step, struct failure *failure) {
    return send_bytes(c, side_of_actor(step->actor), step->number[0], 0, failure);
}

bool send_urgent(struct connection *c, const struct step *step, struct failure *failure) {
    static const int NO_URGENT[] = {EOPNOTSUPP, 0};
    if (send_bytes(c, side_of_actor(step->actor), step->number[0], MSG_OOB, failure)) {
        return true;
    }
    if (failure->kind == SYSTEM_ERROR && failure->number == NO_URGENT[0]) {
        return fail_with(failure, UNSUPPORTED, "this kernel has no urgent data over %s",
                         KIND_NAMES[c->kind]);
    }
    return false;
}

/* What shows whether a sender is blocked: the receiver's window, -1 if it is unknown, and how many
   bytes are in its own send queue. */
struct send_state {
    long window;
    int queued;
};

static struct send_state send_state_of(struct connection *c, enum side side) {
    return (struct send_state){window_of(c, other_side(side)), unacked_of(c, side)};
}

/* Returns whether the queue fills a known window of an open connection. */
static bool is_filled(struct connection *c, enum side side, struct send_state state) {
    if (state.window <= 0 || !state.queued) {
        return false;
    }
    return !(events_of(c, side) & (POLLERR | POLLHUP));
}

static bool is_window_zero(struct connection *c, enum side receiver, long window) {
    return window < 0 ? announces_zero(c, receiver) : window == 0;
}

struct progress {
    struct connection *c;
    enum side side;
    struct send_state before;
};

static bool has_moved(void *argument) {
    struct progress *progress = argument;
    struct connection *c = progress->c;
    enum side receiver = other_side(progress->side);
    send_ack_now(c, receiver);
    struct send_state state = send_state_of(c, progress->side);
    if (state.window != progress->before.window || state.queued != progress->before.queued) {
        return true;
    }
    return state.window < 0 && announces_zero(c, receiver);
}

/* Returns after how many seconds without progress a sender is blocked for good: its persist timer
   first fires after one RTO, and the answer may be delayed by 40 ms. */
static double persist_time(struct connection *c, enum side side) {
    double rto = rto_of(c, side);
    double seconds = 4 * (rto > 0.2 ? rto : 0.2);
    return seconds < 4.0 ? seconds : 4.0;
}

/* Returns whether anything moves before the sender is blocked for good. */
static bool waits_for_progress(struct connection *c, enum side side, struct send_state before) {
    struct progress progress = {c, side, before};
    return wait_until(has_moved, &progress, timeout_stretched(persist_time(c, side)));
}

/* Notes how many bytes of a side's window remain, -1 if that is unknown. */
static void note_window(struct connection *c, enum side side, long remaining) {
    if (remaining >= 0 && c->kind != KIND_UNIX) {
        c->window[side] = remaining;
    }
}

/* Sends as much as fills the window, if that is known and not zero: returns the number of bytes, or
   -1 with errno. */
static ssize_t send_piece(struct connection *c, enum side side, long window) {
    bool is_known = window > 0;
    long size = is_known && window < STREAM_PIECE ? window : STREAM_PIECE;
    int flags = is_known && c->kind != KIND_MPTCP ? QUIET | MSG_EOR : QUIET;
    ssize_t count = send_stream(c->socket[side], c->sent[side], (size_t)size, flags);
    if (count > 0) {
        c->sent[side] += (unsigned long long)count;
    }
    return count;
}

/* Sends until the other side's window is zero and the send queue is full, and notes what remains
   of that window. A segment longer than the rest of a window waits 200 ms for the persist timer,
   and until then the window is not zero. So one send fills the window, and MSG_EOR (since 4.7)
   keeps the next from joining its segment; an unknown window is waited for. It may never be zero:
   some kernels drop what finds no room, and announce the old window. */
bool send_until_blocked(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    enum side receiver = other_side(side);
    unsigned long long limit = c->sent[side] + MAX_BULK;
    while (c->sent[side] < limit) {
        struct send_state before = send_state_of(c, side);
        if (!is_filled(c, side, before)) {
            ssize_t count = send_piece(c, side, before.window);
            if (count >= 0) {
                continue;
            }
            if (errno != EAGAIN) {
                return record_refused_send(c, side, failure);
            }
        }
        if (c->kind == KIND_UNIX || is_window_zero(c, receiver, before.window)) {
            note_window(c, receiver, 0);
            return true;
        }
        if (!waits_for_progress(c, side, before)) {
            note_window(c, receiver, before.window);
            return true;
        }
    }
    return fail_with(failure, STEP_FAILED, "the send did not block after %d bytes", MAX_BULK);
}
