/* The steps that read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "files.h"
#include "receiving.h"
#include "stream.h"
#include "verb_functions.h"
#include "waiting.h"

bool read_some(struct connection *c, const struct step *step, struct failure *failure) {
    return receive_exactly(c, side_of_actor(step->actor), step->number[0], 0, failure);
}

bool discard(struct connection *c, const struct step *step, struct failure *failure) {
    return receive_exactly(c, side_of_actor(step->actor), step->number[0], MSG_TRUNC, failure);
}

/* Fails with why one call that waits for `size` bytes got none; `number` is its errno. */
static bool fail_to_read(struct connection *c, enum side side, int number, long size,
                         struct failure *failure) {
    char reason[128];
    errno = number;
    if (number == EAGAIN) {
        return fail_with(failure, STEP_TIMED_OUT, "none of %ld bytes came", size);
    }
    fail_by_errno(failure);
    record_result(c, side, error_name(number));
    reason_of(failure, reason, sizeof reason);
    return fail_with(failure, STEP_FAILED, "%s, none of %ld bytes came", reason, size);
}

/* As recv(2) with MSG_WAITALL, which a timeout of the socket ends. */
static ssize_t receive_all_in_time(int fd, size_t size, double seconds) {
    struct timeval before, limit;
    socklen_t length = sizeof before;
    limit.tv_sec = (time_t)seconds;
    limit.tv_usec = (suseconds_t)((seconds - (double)limit.tv_sec) * 1e6);
    if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &before, &length) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
        return -1;
    }
    ssize_t count = receive_nowhere(fd, size, MSG_WAITALL);
    int number = errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &before, sizeof before);
    errno = number;
    return count;
}

bool read_waitall(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    long size = step->number[0];
    double began = now(), seconds = timeout_seconds();
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    ssize_t count = receive_all_in_time(fd, (size_t)size, seconds);
    if (count < 0) {
        return fail_to_read(c, side, errno, size, failure);
    }
    record_received(c, side, (long)count);
    if (count < size && now() - began >= seconds) {
        return fail_with(failure, STEP_TIMED_OUT, "%ld of %ld bytes within %.1f s", (long)count,
                         size, seconds);
    }
    return true;
}

bool read_all(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    ssize_t count = 1;
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    while (count > 0 && !time_is_up) {
        count = receive(c, side, STREAM_PIECE, 0, false);
    }
    if (count < 0 && errno != EAGAIN && !is_evidence(c, side)) {
        return fail_by_errno(failure);
    }
    return true;
}

bool read_to_end(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    struct wait wait = start_wait(-1);
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    while (true) {
        ssize_t count = receive(c, side, STREAM_PIECE, 0, true);
        if (count < 0 && is_forbidden(errno)) {
            return fail_by_errno(failure);
        }
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            return true;
        }
        if (count > 0) {
            wait = start_wait(-1);
        }
        if (is_wait_over(&wait)) {
            return fail_with(failure, STEP_TIMED_OUT, "no end of file and no error within %.1f s",
                             now() - wait.began);
        }
    }
}

bool try_read(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    ssize_t count = receive(c, side, STREAM_PIECE, 0, false);
    if (count < 0 && errno == EAGAIN) {
        record_result(c, side, error_name(EAGAIN));
    }
    return count >= 0 || !is_forbidden(errno) || fail_by_errno(failure);
}

/* Returns whether the urgent byte is ordinary data, by RFC 1122's meaning of the pointer. */
static bool is_pointer_strict(void) {
    char value[16];
    return sysctl_value("net.ipv4.tcp_stdurg", value, sizeof value) && strcmp(value, "1") == 0;
}

bool read_urgent(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    ssize_t count = receive(c, side, 1, MSG_OOB, false);
    if (count < 0) {
        fail_by_errno(failure);
        return failure->number == EAGAIN && is_pointer_strict(); /* nothing else can be seen */
    }
    return count == 1 || fail_with(failure, STEP_FAILED, "no urgent byte");
}

/* What is peeked at; `number` is the errno that ended it, 0 for none. */
struct peeking {
    struct connection *c;
    enum side side;
    long size;
    int number;
};

static bool is_there(void *argument) {
    struct peeking *peeking = argument;
    ssize_t count = receive(peeking->c, peeking->side, (size_t)peeking->size, MSG_PEEK, false);
    if (count < 0 && errno != EAGAIN) {
        peeking->number = errno;
        return true;
    }
    return count >= peeking->size;
}

bool peek(struct connection *c, const struct step *step, struct failure *failure) {
    struct peeking peeking = {.c = c, .side = side_of_actor(step->actor), .size = step->number[0]};
    if (socket_of(c, peeking.side, failure) < 0) {
        return false;
    }
    if (!wait_until(is_there, &peeking, -1)) {
        return fail_with(failure, STEP_TIMED_OUT, "fewer than %ld bytes to peek at", peeking.size);
    }
    errno = peeking.number;
    return peeking.number == 0 || fail_by_errno(failure);
}

/* Moves up to `size` bytes from a socket into a pipe, and out of it; returns their number, or -1
   with errno. */
static ssize_t splice_piece(int fd, const int pipe[2], long size) {
    enum { PIECE = 32768 };
    char dropped[PIECE];
    ssize_t count = splice(fd, NULL, pipe[1], NULL, (size_t)(size < PIECE ? size : PIECE), 0);
    if (count > 0 && read(pipe[0], dropped, (size_t)count) < 0) {
        return -1;
    }
    return count;
}

static bool splice_through(struct connection *c, enum side side, const int pipe[2], long size,
                           struct failure *failure) {
    long missing = size;
    while (missing > 0 && wait_for_events(c->socket[side], POLLIN | POLLRDHUP)) {
        ssize_t count = splice_piece(c->socket[side], pipe, missing);
        if (count < 0) {
            return fail_by_errno(failure);
        }
        if (count == 0) {
            return fail_with(failure, STEP_FAILED, "end of file after %ld of %ld bytes",
                             size - missing, size);
        }
        record_received(c, side, (long)count);
        missing -= (long)count;
    }
    if (missing > 0) {
        return fail_with(failure, STEP_TIMED_OUT, "only %ld of %ld bytes were spliced",
                         size - missing, size);
    }
    return true;
}

bool splice_out(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    int pipe[2];
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    if (pipe2(pipe, O_CLOEXEC) != 0) {
        return fail_by_errno(failure);
    }
    bool is_done = splice_through(c, side, pipe, step->number[0], failure);
    close(pipe[0]);
    close(pipe[1]);
    return is_done;
}
