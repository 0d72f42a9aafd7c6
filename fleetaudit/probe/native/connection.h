/* A connection of two sockets, and what the kernel says of it: `remote/connection.py`. */
#ifndef FLEETAUDIT_CONNECTION_H
#define FLEETAUDIT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "lab.h"
#include "packets.h"
#include "request.h"

enum {
    MAX_REFERENCES = MAX_STEPS,
    MAX_CHILDREN = MAX_STEPS,
    MAX_CLEANUPS = MAX_STEPS * 2,
    MAX_CHANGED_SYSCTLS = MAX_STEPS,
    MAX_PEER_RESULTS = 16,
    TCP_INFO_SIZE = 256,
};

/* A child process that holds copies of sockets: child.h. `pid` 0: none. */
struct child {
    pid_t pid;
    int control;
};

/* Another reference to the closer's socket: a descriptor, or a child if `fd` is -1. */
struct reference {
    int fd;
    int child;
};

struct connection;

/* Sends segments in the name of a side: raw_segments.c. `start` is the sequence number of its first
   byte, `ack` what it acknowledges. */
struct raw_sender {
    enum side side;
    int family;
    uint32_t start, ack, timestamps[2];
    bool has_timestamps;
};

/* What is done when the trial is over, in order. */
struct cleanup {
    void (*call)(struct connection *c, struct cleanup *cleanup);
    int fd;
    struct raw_sender sender;
};

struct changed_sysctl {
    char key[128], before[256];
};

struct connection {
    struct lab *lab;
    enum family family;
    const struct scenario *scenario;
    enum kind kind;
    int socket[SIDES]; /* -1: none */
    bool has_address[SIDES];
    struct address address[SIDES]; /* also of closed sockets */
    unsigned long long sent[SIDES], received[SIDES];
    bool is_closed[SIDES];
    struct reference reference[MAX_REFERENCES];
    int references;
    struct child child[MAX_CHILDREN];
    int children;
    struct cleanup cleanup[MAX_CLEANUPS];
    int cleanups;
    struct changed_sysctl changed_sysctl[MAX_CHANGED_SYSCTLS];
    int changed_sysctls;

    /* How it is made. `is_waiting`: the server's end is not accepted yet. */
    int listener;               /* -1: none */
    int second_listener;        /* on the same port; -1: none */
    int stranger[MAX_CLEANUPS]; /* those that wait in the accept queue */
    int strangers;
    bool has_listener_address;
    struct address listener_address; /* also of a closed one */
    bool owns_listener, is_waiting, is_signed, has_messages;
    const struct step *listener_option[MAX_STEPS];
    int listener_options;
    int backlog; /* -1: none was set */
    bool accept_queue_full;
    enum side client_side; /* NO_SIDE: not connected */
    int client_port;

    /* What was seen. */
    double began; /* since 1970 */
    struct counter_values before;
    struct packets packets;
    long long step_time[MAX_STEPS]; /* microseconds since `began` */
    int step_times;
    long fionread, rx_queue, window[SIDES]; /* -1: not noted */
    long others_waiting, others_reset;      /* the same */
    char peer_result[MAX_PEER_RESULTS][32];
    int peer_results;
    struct {
        int step, events;
    } poll_added[MAX_STEPS];
    int polls_added;
    char outstanding[256];
    bool timed_out;

    /* How far its end is. */
    bool ending, reading_shut;
    unsigned unacknowledged;  /* bytes of the closer before its last ending step */
    long segments_before_fin; /* of the peer; -1: unknown */
    double fin_arrived_at;
    bool ack_hastened;
    unsigned long long gap_end; /* where the bytes end that were sent out of order */
    bool drops_invalid;         /* what conntrack does not know never arrives */
    bool has_vanished;          /* what is sent to the peer is dropped */
    bool is_forged; /* the peer's kernel did not send it all, and drops what acknowledges it */
};

void begin_connection(struct connection *c, struct lab *lab, enum family family,
                      const struct scenario *scenario);
/* Begins to observe the connection, or the next one from the same port. */
void begin_observing(struct connection *c);
/* Returns a side's socket, accepted now if that was put off; -1 and a failure if it has none. */
int socket_of(struct connection *c, enum side side, struct failure *failure);
bool accept_now(struct connection *c, struct failure *failure);
/* Gives a side a socket, and closes the one that it had from an earlier connect. */
void put_socket(struct connection *c, enum side side, int fd);
int events_of(struct connection *c, enum side side);
/* Reads a side's struct tcp_info; returns its size, 0 if there is none. */
int tcp_info(struct connection *c, enum side side, uint8_t into[TCP_INFO_SIZE]);
int tcp_info_of(struct connection *c, int fd, uint8_t into[TCP_INFO_SIZE]);
bool has_fin(struct connection *c, enum side side);
long segments_sent(struct connection *c, enum side side);       /* -1: unknown */
long long bytes_received(struct connection *c, enum side side); /* -1: unknown */
long window_of(struct connection *c, enum side side);           /* -1: unknown */
double rto_of(struct connection *c, enum side side);            /* seconds */
bool announces_zero(struct connection *c, enum side side);
int unread_of(struct connection *c, enum side side);
int unacked_of(struct connection *c, enum side side);
int number_of(int fd, unsigned long ioctl_request); /* 0 without an answer */
bool send_ack_now(struct connection *c, enum side side);
/* The descriptors of a side that this process still holds; returns their number. */
int open_sockets(const struct connection *c, enum side side, int into[MAX_REFERENCES + 1]);
void drain_capture(struct connection *c);
bool is_from(const struct connection *c, const struct packet *packet, enum side side);
/* Returns a new cleanup, NULL and a failure if there is no room for it. */
struct cleanup *add_cleanup(struct connection *c,
                            void (*call)(struct connection *, struct cleanup *),
                            struct failure *failure);
/* Ends the children, restores the settings, closes all sockets by RST: `clean_up` of
   `remote/trial.py` (trial.c). */
void clean_up(struct connection *c);

/* receiving.c */
/* Receives up to `size` bytes, and records what that shows; returns their number, or -1 with
   errno. */
ssize_t receive(struct connection *c, enum side side, size_t size, int flags, bool waits);
void record_result(struct connection *c, enum side side, const char *result);

/* finality.c */
void wait_for_final_ending(struct connection *c);
void hasten_ack(struct connection *c);
void wait_for_quiet(struct connection *c);

#endif
