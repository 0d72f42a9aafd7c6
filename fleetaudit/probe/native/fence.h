/* Finds out when loopback has delivered what was sent: `remote/fence.py`. */
#ifndef FLEETAUDIT_FENCE_H
#define FLEETAUDIT_FENCE_H

#include <stdbool.h>

enum { KEPT_DATAGRAMS = 64 };

struct fence {
    int fd; /* -1: none, or a firewall drops its datagrams */
    unsigned sent;
    double sent_at[KEPT_DATAGRAMS]; /* by number of the datagram modulo KEPT_DATAGRAMS */
    int lost;
    bool is_steered;
};

void open_fence(struct fence *fence, bool is_private);
/* Waits until loopback has delivered what is on its way; returns whether it has. */
bool settle(struct fence *fence);
void close_fence(struct fence *fence);

#endif
