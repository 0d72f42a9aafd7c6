/* Reads the state of one socket through sock_diag(7), or destroys it.

   Listing /proc/net/tcp takes milliseconds on a machine with much memory, even if a namespace has
   one connection. */
#define _GNU_SOURCE /* memmem */
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lab.h"
#include "waiting.h"

#ifndef SOCK_DESTROY /* since 4.5 */
#define SOCK_DESTROY 21
#endif

enum { TIMER_TIME_WAIT = 3, NO_COOKIE = -1, MOST_BUILT_IN = 1 << 20 };

/* A request for the socket with two addresses. */
struct diag_request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

/* An answer: of a socket, or an error. */
union diag_answer {
    struct {
        struct nlmsghdr header;
        struct inet_diag_msg message;
    } found;
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
    } refused;
    char room[4096];
};

static const void *packed_address(const struct address *address, size_t *size, __be16 *port) {
    if (address->storage.any.sa_family == AF_INET) {
        *size = sizeof address->storage.ipv4.sin_addr;
        *port = address->storage.ipv4.sin_port;
        return &address->storage.ipv4.sin_addr;
    }
    *size = sizeof address->storage.ipv6.sin6_addr;
    *port = address->storage.ipv6.sin6_port;
    return &address->storage.ipv6.sin6_addr;
}

static struct diag_request make_request(int kind, const struct address *near,
                                        const struct address *far) {
    struct diag_request request = {
        .header = {.nlmsg_len = sizeof request,
                   .nlmsg_type = (uint16_t)kind,
                   .nlmsg_flags = NLM_F_REQUEST,
                   .nlmsg_seq = 1},
        .body = {.sdiag_family = (uint8_t)near->storage.any.sa_family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = UINT32_MAX,
                 .id.idiag_cookie = {(uint32_t)NO_COOKIE, (uint32_t)NO_COOKIE}},
    };
    size_t size;
    if (kind == SOCK_DESTROY) { /* which has no other answer */
        request.header.nlmsg_flags |= NLM_F_ACK;
    }
    const void *source = packed_address(near, &size, &request.body.id.idiag_sport);
    memcpy(request.body.id.idiag_src, source, size);
    const void *target = packed_address(far, &size, &request.body.id.idiag_dport);
    memcpy(request.body.id.idiag_dst, target, size);
    return request;
}

/* Asks for the socket with these addresses. Returns the size of the answer, or -1 with errno:
   ENOENT if there is no such socket. */
static ssize_t ask(int fd, int kind, const struct address *near, const struct address *far,
                   union diag_answer *answer) {
    struct diag_request request = make_request(kind, near, far);
    if (send(fd, &request, sizeof request, 0) < 0) {
        return -1;
    }
    errno = ETIMEDOUT;
    if (!wait_for_events(fd, POLLIN)) {
        return -1;
    }
    ssize_t size = recv(fd, answer, sizeof *answer, 0);
    if (size < 0) {
        return -1;
    }
    errno = EBADMSG;
    if (size < (ssize_t)(sizeof answer->refused.header + sizeof answer->refused.error.error)) {
        return -1;
    }
    errno = -answer->refused.error.error; /* 0 is the ACK */
    if (answer->refused.header.nlmsg_type == NLMSG_ERROR && errno) {
        return -1;
    }
    return size;
}

/* Returns false with errno. */
static bool find(int fd, const struct address *near, const struct address *far,
                 struct listed *found) {
    union diag_answer answer;
    *found = (struct listed){.state = GONE};
    ssize_t size = ask(fd, SOCK_DIAG_BY_FAMILY, near, far, &answer);
    if (size < 0) {
        return errno == ENOENT;
    }
    errno = EBADMSG;
    if (size < (ssize_t)sizeof answer.found) {
        return false;
    }
    const struct inet_diag_msg *message = &answer.found.message;
    /* A listener answers for a connection of its port that is in no table any more. */
    if (message->idiag_timer == TIMER_TIME_WAIT || message->idiag_state == LISTEN) {
        return true;
    }
    found->state = message->idiag_state;
    found->unread = message->idiag_rqueue;
    found->unsent = message->idiag_wqueue;
    return true;
}

bool find_by_diag(struct lab *lab, const struct address *near, const struct address *far,
                  struct listed *found) {
    return lab->sock_diag >= 0 && find(lab->sock_diag, near, far, found);
}

bool destroy_by_diag(struct lab *lab, const struct address *near, const struct address *far,
                     struct failure *failure) {
    struct listed found;
    union diag_answer answer;
    if (!find(lab->sock_diag, near, far, &found)) {
        return fail_by_errno(failure);
    }
    if (found.state == GONE) { /* else the listener would be destroyed */
        return true;
    }
    return ask(lab->sock_diag, SOCK_DESTROY, near, far, &answer) >= 0 || fail_by_errno(failure);
}

/* Returns whether the list of the modules that are built into this kernel names one. */
static bool is_built_in(const char *folder, const char *module) {
    char path[512], text[4096];
    size_t kept = strlen(module), used = 0, total = 0;
    bool is_found = false;
    snprintf(path, sizeof path, "%s/modules.builtin", folder);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t length = 1;
    while (fd >= 0 && !is_found && length > 0 && total < MOST_BUILT_IN) {
        length = read(fd, text + used, sizeof text - used);
        used += length > 0 ? (size_t)length : 0;
        total += length > 0 ? (size_t)length : 0;
        is_found = memmem(text, used, module, kept) != NULL;
        if (used > kept) { /* the name may be cut */
            memmove(text, text + used - kept, kept);
            used = kept;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return is_found;
}

/* Returns whether asking makes the kernel load no module. */
static bool is_loaded(void) {
    struct utsname names;
    char folder[256];
    if (uname(&names)) {
        return false;
    }
    snprintf(folder, sizeof folder, "/lib/modules/%s", names.release);
    if (!access("/sys/module/tcp_diag", F_OK) || access(folder, F_OK)) {
        return true;
    }
    return is_built_in(folder, "tcp_diag.ko");
}

/* Returns whether the kernel finds an existing socket; without tcp_diag it answers ENOENT. */
static bool answers(int fd) {
    union diag_answer answer;
    struct address near = {
        .storage.ipv4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        .length = sizeof near.storage.ipv4};
    struct address far = near;
    far.storage.ipv4.sin_port = htons(1);
    int known = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (known < 0) {
        return false;
    }
    bool is_found = !bind(known, &near.storage.any, near.length) && !listen(known, 1) &&
                    !getsockname(known, &near.storage.any, &near.length) &&
                    ask(fd, SOCK_DIAG_BY_FAMILY, &near, &far, &answer) >= 0;
    int number = errno;
    close(known);
    errno = number;
    return is_found;
}

int open_sock_diag(char *reason, int size) {
    struct failure failure;
    reason[0] = 0;
    if (!is_loaded()) {
        snprintf(reason, (size_t)size,
                 "the kernel's tcp_diag module is not loaded, and the probe loads none");
        return -1;
    }
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        fail_by_errno(&failure);
    } else if (!answers(fd)) {
        fail_unsupported(&failure, "the kernel does not answer for TCP");
        close(fd);
    } else {
        return fd;
    }
    message_of(&failure, reason, size);
    return -1;
}
