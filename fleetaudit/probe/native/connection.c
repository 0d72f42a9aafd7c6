/* One connection of two sockets: its state, and what the kernel says of it. */
#define _GNU_SOURCE
#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "listeners.h"
#include "system.h"
#include "waiting.h"

/* Offsets in struct tcp_info (include/uapi/linux/tcp.h). */
enum {
    TCPI_STATE = 0,
    TCPI_PROBES = 3,
    TCPI_BACKOFF = 4,
    TCPI_RETRANSMITS = 2,
    TCPI_RTO = 8,
    TCPI_BYTES_RECEIVED = 128,
    TCPI_SEGS_OUT = 136,
    TCPI_SND_WND = 228,
};

void begin_connection(struct connection *c, struct lab *lab, enum family family,
                      const struct scenario *scenario) {
    memset(c, 0, sizeof *c);
    c->lab = lab;
    c->family = family;
    c->scenario = scenario;
    c->kind = family == UNIX ? KIND_UNIX : KIND_TCP;
    c->socket[CLOSER] = c->socket[PEER] = c->listener = c->second_listener = c->backlog = -1;
    c->client_side = NO_SIDE;
    begin_observing(c);
}

void begin_observing(struct connection *c) {
    packets_free(&c->packets);
    for (enum side side = CLOSER; side < SIDES; side++) {
        c->sent[side] = c->received[side] = 0;
        c->is_closed[side] = false;
        c->window[side] = -1;
    }
    c->fionread = c->rx_queue = c->others_waiting = c->others_reset = -1;
    c->peer_results = c->polls_added = 0;
    c->ending = c->reading_shut = c->ack_hastened = c->has_vanished = c->is_forged = false;
    c->unacknowledged = 0;
    c->segments_before_fin = 0;
    c->fin_arrived_at = 0;
    c->gap_end = 0;
}

void put_socket(struct connection *c, enum side side, int fd) {
    close_quietly(c->socket[side]);
    c->socket[side] = fd;
}

bool accept_now(struct connection *c, struct failure *failure) {
    int fd = accept_from(c->listener, &c->address[c->client_side], failure);
    if (fd < 0) {
        return false;
    }
    put_socket(c, other_side(c->client_side), fd);
    c->is_waiting = false;
    return true;
}

int socket_of(struct connection *c, enum side side, struct failure *failure) {
    if (side != CLOSER && side != PEER) {
        fail_with(failure, STEP_FAILED, "only the closer and the peer have a socket");
        return -1;
    }
    bool is_put_off = c->socket[side] < 0 && c->is_waiting && side != c->client_side;
    if (is_put_off && !accept_now(c, failure)) {
        return -1;
    }
    if (c->socket[side] < 0) {
        fail_with(failure, STEP_FAILED, "the %s has no socket", side_name(side));
    }
    return c->socket[side];
}

int open_sockets(const struct connection *c, enum side side, int into[MAX_REFERENCES + 1]) {
    int count = 0;
    if (c->socket[side] >= 0) {
        into[count++] = c->socket[side];
        return count;
    }
    for (int i = 0; side == CLOSER && i < c->references; i++) {
        if (c->reference[i].fd >= 0) {
            into[count++] = c->reference[i].fd;
        }
    }
    return count;
}

int events_of(struct connection *c, enum side side) {
    return c->socket[side] < 0 ? 0 : poll_events(c->socket[side], POLLRDHUP, 0);
}

int tcp_info_of(struct connection *c, int fd, uint8_t into[TCP_INFO_SIZE]) {
    socklen_t size = TCP_INFO_SIZE;
    if (fd < 0 || c->kind == KIND_UNIX || getsockopt(fd, IPPROTO_TCP, TCP_INFO, into, &size) != 0) {
        return 0;
    }
    return (int)size;
}

int tcp_info(struct connection *c, enum side side, uint8_t into[TCP_INFO_SIZE]) {
    return tcp_info_of(c, c->socket[side], into);
}

/* Reads a number of `size` bytes of a side's struct tcp_info; returns false if the kernel has no
   such field. */
