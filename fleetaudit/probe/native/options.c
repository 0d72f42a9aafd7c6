/* Sets socket options by their names in the step language. */
#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct option {
    const char *name;
    int level, number;
};

static const struct option OPTIONS[] = {
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE},
    {"SO_LINGER", SOL_SOCKET, SO_LINGER},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE},
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF},
    {"TCP_CORK", IPPROTO_TCP, TCP_CORK},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {"TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT},
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL},
    {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2},
    {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY},
    {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK},
    {"TCP_REPAIR", IPPROTO_TCP, TCP_REPAIR},
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT},
    {"TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP},
};

static const struct option *find_option(const char *name) {
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        if (strcmp(OPTIONS[i].name, name) == 0) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

/* Converts the values of a step, which may have more digits than an int holds; returns how many
   there are, or -1 and a failure. */
static int option_values(const struct step *step, int values[MAX_WORDS], struct failure *failure) {
    for (int i = 1; i < step->words; i++) {
        long long value = strtoll(step->word[i], NULL, 10);
        if (value < INT_MIN || value > INT_MAX) {
            fail_with(failure, STEP_FAILED, "%s takes integers of 32 bits", step->word[0]);
            return -1;
        }
        values[i - 1] = (int)value;
    }
    return step->words - 1;
}

bool set_socket_option(int fd, const struct step *step, struct failure *failure) {
    static const int NO_OPTION[] = {ENOPROTOOPT, EOPNOTSUPP, 0};
    const char *name = step->words ? step->word[0] : "";
    const struct option *option = find_option(name);
    int values[MAX_WORDS];
    if (!option) {
        return fail_with(failure, STEP_FAILED, "the probe knows no option %s", name);
    }
    int count = option_values(step, values, failure);
    if (count < 0) {
        return false;
    }
    socklen_t size = (socklen_t)(sizeof *values * (size_t)count);
    if (setsockopt(fd, option->level, option->number, values, size) == 0) {
        return true;
    }
    fail_by_errno(failure);
    if (is_refused(failure->number)) {
        return fail_with(failure, UNSUPPORTED,
                         "%s needs CAP_NET_ADMIN or user namespaces; set become: true", name);
    }
    return unsupported_if(failure, NO_OPTION, "this kernel has no %s here", name);
}
