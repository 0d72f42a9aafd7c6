/* Parses captured TCP segments and their options, and keeps them. */
#include "packets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kinds of options. */
enum { END = 0, NOP = 1, WINDOW_SCALE = 3, SACK = 5, TIMESTAMPS = 8, MD5 = 19, MPTCP = 30 };
enum { TFO = 34 };
enum { MPTCP_DSS = 2, DSS_DATA_FIN = 0x10 };
enum { TCP_HEADER = 20, IPV6_HEADER = 40, ANY = 0x100 };
/* A full store keeps this many segments of its beginning and of its end: more than are reported. */
enum { KEPT_AT_ENDS = 1024 };

static uint16_t be16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t be32(const uint8_t *at) {
    return (uint32_t)be16(at) << 16 | be16(at + 2);
}

/* Returns the name of an MPTCP option (RFC 8684); of DSS only its DATA_FIN. */
static const char *mptcp_name(const uint8_t *value, int length) {
    static const char *const names[16] = {
        [0] = "MP_CAPABLE", [1] = "MP_JOIN", [6] = "MP_FAIL", [7] = "MP_FASTCLOSE", [8] = "MP_RST"};
    int subtype = length > 0 ? value[0] >> 4 : -1;
    if (subtype == MPTCP_DSS) {
        return length > 1 && value[1] & DSS_DATA_FIN ? "DATA_FIN" : NULL;
    }
    return subtype >= 0 ? names[subtype] : NULL;
}

/* Returns the name of an option, NULL for one that is not reported on such a segment. */
static const char *option_name(int kind, const uint8_t *value, int length, int bits) {
    static const struct {
        int kind, segments;
        const char *name;
    } reported[] = {{SACK, ANY, "SACK"},
                    {TIMESTAMPS, TCP_SYN, "TS"},
                    {MD5, TCP_SYN | TCP_FIN | TCP_RST, "MD5"},
                    {TFO, TCP_SYN, "TFO"}};
    if (kind == MPTCP) {
        return mptcp_name(value, length);
    }
    for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
        if (reported[i].kind == kind && (bits | ANY) & reported[i].segments) {
            return reported[i].name;
        }
    }
    return NULL;
}

static void add_option_name(struct packet *packet, const char *name) {
    size_t used = strlen(packet->options), room = sizeof packet->options - used;
    if (name && strlen(name) + 1 < room) {
        snprintf(packet->options + used, room, "%s%s", used ? " " : "", name);
    }
}

static void read_option(struct packet *packet, int kind, const uint8_t *value, int length) {
    if ((kind == WINDOW_SCALE && length != 1) || (kind == TIMESTAMPS && length != 8)) {
        return;
    }
    if (kind == TIMESTAMPS) {
        packet->has_timestamps = true;
        packet->timestamps[0] = be32(value);
        packet->timestamps[1] = be32(value + 4);
    }
    if (kind == WINDOW_SCALE && packet->bits & TCP_SYN) {
        packet->scale = value[0];
    }
    add_option_name(packet, option_name(kind, value, length, packet->bits));
}

/* Reads each option, up to one whose size is wrong. */
static void read_options(struct packet *packet, const uint8_t *data, int length) {
    for (int at = 0, size; at < length && data[at] != END; at += size) {
        size = 1;
        if (data[at] == NOP) {
            continue;
        }
        size = at + 1 < length ? data[at + 1] : 0;
        if (size < 2 || at + size > length) {
            return;
        }
        read_option(packet, data[at], data + at + 2, size - 2);
    }
}

/* Reads the TCP header at `start` of a packet that ends at `end`, of which `length` bytes are
   there. */
static void read_segment(struct packet *packet, const uint8_t *data, int length, int start,
                         int end) {
    const uint8_t *tcp = data + start;
    int stop = start + (tcp[12] >> 4) * 4;
    packet->source = be16(tcp);
    packet->target = be16(tcp + 2);
    packet->seq = be32(tcp + 4);
    packet->ack = be32(tcp + 8);
    packet->bits = tcp[13];
    packet->window = be16(tcp + 14);
    packet->urgent = packet->bits & TCP_URG ? be16(tcp + 18) : 0;
    packet->length = end > stop ? end - stop : 0;
    packet->headers_length = stop < length ? stop : length;
    if (packet->headers_length > SNAP) {
        packet->headers_length = SNAP;
    }
    memcpy(packet->headers, data, (size_t)packet->headers_length);
    read_options(packet, tcp + TCP_HEADER, packet->headers_length - start - TCP_HEADER);
}

bool parse_packet(struct packet *packet, const uint8_t *data, int length, double at) {
    bool is_ipv4 = length > 0 && data[0] >> 4 == 4;
    int start = is_ipv4 ? (data[0] & 15) * 4 : IPV6_HEADER;
    if (length < 6 || start + TCP_HEADER > length) {
        return false;
    }
    int end = is_ipv4 ? be16(data + 2) : IPV6_HEADER + be16(data + 4);
    memset(packet, 0, sizeof *packet);
    packet->at = at;
    packet->scale = -1;
    read_segment(packet, data, length, start, end);
    return true;
}

void flag_names(int bits, char into[12]) {
    static const struct {
        int bit;
        char name;
    } flags[] = {{TCP_FIN, 'F'}, {TCP_SYN, 'S'}, {TCP_RST, 'R'},
                 {TCP_PSH, 'P'}, {TCP_ACK, '.'}, {TCP_URG, 'U'}};
    int used = 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (bits & flags[i].bit) {
            into[used++] = flags[i].name;
        }
    }
    into[used] = 0;
    if (!used) {
        strcpy(into, "none");
    }
}

bool has_control(const struct packet *packet) {
    return packet->bits & (TCP_SYN | TCP_FIN | TCP_RST | TCP_URG);
}

/* Drops the segments in the middle; those with control flags only if it `drops_all`. */
static void drop_middle(struct packets *packets, bool drops_all) {
    int kept = KEPT_AT_ENDS, count = packets->count;
    for (int i = KEPT_AT_ENDS; i < count; i++) {
        if (i >= count - KEPT_AT_ENDS || (!drops_all && has_control(&packets->packet[i]))) {
            packets->packet[kept++] = packets->packet[i];
        }
    }
    packets->lost += count - kept;
    packets->count = kept;
}

/* Makes room by dropping what no trace reports. */
static void make_room(struct packets *packets) {
    drop_middle(packets, false);
    if (packets->count > MAX_PACKETS / 2) {
        drop_middle(packets, true);
    }
}

static bool grow(struct packets *packets) {
    int capacity = packets->capacity ? packets->capacity * 2 : 32;
    struct packet *larger = realloc(packets->packet, (size_t)capacity * sizeof *larger);
    if (!larger) {
        return false;
    }
    packets->packet = larger;
    packets->capacity = capacity;
    return true;
}

void packets_add(struct packets *packets, const struct packet *packet) {
    if (packets->count == packets->capacity && packets->capacity < MAX_PACKETS && !grow(packets)) {
        packets->lost++;
        return;
    }
    if (packets->count == MAX_PACKETS) {
        make_room(packets);
    }
    packets->packet[packets->count++] = *packet;
}

void packets_free(struct packets *packets) {
    free(packets->packet);
    memset(packets, 0, sizeof *packets);
}
