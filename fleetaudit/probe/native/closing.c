/* The steps that end a connection, or hold an additional reference to its socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "receiving.h"
#include "verb_functions.h"
#include "verbs.h"

/* Returns what shutdown(2) takes for "write", "read" or "both". */
static int direction_of(const char *word) {
    if (strcmp(word, "write") == 0) {
        return SHUT_WR;
    }
    return strcmp(word, "read") == 0 ? SHUT_RD : SHUT_RDWR;
}

bool shut(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    int direction = direction_of(first_word(step));
    if (side == CLOSER && direction != SHUT_WR) {
        c->reading_shut = true;
    }
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    if (shutdown(fd, direction) == 0) {
        return true;
    }
    fail_by_errno(failure);
    /* If the other side has reset it, any program meets the same. */
    return failure->number == ENOTCONN && was_reset(c, side);
}

static bool close_listener(struct connection *c, struct failure *failure) {
    if (c->listener < 0 || !c->owns_listener) {
        return fail_with(failure, STEP_FAILED, "this connection has no listener of its own");
    }
    close(c->listener);
    c->listener = c->second_listener;
    c->second_listener = -1;
    if (c->listener >= 0) {
        return true; /* it may have got who waited: tcp_migrate_req */
    }
    c->is_waiting = false;
    c->is_closed[c->client_side == CLOSER ? PEER : CLOSER] = true;
    return true;
}

bool close_side(struct connection *c, const struct step *step, struct failure *failure) {
    if (step->actor == BY_LISTENER) {
        return close_listener(c, failure);
    }
    enum side side = side_of_actor(step->actor);
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    c->socket[side] = -1;
    if (!c->references) {
        c->is_closed[side] = true;
    }
    close(fd);
    return true;
}

/* Starts a child process that holds a copy of a side's socket, and not the others; returns NULL and
   a failure if it cannot. */
static struct child *hold_in_child(struct connection *c, enum side side, struct failure *failure) {
    const int others[] = {c->socket[other_side(side)], c->listener};
    if (c->children == MAX_CHILDREN) {
        fail_with(failure, STEP_FAILED, "a trial has at most %d processes", MAX_CHILDREN);
        return NULL;
    }
    struct child *child = &c->child[c->children];
    bool is_started = start_child(child, others, 2, failure);
    if (child->pid) {
        c->children++; /* also one that did not start is ended with the trial */
    }
    return is_started ? child : NULL;
}

/* Ends the process that holds the socket. */
bool end(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    const char *how = first_word(step);
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct child *child = hold_in_child(c, side, failure);
    if (!child) {
        return false;
    }
    c->socket[side] = -1;
    c->is_closed[side] = true;
    close(fd);
    return end_child(child, how, failure);
}

/* Calls connect(2) with AF_UNSPEC. */
bool disconnect(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    if (connect(fd, &nowhere, sizeof nowhere) != 0) {
        return fail_by_errno(failure);
    }
    c->is_closed[side] = true;
    return true;
}

/* Destroys a socket from outside, in the private namespace only. */
bool destroy(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    if (c->lab->sock_diag < 0) {
        return fail_with(failure, UNSUPPORTED, "needs sock_diag(7): %s", c->lab->no_sock_diag);
    }
    if (socket_of(c, side, failure) < 0) {
        return false;
    }
    const struct address *near = &c->address[side], *far = &c->address[other_side(side)];
    if (destroy_by_diag(c->lab, near, far, failure)) {
        c->is_closed[side] = true;
        return true;
    }
    if (failure->kind == SYSTEM_ERROR) {
        errno = failure->number;
        return fail_unsupported(failure, "this kernel does not let sockets be destroyed");
    }
    return false;
}

/* Adds a reference, of a descriptor or a child. */
static bool add_reference(struct connection *c, int fd, int child, struct failure *failure) {
    if (c->references == MAX_REFERENCES) {
        return fail_with(failure, STEP_FAILED, "a socket has at most %d references",
                         MAX_REFERENCES);
    }
    c->reference[c->references++] = (struct reference){.fd = fd, .child = child};
    return true;
}

/* Sends a descriptor over a socket of AF_UNIX; returns false with errno. */
static bool send_descriptor(int through, int fd) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = '.';
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control.room;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(through, &message, MSG_NOSIGNAL) == 1;
}

/* Makes a reference in flight: what is on its way towards a socket is closed with it. */
static bool refer_in_flight(struct connection *c, int fd, struct failure *failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return fail_by_errno(failure);
    }
    bool is_added = add_reference(c, pair[1], -1, failure);
    if (!is_added) {
        close(pair[1]);
    }
    bool is_sent = is_added && send_descriptor(pair[0], fd);
    if (is_added && !is_sent) {
        fail_by_errno(failure);
    }
    close(pair[0]);
    return is_sent;
}

/* Makes a reference by dup(2). */
static bool refer_by_descriptor(struct connection *c, int fd, struct failure *failure) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        return fail_by_errno(failure);
    }
    return add_reference(c, copy, -1, failure);
}

/* Makes another reference to a socket, by dup(2), in a child, or in flight over AF_UNIX. */
bool refer(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    const char *how = first_word(step);
    int fd = socket_of(c, side, failure);
    if (fd < 0) {
        return false;
    }
    if (strcmp(how, "dup") == 0) {
        return refer_by_descriptor(c, fd, failure);
    }
    if (strcmp(how, "fork") != 0) {
        return refer_in_flight(c, fd, failure);
    }
    struct child *child = hold_in_child(c, side, failure);
    return child && add_reference(c, -1, (int)(child - c->child), failure);
}

bool close_other(struct connection *c, const struct step *step, struct failure *failure) {
    enum side side = side_of_actor(step->actor);
    if (!c->references) {
        return fail_with(failure, STEP_FAILED, "there is no other reference to the socket");
    }
    struct reference reference = c->reference[--c->references];
    if (reference.fd >= 0) {
        close(reference.fd);
    } else if (!end_child(&c->child[reference.child], "exit", failure)) {
        return false;
    }
    if (!c->references && c->socket[side] < 0) {
        c->is_closed[side] = true;
    }
    return true;
}
