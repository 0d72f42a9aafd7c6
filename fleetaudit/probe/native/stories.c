/* The steps of stories that few playbooks tell: `remote/stories.py`. */
#include <errno.h>

#include "capture.h"
#include "listeners.h"
#include "verb_functions.h"
#include "verbs.h"

enum { BACKLOG = 16 };

/* Has a side's kernel drop every segment for it: sk_filter() comes before the connection. */
bool vanish(struct connection *c, const struct step *step, struct failure *failure) {
    int fd = socket_of(c, side_of_actor(step->actor), failure);
    if (fd < 0) {
        return false;
    }
    c->has_vanished = reject_all(fd);
    return c->has_vanished || fail_by_errno(failure);
}

/* Connects strangers that nobody accepts. */
bool queue_up(struct connection *c, const struct step *step, struct failure *failure) {
    if (c->listener < 0) {
        return fail_with(failure, STEP_FAILED, "nothing listens any more");
    }
    for (long i = 0; i < step->number[0]; i++) {
        int fd = connect_stranger(c, failure);
        if (fd < 0) {
            return false;
        }
        c->stranger[c->strangers++] = fd;
    }
    settle(&c->lab->fence);
    return true;
}

/* Opens another listener on the port of the first. */
bool share_port(struct connection *c, const struct step *step, struct failure *failure) {
    (void)step;
    if (c->listener < 0 || c->second_listener >= 0) {
        return fail_with(failure, STEP_FAILED,
                         "a second listener joins one that is open, and only once");
    }
    int port = port_of(&c->listener_address);
    c->second_listener = open_listener(c->family, c->kind, BACKLOG, port, failure);
    return c->second_listener >= 0;
}

/* Returns false, with why no second connection can be made, if the first is not over. */
static bool is_over(struct connection *c, enum side client, struct failure *failure) {
    if (client != c->client_side) {
        return fail_with(failure, STEP_FAILED, "it was not the %s that connected",
                         side_name(client));
    }
    if (c->socket[CLOSER] < 0 && c->socket[PEER] < 0 && c->listener >= 0) {
        return true;
    }
    return fail_with(failure, STEP_FAILED,
                     "the first connection is not over, or nothing listens any more");
}

/* Makes a second connection between the same ports, and begins to observe again. */
bool reconnect(struct connection *c, const struct step *step, struct failure *failure) {
    if (!is_over(c, side_of_actor(step->actor), failure)) {
        return false;
    }
    settle(&c->lab->fence);
    drain_capture(c);
    begin_observing(c);
    read_counters(&c->lab->counters, &c->before);
    if (make_client(c, failure) && connect_to_listener(c, "tcp", 0, failure)) {
        return true;
    }
    bool has_no_port = failure->number == EADDRINUSE || failure->number == EADDRNOTAVAIL;
    if (failure->kind == SYSTEM_ERROR && has_no_port) {
        return fail_with(failure, STEP_FAILED, "the kernel does not use the ports again (%s)",
                         error_name(failure->number));
    }
    return false;
}