static bool info_field(struct connection *c, enum side side, int offset, void *into, int size) {
    uint8_t info[TCP_INFO_SIZE];
    if (tcp_info(c, side, info) < offset + size) {
        return false;
    }
    memcpy(into, info + offset, (size_t)size);
    return true;
}

/* Returns such a number of 32 bits, -1 if it is unknown. */
static long info_number(struct connection *c, enum side side, int offset) {
    uint32_t number;
    return info_field(c, side, offset, &number, sizeof number) ? (long)number : -1;
}

/* poll(2) does not show a FIN once its side shut reading. */
bool has_fin(struct connection *c, enum side side) {
    uint8_t state;
    if (c->socket[side] < 0) {
        return true;
    }
    if (!info_field(c, side, TCPI_STATE, &state, sizeof state)) {
        return false;
    }
    return state == TIME_WAIT || state == CLOSE || state == CLOSE_WAIT || state == LAST_ACK ||
           state == CLOSING;
}

long segments_sent(struct connection *c, enum side side) {
    return info_number(c, side, TCPI_SEGS_OUT); /* without a SYN-ACK; since 4.2 */
}

long long bytes_received(struct connection *c, enum side side) {
    uint64_t bytes; /* since 4.1 */
    bool is_known = info_field(c, side, TCPI_BYTES_RECEIVED, &bytes, sizeof bytes);
    return is_known ? (long long)bytes : -1;
}

/* The window that a side announced last, as the other side's kernel has it (since 5.4). */
long window_of(struct connection *c, enum side side) {
    return info_number(c, other_side(side), TCPI_SND_WND);
}

double rto_of(struct connection *c, enum side side) {
    long micros = info_number(c, side, TCPI_RTO);
    return micros < 0 ? 0 : (double)micros / 1e6;
}

/* Returns the last captured segment that a side sent, NULL for none. */
static const struct packet *last_packet_of(const struct connection *c, enum side side) {
    for (int i = c->packets.count - 1; i >= 0; i--) {
        if (is_from(c, &c->packets.packet[i], side)) {
            return &c->packets.packet[i];
        }
    }
    return NULL;
}

/* Without tcpi_snd_wnd a window is known to be zero if the side's last captured segment says so, or
   the other side's kernel probes it, which it does only if not one more byte fits. */
bool announces_zero(struct connection *c, enum side side) {
    uint8_t info[TCP_INFO_SIZE] = {0};
    drain_capture(c);
    const struct packet *last = last_packet_of(c, side);
    if (last && last->window == 0) {
        return true;
    }
    if (tcp_info(c, other_side(side), info) <= TCPI_BACKOFF) {
        return false;
    }
    return info[TCPI_PROBES] || (info[TCPI_BACKOFF] && !info[TCPI_RETRANSMITS]);
}

int number_of(int fd, unsigned long ioctl_request) {
    int number = 0;
    if (fd < 0 || ioctl(fd, ioctl_request, &number) != 0) {
        return 0;
    }
    return number;
}

int unread_of(struct connection *c, enum side side) {
    return number_of(c->socket[side], FIONREAD);
}

int unacked_of(struct connection *c, enum side side) {
    return number_of(c->socket[side], TIOCOUTQ); /* which is SIOCOUTQ */
}

bool send_ack_now(struct connection *c, enum side side) {
    int on = 1;
    int fd = c->socket[side];
    return fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on) == 0;
}

void drain_capture(struct connection *c) {
    if (c->lab->capture.fd >= 0 && c->client_port) {
        capture_drain(&c->lab->capture, c->client_port, &c->packets);
    }
}

bool is_from(const struct connection *c, const struct packet *packet, enum side side) {
    return (packet->source == c->client_port) == (side == c->client_side);
}

struct cleanup *add_cleanup(struct connection *c,
                            void (*call)(struct connection *, struct cleanup *),
                            struct failure *failure) {
    if (c->cleanups == MAX_CLEANUPS) {
        fail_with(failure, STEP_FAILED, "a trial has at most %d things to clean up", MAX_CLEANUPS);
        return NULL;
    }
    struct cleanup *cleanup = &c->cleanup[c->cleanups++];
    *cleanup = (struct cleanup){.call = call, .fd = -1};
    return cleanup;
}
