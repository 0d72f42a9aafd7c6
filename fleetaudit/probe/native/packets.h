/* Captured TCP segments: `remote/packets.py`. */
#ifndef FLEETAUDIT_PACKETS_H
#define FLEETAUDIT_PACKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "constants.h"

/* One captured TCP segment: `at` in seconds since 1970, `options` the names of the reported ones,
   `scale` the window scale of a SYN or -1, `headers` its IP and TCP headers. */
struct packet {
    double at;
    uint16_t source, target, window, urgent;
    uint32_t seq, ack;
    int bits, length, scale;
    bool has_timestamps;
    uint32_t timestamps[2];
    char options[64];
    int headers_length;
    uint8_t headers[SNAP];
};

/* At most MAX_PACKETS: of more, those in the middle are dropped, and counted in `lost`; first those
   without control flags. */
enum { MAX_PACKETS = 8192 };
struct packets {
    struct packet *packet;
    int count, capacity;
    long lost;
};

/* Parses an IP packet of which `length` bytes were captured; returns false if it is cut. */
bool parse_packet(struct packet *packet, const uint8_t *data, int length, double at);
/* Writes TCP flags as tcpdump does, with U for urgent data: "P.U", "none". */
void flag_names(int bits, char into[12]);
/* Returns whether a segment has SYN, FIN, RST or URG. */
bool has_control(const struct packet *packet);
void packets_add(struct packets *packets, const struct packet *packet);
void packets_free(struct packets *packets);

#endif
