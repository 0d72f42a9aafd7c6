/* The steps that send a raw segment on behalf of the peer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "listeners.h"
#include "receiving.h"
#include "stream.h"
#include "verb_functions.h"
#include "verbs.h"
#include "waiting.h"

enum {
    HEADER = 20,
    OPTIONS = 12, /* two NOPs and timestamps */
    MAX_RAW_SEGMENT = HEADER + OPTIONS + STREAM_PIECE,
    ADDRESS = 16,
};

/* What was captured of a side's stream, and of the other side's answers. */
struct stream_seen {
    const struct packet *first_sent, *last_sent, *last_answer;
    unsigned long long bytes;
    int answers;
};

static struct stream_seen stream_seen(struct connection *c, enum side side) {
    struct stream_seen seen = {0};
    drain_capture(c);
    for (int i = 0; i < c->packets.count; i++) {
        const struct packet *packet = &c->packets.packet[i];
        if (!is_from(c, packet, side)) {
            seen.last_answer = packet;
            seen.answers++;
            continue;
        }
        seen.first_sent = seen.first_sent ? seen.first_sent : packet;
        seen.last_sent = packet;
        seen.bytes += (unsigned long long)packet->length;
    }
    return seen;
}

/* The numbers of a segment that is sent: `window` and `pointer` as in its header. */
struct segment {
    int family;
    const struct address *near, *far;
    uint32_t seq, ack;
    int bits;
    uint16_t window, pointer;
    const uint32_t *timestamps; /* NULL: none */
    const uint8_t *data;
    size_t size;
};

static void put16(uint8_t *into, uint16_t number) {
    into[0] = (uint8_t)(number >> 8);
    into[1] = (uint8_t)number;
}

static void put32(uint8_t *into, uint32_t number) {
    put16(into, (uint16_t)(number >> 16));
    put16(into + 2, (uint16_t)number);
}

/* Writes an address as the packets of a family have it, without its mapping; returns its length. */
static size_t plain_address(const struct address *address, int family, uint8_t into[ADDRESS]) {
    enum { IPV4_SIZE = 4 };
    const uint8_t *all = address->storage.ipv6.sin6_addr.s6_addr;
    if (family == AF_INET6) {
        memcpy(into, all, ADDRESS);
        return ADDRESS;
    }
    if (address->storage.any.sa_family == AF_INET) {
        memcpy(into, &address->storage.ipv4.sin_addr, IPV4_SIZE);
    } else {
        memcpy(into, all + ADDRESS - IPV4_SIZE, IPV4_SIZE);
    }
    return IPV4_SIZE;
}

/* Adds bytes to a sum of 16-bit numbers; only the last bytes may be odd (RFC 1071). */
static uint64_t add_to_sum(uint64_t sum, const uint8_t *data, size_t size) {
    for (size_t i = 0; i + 1 < size; i += 2) {
        sum += (uint64_t)(data[i] << 8 | data[i + 1]);
    }
    return size % 2 ? sum + (uint64_t)(data[size - 1] << 8) : sum;
}

