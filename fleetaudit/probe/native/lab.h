/* What all trials of a process share, and what this host allows: `remote/lab.py`. */
#ifndef FLEETAUDIT_LAB_H
#define FLEETAUDIT_LAB_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "capture.h"
#include "constants.h"
#include "counters.h"
#include "failure.h"
#include "fence.h"
#include "request.h"
#include "text.h"

/* How the two sides are connected. */
enum kind { KIND_TCP, KIND_MPTCP, KIND_MAPPED, KIND_UNIX, KINDS };

/* The address of a side: `storage` is an IPv4 or IPv6 socket address. */
struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } storage;
    socklen_t length;
};

/* What a table of sockets says of one: `unsent` and `unread` in bytes. */
struct listed {
    int state; /* GONE: no table lists it */
    unsigned unsent, unread;
};

struct lab {
    bool is_private; /* in a network namespace of its own */
    char available_ulp[256];
    struct counters counters;
    int listener[FAMILIES][KINDS]; /* -1: not open */
    int checks[FAMILIES];
    bool is_checked[FAMILIES];
    struct failure problem[FAMILIES]; /* why no connection can be made over a family */
    struct text repeated;             /* trials that were run again, and how many */
    int repeats;
    struct capture capture; /* fd -1: none */
    char no_capture[256], wire_note[320];
    struct fence fence;
    int raw_socket[2]; /* IPv4, IPv6; -1: not open */
    int cheap_listing; /* -1: not measured yet */
    int sock_diag;     /* -1: none */
    char no_sock_diag[256];
};

void open_lab(struct lab *lab, bool is_private, const char *available_ulp);
void close_lab(struct lab *lab);
/* Returns whether another laboratory can do what this one can. */
bool has_same_abilities(const struct lab *lab, const struct lab *another);
/* Returns false if no connection can be made over a family. */
bool check_family(struct lab *lab, enum family family, struct failure *failure);
/* Returns the listener that all plain trials share, or -1 and a failure. */
int shared_listener(struct lab *lab, enum family family, enum kind kind, struct failure *failure);
/* Captures the shared listeners' connections, and those of `extra` unless it is 0. */
void watch_ports(struct lab *lab, int extra);
int raw_socket_of(struct lab *lab, int family, struct failure *failure);

/* sock_diag.c: find_by_diag returns false without an answer. */
int open_sock_diag(char *reason, int size);
bool find_by_diag(struct lab *lab, const struct address *near, const struct address *far,
                  struct listed *found);
bool destroy_by_diag(struct lab *lab, const struct address *near, const struct address *far,
                     struct failure *failure);
/* proc_net.c: returns false if /proc/net cannot be read in time. */
bool find_in_tables(const struct address *near, const struct address *far, struct listed *found);
/* lab.c: the one that answers, sock_diag first. */
bool find_socket(struct lab *lab, const struct address *near, const struct address *far,
                 struct listed *found);
/* Returns a closer's unread bytes by the cheapest way that counts them all, -1 if that is too
   expensive or nothing lists it. */
long rx_queue(struct lab *lab, const struct address *near, const struct address *far,
              const struct scenario *scenario);

#endif
