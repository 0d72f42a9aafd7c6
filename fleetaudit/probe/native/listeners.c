/* Opens listeners on loopback, connects to them and accepts from them. */
#define _GNU_SOURCE
#include "listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "system.h"
#include "waiting.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262 /* since Linux 5.6 */
#endif

enum { MAX_FOREIGN = 8 /* connections of other programs that are closed */ };

int address_family(enum family family) {
    return family == IPV4 ? AF_INET : AF_INET6;
}

int new_socket(int family, enum kind kind, struct failure *failure) {
    static const int NO_MPTCP[] = {EPROTONOSUPPORT, ENOPROTOOPT, EINVAL, 0};
    int protocol = kind == KIND_MPTCP ? IPPROTO_MPTCP : 0;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol);
    if (fd < 0) {
        fail_by_errno(failure);
        if (kind == KIND_MPTCP) {
            unsupported_if(failure, NO_MPTCP,
                           "this kernel has no MPTCP, or net.mptcp.enabled is 0");
        }
    }
    return fd;
}

void loopback_address(enum family family, enum kind kind, struct address *address) {
    memset(address, 0, sizeof *address);
    if (family == IPV4) {
        address->length = sizeof address->storage.ipv4;
        address->storage.ipv4.sin_family = AF_INET;
        address->storage.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return;
    }
    const char *text = kind == KIND_MAPPED ? "::ffff:127.0.0.1" : "::1";
    address->length = sizeof address->storage.ipv6;
    address->storage.ipv6.sin6_family = AF_INET6;
    inet_pton(AF_INET6, text, &address->storage.ipv6.sin6_addr);
}

bool local_address(int fd, struct address *address, struct failure *failure) {
    memset(address, 0, sizeof *address);
    address->length = sizeof address->storage;
    if (getsockname(fd, &address->storage.any, &address->length) != 0) {
        return fail_by_errno(failure);
    }
    return true;
}

int port_of(const struct address *address) {
    if (address->storage.any.sa_family == AF_INET) {
        return ntohs(address->storage.ipv4.sin_port);
    }
    return ntohs(address->storage.ipv6.sin6_port);
}

static bool is_same_address(const struct address *one, const struct address *another) {
    if (one->storage.any.sa_family != another->storage.any.sa_family ||
        port_of(one) != port_of(another)) {
        return false;
    }
    if (one->storage.any.sa_family == AF_INET) {
        return one->storage.ipv4.sin_addr.s_addr == another->storage.ipv4.sin_addr.s_addr;
    }
    return IN6_ARE_ADDR_EQUAL(&one->storage.ipv6.sin6_addr, &another->storage.ipv6.sin6_addr);
}

void set_port(struct address *address, int port) {
    if (address->storage.any.sa_family == AF_INET) {
        address->storage.ipv4.sin_port = htons((uint16_t)port);
    } else {
        address->storage.ipv6.sin6_port = htons((uint16_t)port);
    }
}

/* Binds a socket to the loopback address, and lets it listen; returns false with errno. */
static bool listen_on_loopback(int fd, enum family family, enum kind kind, int backlog, int port) {
    struct address address;
    int off = 0, on = 1;
    loopback_address(family, kind, &address);
    if (port != OWN_PORT) {
        set_port(&address, port);
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
            return false;
        }
    }
    if (kind == KIND_MAPPED && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
        return false;
    }
    return bind(fd, &address.storage.any, address.length) == 0 && listen(fd, backlog) == 0;
}

int open_listener(enum family family, enum kind kind, int backlog, int port,
                  struct failure *failure) {
    static const int NO_REUSEPORT[] = {ENOPROTOOPT, 0};
    int fd = new_socket(address_family(family), kind, failure);
    if (fd >= 0 && !listen_on_loopback(fd, family, kind, backlog, port)) {
        fail_by_errno(failure);
        unsupported_if(failure, NO_REUSEPORT, "this kernel has no SO_REUSEPORT");
        close(fd);
        return -1;
    }
    return fd;
}

void set_blocking(int fd, bool blocks) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, blocks ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Waits until a socket is writable; its failure is that of a socket's timeout in Python. */
static bool wait_to_write(int fd, struct failure *failure) {
    if (poll_events(fd, POLLOUT, timeout_seconds())) {
        return true;
    }
    return fail_with(failure, STEP_TIMED_OUT, "timed out");
}

bool connect_in_time(int fd, const struct address *address, struct failure *failure) {
    int number = 0;
    socklen_t size = sizeof number;
    set_blocking(fd, false);
    if (connect(fd, &address->storage.any, address->length) == 0) {
        return true;
    }
    if (errno != EINPROGRESS) {
        return fail_by_errno(failure);
    }
    if (!wait_to_write(fd, failure)) {
        return false;
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size);
    errno = number;
    return number == 0 || fail_by_errno(failure);
}

bool send_in_time(int fd, const void *data, size_t size, int flags, const struct address *target,
                  struct failure *failure) {
    const struct sockaddr *address = target ? &target->storage.any : NULL;
    socklen_t length = target ? target->length : 0;
    struct wait wait = start_wait(timeout_seconds());
    set_blocking(fd, false);
    while (!is_wait_over(&wait) && wait_to_write(fd, failure)) {
        if (sendto(fd, data, size, flags | MSG_NOSIGNAL, address, length) >= 0) {
            return true;
        }
        if (errno != EAGAIN) {
            return fail_by_errno(failure);
        }
    }
    return fail_with(failure, STEP_TIMED_OUT, "timed out");
}

int accept_from(int listener, const struct address *address, struct failure *failure) {
    for (int i = 0; i < MAX_FOREIGN; i++) {
        struct address source = {.length = sizeof source.storage};
        if (!wait_for_events(listener, POLLIN)) {
            fail_with(failure, STEP_TIMED_OUT, "no connection came to be accepted");
            return -1;
        }
        int fd = accept4(listener, &source.storage.any, &source.length, SOCK_CLOEXEC);
        if (fd < 0) {
            fail_by_errno(failure);
            return -1;
        }
        if (is_same_address(&source, address)) {
            return fd;
        }
        close(fd);
    }
    fail_with(failure, STEP_FAILED, "other programs connect to the port of this test");
    return -1;
}

const char *lack_of_raw_sockets(void) {
    if (geteuid() == 0) {
        return "needs CAP_NET_RAW, which root lacks here";
    }
    return "needs CAP_NET_RAW or user namespaces; set become: true";
}