/* Returns the checksum of a segment with its pseudo-header (RFC 9293, section 3.1). */
static uint16_t checksum_of(const struct segment *segment, const uint8_t *data, size_t size) {
    uint8_t address[ADDRESS];
    uint64_t sum = IPPROTO_TCP + (uint64_t)size;
    sum = add_to_sum(sum, address, plain_address(segment->near, segment->family, address));
    sum = add_to_sum(sum, address, plain_address(segment->far, segment->family, address));
    sum = add_to_sum(sum, data, size);
    while (sum >> 16) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

/* Writes a segment, and returns its length. */
static size_t make_segment(const struct segment *segment, uint8_t into[MAX_RAW_SEGMENT]) {
    size_t start = segment->timestamps ? HEADER + OPTIONS : HEADER;
    size_t size = segment->size < STREAM_PIECE ? segment->size : STREAM_PIECE;
    memset(into, 0, start);
    put16(into, (uint16_t)port_of(segment->near));
    put16(into + 2, (uint16_t)port_of(segment->far));
    put32(into + 4, segment->seq);
    put32(into + 8, segment->ack);
    into[12] = (uint8_t)(start / 4 << 4);
    into[13] = (uint8_t)segment->bits;
    put16(into + 14, segment->window);
    put16(into + 18, segment->pointer);
    if (segment->timestamps) {
        memcpy(into + HEADER, "\1\1\x08\x0a", 4);
        put32(into + HEADER + 4, segment->timestamps[0]);
        put32(into + HEADER + 8, segment->timestamps[1]);
    }
    memcpy(into + start, segment->data, size);
    put16(into + 16, checksum_of(segment, into, start + size));
    return start + size;
}

/* Sends a segment over the raw socket of its family. */
static bool send_segment(struct connection *c, const struct segment *segment,
                         struct failure *failure) {
    uint8_t data[MAX_RAW_SEGMENT], plain[ADDRESS];
    struct address target = {.length = sizeof target.storage.ipv6};
    int fd = raw_socket_of(c->lab, segment->family, failure);
    if (fd < 0) {
        return false;
    }
    size_t length = plain_address(segment->far, segment->family, plain);
    target.storage.any.sa_family = (sa_family_t)segment->family;
    if (segment->family == AF_INET) {
        target.length = sizeof target.storage.ipv4;
        memcpy(&target.storage.ipv4.sin_addr, plain, length);
    } else {
        memcpy(&target.storage.ipv6.sin6_addr, plain, length);
    }
    size_t size = make_segment(segment, data);
    if (sendto(fd, data, size, 0, &target.storage.any, target.length) < 0) {
        return fail_by_errno(failure);
    }
    return true;
}

/* Sends `size` bytes of the stream from `offset` on, numbered as captured. */
static bool send_raw(struct connection *c, const struct raw_sender *sender,
                     unsigned long long offset, long size, int bits, bool is_urgent,
                     struct failure *failure) {
    struct stream_seen seen = stream_seen(c, sender->side);
    struct segment segment = {
        .family = sender->family,
        .near = &c->address[sender->side],
        .far = &c->address[other_side(sender->side)],
        .seq = sender->start + (uint32_t)offset,
        .ack = sender->ack,
        .bits = is_urgent ? bits | TCP_URG : bits,
        .window = seen.last_sent->window,
        .pointer = is_urgent ? (uint16_t)size : 0,
        .timestamps = sender->has_timestamps ? sender->timestamps : NULL,
        .data = stream_bytes(offset),
        .size = (size_t)size,
    };
    return send_segment(c, &segment, failure);
}

/* Resets the side that knows nothing of the raw segments, and whose kernel drops what acknowledges
   them: orphaned, it would repeat its FIN into later trials. */
static void break_off(struct connection *c, struct cleanup *cleanup) {
    const struct raw_sender *sender = &cleanup->sender;
    struct failure ignored;
    struct segment segment = {
        .family = sender->family,
        .near = &c->address[other_side(sender->side)],
        .far = &c->address[sender->side],
        .seq = stream_seen(c, sender->side).last_sent->ack,
        .bits = TCP_RST,
        .data = stream_bytes(0),
    };
    send_segment(c, &segment, &ignored);
}

/* Whatever happens to the closer, it must not retransmit into the next trial: resets it behind a
   raw segment with FIN. */
static void reset_behind_fin(struct connection *c, struct cleanup *cleanup) {
    const struct raw_sender *sender = &cleanup->sender;
    struct failure ignored;
    send_raw(c, sender, c->sent[sender->side] + 1, 0, TCP_RST, false, &ignored);
}

/* Does so behind the bytes that were sent out of order: a RST after the highest SACK block is
   accepted, too (tcp_validate_incoming()). */
static void reset_behind_gap(struct connection *c, struct cleanup *cleanup) {
    struct failure ignored;
    send_raw(c, &cleanup->sender, c->gap_end, 0, TCP_RST, false, &ignored);
}

/* Adds a cleanup that has a sender. */
static bool add_raw_cleanup(struct connection *c, const struct raw_sender *sender,
                            void (*call)(struct connection *, struct cleanup *),
                            struct failure *failure) {
    struct cleanup *cleanup = add_cleanup(c, call, failure);
    if (cleanup) {
        cleanup->sender = *sender;
    }
    return cleanup;
}

/* A sender, and how many answers there were before its segment. */
struct raw_wait {
    struct connection *c;
    enum side side;
    int answers;
};

/* Returns whether all that the side sent was captured, and an answer. */
static bool has_captured_stream(void *argument) {
    struct raw_wait *wait = argument;
    struct stream_seen seen = stream_seen(wait->c, wait->side);
    return seen.answers && seen.first_sent && seen.bytes >= wait->c->sent[wait->side];
}

static bool is_answered(void *argument) {
    struct raw_wait *wait = argument;
    return stream_seen(wait->c, wait->side).answers > wait->answers;
}

static bool is_fin_received(void *argument) {
    struct raw_wait *wait = argument;
    return has_fin(wait->c, other_side(wait->side));
}

/* Opens the raw socket, or says what this process lacks. */
static bool has_raw_socket(struct connection *c, int family, struct failure *failure) {
    if (raw_socket_of(c->lab, family, failure) >= 0) {
        return true;
    }
    if (failure->kind == SYSTEM_ERROR && is_refused(failure->number)) {
        return fail_with(failure, UNSUPPORTED, "%s", lack_of_raw_sockets());
    }
    return false;
}

/* Takes the numbers of a sender from what was captured. */
static void take_numbers(struct raw_sender *sender, const struct stream_seen *seen) {
    const struct packet *last = seen->last_answer;
    uint32_t flags = !!(last->bits & TCP_FIN) + !!(last->bits & TCP_SYN);
    sender->start = seen->first_sent->seq + 1;
    sender->ack = last->seq + (uint32_t)last->length + flags;
    sender->has_timestamps = seen->last_sent->has_timestamps && last->has_timestamps;
    sender->timestamps[0] = seen->last_sent->timestamps[0];
    sender->timestamps[1] = last->timestamps[0];
}

/* Makes a sender with the numbers of what was captured. */
static bool begin_raw(struct connection *c, enum side side, struct raw_sender *sender,
                      struct failure *failure) {
    struct raw_wait wait = {.c = c, .side = side};
    if (!wait_until(has_captured_stream, &wait, -1)) {
        return fail_with(failure, STEP_TIMED_OUT, "the capture did not see the peer's bytes");
    }
    struct stream_seen seen = stream_seen(c, side);
    if (!(seen.first_sent->bits & TCP_SYN)) {
        return fail_with(failure, STEP_FAILED, "the capture did not see the connection begin");
    }
    if (socket_of(c, CLOSER, failure) < 0) {
        return false;
    }
    bool is_mapped = c->kind == KIND_MAPPED; /* its packets are IPv4 */
    *sender = (struct raw_sender){.side = side};
    sender->family = is_mapped ? AF_INET : address_family(c->family);
    take_numbers(sender, &seen);
    return has_raw_socket(c, sender->family, failure) &&
           add_raw_cleanup(c, sender, break_off, failure);
}

/* Sends the last bytes again; with TCP_FIN, as a retransmission after a lost ACK may be. */
static bool resend_with(struct connection *c, const struct step *step, int fin,
                        struct failure *failure) {
    struct raw_sender sender;
    struct raw_wait wait = {.c = c, .side = side_of_actor(step->actor)};
    long size = step->number[0];
    if (!begin_raw(c, wait.side, &sender, failure)) {
        return false;
    }
    unsigned long long sent = c->sent[wait.side];
    if ((unsigned long long)size > sent) {
        return fail_with(failure, STEP_FAILED, "the peer sent %llu bytes only", sent);
    }
    if (fin) {
        c->is_forged = true;
        if (!add_raw_cleanup(c, &sender, reset_behind_fin, failure)) {
            return false;
        }
    }
    wait.answers = stream_seen(c, wait.side).answers;
    unsigned long long offset = sent - (unsigned long long)size;
    if (!send_raw(c, &sender, offset, size, TCP_PSH | TCP_ACK | fin, step->words > 1, failure)) {
        return false;
    }
    return wait_until(fin ? is_fin_received : is_answered, &wait, -1) ||
           fail_with(failure, STEP_TIMED_OUT, "the closer did not accept the segment");
}

bool resend(struct connection *c, const struct step *step, struct failure *failure) {
    return resend_with(c, step, 0, failure);
}

bool resend_fin(struct connection *c, const struct step *step, struct failure *failure) {
    return resend_with(c, step, TCP_FIN, failure);
}

/* Sends bytes without the byte before them, into the closer's out-of-order queue. */
bool send_out_of_order(struct connection *c, const struct step *step, struct failure *failure) {
    struct raw_sender sender;
    struct raw_wait wait = {.c = c, .side = side_of_actor(step->actor)};
    long size = step->number[0];
    if (!begin_raw(c, wait.side, &sender, failure)) {
        return false;
    }
    unsigned long long end = c->sent[wait.side];
    unsigned long long first = (end > c->gap_end ? end : c->gap_end) + 1;
    c->gap_end = first + (unsigned long long)size;
    if (!add_raw_cleanup(c, &sender, reset_behind_gap, failure)) {
        return false;
    }
    wait.answers = stream_seen(c, wait.side).answers;
    if (!send_raw(c, &sender, first, size, TCP_PSH | TCP_ACK, false, failure)) {
        return false;
    }
    return wait_until(is_answered, &wait, -1) ||
           fail_with(failure, STEP_TIMED_OUT, "the closer did not accept the segment");
}
