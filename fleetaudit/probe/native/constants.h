/* Bounds, and numbers of Linux (include/uapi/linux) that the C library may not have.

   They are those of `remote/constants.py`, whose comments give the reasons. */
#ifndef FLEETAUDIT_CONSTANTS_H
#define FLEETAUDIT_CONSTANTS_H

#define MARK "fleetaudit-probe/1 "
#define PROTOCOL_VERSION 2

enum side { CLOSER, PEER, SIDES, NO_SIDE = SIDES };

/* Seconds. */
#define MERCY 5.0    /* between the soft alarm and the hard one */
#define PATIENCE 1.0 /* how long a step waits for what must come, at least */
#define NOTICE 0.05  /* how long the peer may take to see an end that may not come, at least */
#define STALL 0.01   /* delay in a trial that shows a stalled host */

/* The largest amounts. */
enum {
    MAX_REPEATS = 2,
    MAX_BULK = 16 * 1024 * 1024,
    MAX_STRANGERS = 18,
    MAX_TRACE = 200,
    MAX_HEADERS = 32768, /* characters of captured headers in one reply */
    MAX_SYSCTLS = 4000,
    SNAP = 160,
    MAX_STEPS = 64,
    MAX_WORDS = 8,
    MAX_SCENARIOS = 2000,
    MAX_TRIALS = 100,
    MAX_NOTES = 50,
    MAX_NOTE = 4000,
};

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20
};

/* The events of poll(2) that show an end, by <poll.h>. */
#define POLL_END (POLLRDHUP | POLLHUP | POLLERR)

/* States of a TCP socket (include/net/tcp_states.h). */
enum {
    GONE = 0, /* the socket does not exist any more, or only as TIME_WAIT */
    ESTABLISHED = 1,
    FIN_WAIT1 = 4,
    FIN_WAIT2 = 5,
    TIME_WAIT = 6,
    CLOSE = 7,
    CLOSE_WAIT = 8,
    LAST_ACK = 9,
    LISTEN = 10,
    CLOSING = 11,
    MAX_STATE = 13,
};

static inline enum side other_side(enum side side) {
    return side == PEER ? CLOSER : PEER;
}

#endif
