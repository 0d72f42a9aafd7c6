/* Captures the segments of the probe's own connections on `lo`. */
#include "capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "waiting.h"

#ifndef SIOCGSTAMPNS /* glibc; musl's own is right for its struct timespec on 32 bits */
#include <linux/sockios.h>
#endif

enum { CAPTURE_BUFFER = 32 * 1024 * 1024 };

/* Returns when the kernel saw the packet that was read last, in whole microseconds. The first call
   switches timestamps on. */
static double timestamp(int fd) {
    struct timespec at = {0};
    if (ioctl(fd, SIOCGSTAMPNS, &at) || !at.tv_sec) {
        return wall_clock();
    }
    return (double)at.tv_sec + (double)(at.tv_nsec / 1000) / 1e6;
}

static void enlarge_buffer(int fd) {
    int size = CAPTURE_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size); /* for root only */
}

static bool bind_to_loopback(int fd) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex("lo")};
    if (!address.sll_ifindex) {
        return false;
    }
    return !bind(fd, (struct sockaddr *)&address, sizeof address);
}

/* Lets nothing in before it is bound: no foreign packet passes. */
static bool set_up(int fd) {
    if (!attach_loopback_filter(fd, NULL, 0)) {
        return false;
    }
    enlarge_buffer(fd);
    return bind_to_loopback(fd);
}

bool open_capture(struct capture *capture, struct failure *failure) {
    memset(capture, 0, sizeof *capture);
    capture->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (capture->fd < 0) {
        return fail_by_errno(failure);
    }
    if (!set_up(capture->fd)) {
        fail_by_errno(failure);
        close_capture(capture);
        return false;
    }
    timestamp(capture->fd);
    return true;
}

bool capture_ports(struct capture *capture, const int *ports, int count) {
    size_t size = (size_t)count * sizeof *ports;
    if (count == capture->ports && !memcmp(ports, capture->port, size)) {
        return true;
    }
    if (count > MAX_PORTS || !attach_loopback_filter(capture->fd, ports, count)) {
        return false;
    }
    memcpy(capture->port, ports, size);
    capture->ports = count;
    return true;
}

void capture_drain(struct capture *capture, int port, struct packets *into) {
    uint8_t data[SNAP];
    ssize_t length;
    while ((length = recv(capture->fd, data, sizeof data, 0)) >= 0) {
        struct packet packet;
        if (parse_packet(&packet, data, (int)length, timestamp(capture->fd)) &&
            (packet.source == port || packet.target == port)) {
            packets_add(into, &packet);
        }
    }
}

unsigned capture_take_lost(struct capture *capture) {
    struct tpacket_stats statistics = {0};
    socklen_t size = sizeof statistics;
    getsockopt(capture->fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size);
    return statistics.tp_drops;
}

void close_capture(struct capture *capture) {
    if (capture->fd >= 0) {
        close(capture->fd);
    }
    capture->fd = -1;
}
