/* The tracepoint tcp:tcp_send_reset: where it is, and what a record of it contains. */
#ifndef FLEETAUDIT_WATCH_POINT_H
#define FLEETAUDIT_WATCH_POINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a program's connection is reset: `WATCH_REASONS` of model/watch.py. */
enum watch_reason {
    UNREAD_DATA,
    LINGER_0,
    NO_MEMORY,
    KEEPALIVE,
    DISCONNECTED,
    CHILD_SOCKET,
    DATA_AFTER_CLOSE,
    OTHER_REASON,
    WATCH_REASONS,
    BY_THE_CALLER = WATCH_REASONS, /* the kernel's reason has several causes: the caller tells */
    NOT_REPORTED,                  /* this kernel tells no reason: only the caller does */
    NO_PROGRAM,                    /* the kernel's answer to a segment: no program resets */
};

enum { MAX_CODES = 64, MAX_FILTER = 512, MAX_FORMAT = 16384, ADDRESS_SIZE = 16 };

/* Where a field is in a record; `size` 0: this kernel has no such field. */
struct field {
    int offset, size;
};

/* `root` is a descriptor of tracefs, which need not be mounted anywhere, or -1. */
struct tracepoint {
    int root;
    unsigned long id;
    struct field flags, reason, source_port, source, target, source6, target6;
    int codes;                          /* of the field `reason`; 0: it tells nothing */
    unsigned char reason_of[MAX_CODES]; /* enum watch_reason */
    char filter[MAX_FILTER];            /* of the kernel, "" for all records */
};

/* Why something cannot be done, and the next command to type. */
struct watch_problem {
    char text[512], hint[256];
};

__attribute__((format(printf, 3, 4))) bool watch_fails(struct watch_problem *problem,
                                                       const char *hint, const char *format, ...);

/* Finds the tracepoint; returns false with the problem. */
bool open_tracepoint(struct tracepoint *point, struct watch_problem *problem);
void close_tracepoint(struct tracepoint *point);
/* Reads what the file `format` of a tracepoint says; returns false if it is not understood. */
bool parse_format(struct tracepoint *point, const char *format);

/* One RST. `process` 0: none is known. `peer` is an IPv6 address, or an IPv4 one mapped to it. */
struct reset {
    unsigned process;
    uint64_t time;    /* of the kernel's clock, 0: not known */
    char command[16]; /* as the kernel reports it, "" if it does not */
    int port;
    enum watch_reason reason;
    bool has_peer;
    uint8_t peer[ADDRESS_SIZE];
};

/* Reads a record, but for the process; a field that it is too short for stays 0. Returns false if
   the kernel sent this RST while it worked for no program: then the process is not the socket's. */
bool read_record(const struct tracepoint *point, const uint8_t *record, size_t size,
                 struct reset *reset);
/* Returns what a name of the kernel's reasons means. */
enum watch_reason reason_of_name(const char *name, size_t length);

#endif
