/* Finds out when loopback has delivered what was sent.

   A UDP socket connected to itself: what it sends comes back after everything sent before, since
   loopback delivers in order on one CPU. With receive packet steering each flow has its own CPU, so
   a while is added. */
#include "fence.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failure.h"
#include "files.h"
#include "system.h"
#include "waiting.h"

#define STEERING "/sys/class/net/lo/queues/rx-0/rps_cpus"

static bool connect_to_itself(int fd) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *any = (struct sockaddr *)&address;
    socklen_t length = sizeof address;
    return !bind(fd, any, length) && !getsockname(fd, any, &length) && !connect(fd, any, length);
}

/* Returns whether packets are steered to the CPUs of a mask: "00000000,00000003". */
static bool is_steered(void) {
    char mask[4096];
    if (read_file(STEERING, mask, sizeof mask) < 0) {
        return false;
    }
    return mask[strspn(mask, "0,\n")] != 0;
}

void open_fence(struct fence *fence, bool is_private) {
    memset(fence, 0, sizeof *fence);
    fence->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fence->fd >= 0 && !connect_to_itself(fence->fd)) {
        close_fence(fence);
    }
    fence->is_steered = !is_private && is_steered();
}

void close_fence(struct fence *fence) {
    if (fence->fd >= 0) {
        close(fence->fd);
    }
    fence->fd = -1;
}

/* Reads one datagram, whose text is its number; a late one shows a slow host. */
static bool receive_number(struct fence *fence, unsigned *number) {
    char text[16];
    ssize_t length = recv(fence->fd, text, sizeof text - 1, 0);
    if (length < 0) {
        return false;
    }
    text[length] = 0;
    *number = (unsigned)strtoul(text, NULL, 10);
    if (fence->sent - *number < KEPT_DATAGRAMS) {
        record_delay(now() - fence->sent_at[*number % KEPT_DATAGRAMS]);
    }
    return true;
}

/* Returns 1 if a datagram comes back in time, 0 if not, -1 with errno. */
static int comes_back(struct fence *fence) {
    unsigned number = ++fence->sent, received;
    char text[16];
    int length = snprintf(text, sizeof text, "%u", number);
    fence->sent_at[number % KEPT_DATAGRAMS] = now();
    if (send(fence->fd, text, (size_t)length, 0) < 0) {
        return -1;
    }
    while (wait_for_events(fence->fd, POLLIN)) {
        if (!receive_number(fence, &received)) {
            return -1;
        }
        if (received != number) {
            continue;
        }
        fence->lost = 0;
        if (fence->is_steered) {
            pause_for(timeout_stretched(0.002));
        }
        return 1;
    }
    return 0;
}

bool settle(struct fence *fence) {
    if (fence->fd < 0) {
        return false;
    }
    int result = comes_back(fence);
    if (!result) {
        result = comes_back(fence);
    }
    if (result > 0) {
        return true;
    }
    fence->lost += result < 0 && !is_scarce(errno) ? 2 : 1;
    if (fence->lost >= 2 && !time_is_up) {
        close_fence(fence); /* a firewall drops it: do not wait for it again */
    }
    return false;
}
