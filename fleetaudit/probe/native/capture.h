/* A packet socket on loopback: `remote/capture.py`. */
#ifndef FLEETAUDIT_CAPTURE_H
#define FLEETAUDIT_CAPTURE_H

#include <stdbool.h>

#include "failure.h"
#include "packets.h"

enum { MAX_PORTS = 16 };

struct capture {
    int fd;                     /* -1: there is none */
    int port[MAX_PORTS], ports; /* whose connections are captured */
};

bool open_capture(struct capture *capture, struct failure *failure);
/* Lets pass only what goes from or to one of these ports on loopback (filter.c). */
bool capture_ports(struct capture *capture, const int *ports, int count);
/* Moves what was captured from or to a port into `into`; drops everything if `port` is -1. */
void capture_drain(struct capture *capture, int port, struct packets *into);
/* Returns how many records the packet socket dropped since the last call. */
unsigned capture_take_lost(struct capture *capture);
void close_capture(struct capture *capture);

/* filter.c: attach a filter that passes what `capture_ports` says, or nothing; return false with
   errno. */
bool attach_loopback_filter(int fd, const int *ports, int count);
bool reject_all(int fd);

#endif
