/* Receives, and waits until what was sent has arrived. */
#define _GNU_SOURCE
#include "receiving.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "stream.h"
#include "waiting.h"

enum { LAST_RESULT = MAX_PEER_RESULTS - 1, MAX_REFUSED = 10 /* recv comes later */ };

ssize_t receive(struct connection *c, enum side side, size_t size, int flags, bool waits) {
    struct failure no_socket;
    int fd = socket_of(c, side, &no_socket);
    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    if (waits) {
        wait_for_events(fd, POLLIN | POLLRDHUP);
    }
    ssize_t count = receive_nowhere(fd, size, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
    if (count < 0 && errno != EAGAIN) {
        int number = errno;
        record_result(c, side, error_name(number));
        errno = number;
    }
    if (count >= 0 && !(flags & MSG_PEEK)) {
        record_received(c, side, (long)count);
    }
    return count;
}

/* Adds to a result that is a number, which is not that of the end of file; returns false for any
   other. */
static bool add_to_result(char result[32], long count) {
    long before = strtol(result, NULL, 10);
    if (before <= 0 || count <= 0) {
        return false;
    }
    snprintf(result, 32, "%ld", before + count);
    return true;
}

void record_received(struct connection *c, enum side side, long count) {
    char result[32];
    c->received[side] += (unsigned long long)count;
    bool may_add = is_evidence(c, side) && c->peer_results > 0;
    if (may_add && add_to_result(c->peer_result[c->peer_results - 1], count)) {
        return;
    }
    snprintf(result, sizeof result, "%ld", count);
    record_result(c, side, result);
}

/* Adds a result of the peer. */
static void add_peer_result(struct connection *c, const char *prefix, const char *result) {
    char *into = c->peer_result[c->peer_results++];
    snprintf(into, sizeof c->peer_result[0], "%s%s", prefix, result);
}

/* A result that repeats is kept once. */
void record_result(struct connection *c, enum side side, const char *result) {
    int count = c->peer_results;
    if (!is_evidence(c, side) || count >= LAST_RESULT) {
        return;
    }
    if (count == 0 || strcmp(c->peer_result[count - 1], result) != 0) {
        add_peer_result(c, "", result);
    }
}

bool is_evidence(const struct connection *c, enum side side) {
    return side == PEER && c->ending;
}

bool record_refused_send(struct connection *c, enum side side, struct failure *failure) {
    if (!is_evidence(c, side) || is_forbidden(errno)) {
        return fail_by_errno(failure);
    }
    if (c->peer_results < MAX_REFUSED) {
        add_peer_result(c, "send: ", error_name(errno));
    }
    return true;
}

bool receive_exactly(struct connection *c, enum side side, long count, int flags,
                     struct failure *failure) {
    long missing = count;
    struct wait wait = start_wait(-1);
    if (count > 0 && socket_of(c, side, failure) < 0) {
        return false;
    }
    while (missing > 0) {
        long most = missing < STREAM_PIECE ? missing : STREAM_PIECE;
        ssize_t size = receive(c, side, (size_t)most, flags, true);
        if (size < 0 && errno != EAGAIN) {
            char reason[128];
            fail_by_errno(failure);
            reason_of(failure, reason, sizeof reason);
            return fail_with(failure, STEP_FAILED, "%s after %ld of %ld bytes", reason,
                             count - missing, count);
        }
        if (size < 0 && is_wait_over(&wait)) {
            return fail_with(failure, STEP_TIMED_OUT, "only %ld of %ld bytes came in time",
                             count - missing, count);
        }
        if (size == 0) {
            return fail_with(failure, STEP_FAILED, "end of file after %ld of %ld bytes",
                             count - missing, count);
        }
        if (size > 0) {
            missing -= (long)size;
            wait = start_wait(-1);
        }
    }
    return true;
}

bool was_reset(struct connection *c, enum side side) {
    uint8_t info[TCP_INFO_SIZE];
    return tcp_info(c, side, info) > 0 && info[0] == CLOSE;
}

/* How many bytes of a sender have arrived, and since when there are no more. */
struct arrival {
    struct connection *c;
    enum side sender;
    long long count;
    double since;
};

/* Returns whether all has arrived, or the queue is full: nothing moves for 10 ms or more though
   something is sent. */
static bool is_complete(void *argument) {
    struct arrival *arrival = argument;
    struct connection *c = arrival->c;
    enum side receiver = other_side(arrival->sender);
    if (was_reset(c, arrival->sender)) {
        return true;
    }
    long long sent = (long long)c->sent[arrival->sender];
    long long count = bytes_received(c, receiver);
    if (count < 0) {
        return unread_of(c, receiver) > 0 || unacked_of(c, arrival->sender) == 0;
    }
    if (c->gap_end && count > sent) {
        c->is_forged = true; /* the gap was filled, see send_out_of_order */
    }
    if (count != arrival->count) {
        arrival->count = count;
        arrival->since = now();
    }
    bool is_quiet = now() - arrival->since > timeout_stretched(0.01);
    return count >= sent || (count > 0 && is_quiet && unacked_of(c, arrival->sender) > 0);
}

/* Returns whether what a sender sent is acknowledged, or it was reset. */
static bool is_acknowledged(void *argument) {
    struct arrival *arrival = argument;
    return unacked_of(arrival->c, arrival->sender) == 0 || was_reset(arrival->c, arrival->sender);
}

bool wait_for_arrival(struct connection *c, enum side sender, struct failure *failure) {
    enum side receiver = other_side(sender);
    struct arrival arrival = {.c = c, .sender = sender, .count = -1, .since = now()};
    if (c->kind == KIND_UNIX) {
        return true;
    }
    bool is_lost = c->has_vanished && receiver == PEER;
    if (c->is_closed[receiver] || c->accept_queue_full || is_lost) {
        settle(&c->lab->fence); /* what is sent to nobody is reset */
        return true;
    }
    if (c->socket[receiver] < 0) {
        return wait_until(is_acknowledged, &arrival, -1) ||
               fail_with(failure, STEP_TIMED_OUT, "the bytes were not acknowledged");
    }
    while (!wait_until(is_complete, &arrival, -1)) {
        if (time_is_up || now() - arrival.since >= timeout_seconds()) {
            return fail_with(failure, STEP_TIMED_OUT, "the bytes did not arrive");
        }
    }
    return true;
}
