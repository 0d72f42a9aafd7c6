/* Waits until an ending is final.

   That is once the kernel has nothing more to send of its own accord that could change what the
   closer sent. Silence for a while is not enough. The functions are those of net/ipv4.

   - The peer's socket is in CLOSE: tcp_reset() or the last ACK closed it, and it sends nothing
     more.
   - The closer's FIN is sent and not acknowledged (FIN_WAIT1, CLOSING, LAST_ACK): the ACK may be
     answered by a RST, since tcp_rcv_state_process() gives an orphan with a negative TCP_LINGER2 no
     FIN_WAIT2. The peer may delay that ACK by 40 ms; tcp_cleanup_rbuf() sends it once the FIN was
     read and TCP_QUICKACK is set, so both are done.
   - The closer's FIN is queued behind data for which the peer has no room: it is sent when the peer
     reads. If nothing moves although the kernel had the time to probe the window
     (tcp_probe_timer(), after the RTO), it stays so, since no step is left. The same holds for what
     the peer still has for a closer that has not closed.
   - The closer is closed, or has sent FIN and shut reading, and bytes of the peer are
     unacknowledged: they will be sent (tcp_write_xmit(), tcp_probe_timer()) and answered by a RST
     (tcp_v4_rcv(), tcp_rcv_state_process()).
   - The closer is in FIN_WAIT2 or TIME_WAIT, or gone: tcp_close() and tcp_time_wait() leave no
     timer that sends.
   - The peer has vanished, and the closer still has a timer that sends to it: keepalive, or a
     retransmission (tcp_keepalive_timer(), tcp_retransmit_timer()).
   - MPTCP: mptcp_worker() passes on to the socket what its subflows received, milliseconds later
     (mptcp_check_fastclose(), mptcp_check_data_fin()).

   The sources are TCP_INFO and SIOCOUTQ of an open socket, sock_diag(7) or /proc/net/tcp for a
   closed one. What is outstanding after two timeouts without progress is reported: the ending is
   unknown. */
#define _GNU_SOURCE /* POLLRDHUP */
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "connection.h"
#include "verbs.h"
#include "waiting.h"

enum { TCPI_BACKOFF = 4, MOST_DOUBLINGS = 4 };

/* What may still come, NULL for nothing; `amount` shrinks on the way. */
struct outstanding {
    const char *what;
    unsigned amount;
};

static const struct outstanding NOTHING_MORE = {NULL, 0};
static const struct listed NO_SOCKET = {.state = GONE};

static bool sends_urgent(const struct scenario *scenario) {
    for (int i = 0; i < scenario->steps; i++) {
        if (scenario->step[i].actor == BY_CLOSER && is_verb(&scenario->step[i], "send-urgent")) {
            return true;
        }
    }
    return false;
}

void hasten_ack(struct connection *c) {
    if (sends_urgent(c->scenario)) {
        return; /* a recv would skip the urgent byte, which FIONREAD does not count */
    }
    if ((events_of(c, PEER) & POLL_END) != POLLRDHUP || unread_of(c, PEER)) {
        return;
    }
    if (receive(c, PEER, 1, 0, false) < 0) {
        return;
    }
    c->ack_hastened = send_ack_now(c, PEER) || c->ack_hastened;
}

/* Waits until loopback has delivered everything, with the peer's ACK of a FIN. */
static void deliver_everything(struct connection *c) {
    settle(&c->lab->fence);
    hasten_ack(c);
    for (int i = 0; i < 2; i++) { /* and once more for the answer */
        settle(&c->lab->fence);
    }
    drain_capture(c);
}

static bool look_up(struct connection *c, enum side side, struct listed *found) {
    const struct address *near = &c->address[side], *far = &c->address[other_side(side)];
    return find_socket(c->lab, near, far, found);
}

/* Fills in tcpi_state and the unacknowledged bytes, with the FIN, of a side's open socket,
   NO_SOCKET if it never had one; returns false if it is closed. */
static bool open_state(struct connection *c, enum side side, struct listed *found) {
    int fd[MAX_REFERENCES + 1], count = open_sockets(c, side, fd);
    *found = NO_SOCKET;
    for (int i = 0; i < count; i++) {
        uint8_t info[TCP_INFO_SIZE];
        if (tcp_info_of(c, fd[i], info) > 0) {
            found->state = info[0];
            found->unsent = (unsigned)number_of(fd[i], SIOCOUTQ);
            return true;
        }
    }
    return !c->has_address[side];
}

/* Returns whether the peer sent a segment since it received a FIN; it delays none by more than
   0.2 s. */
static bool is_fin_acknowledged(struct connection *c) {
    if (c->ack_hastened) {
        return true;
    }
    long sent = segments_sent(c, PEER);
    if (sent < 0 || c->segments_before_fin < 0) {
        return now() > c->fin_arrived_at + timeout_stretched(0.25);
    }
    return sent > c->segments_before_fin;
}

/* Fills in the same of the closer, open or closed; `peer` is the state of the peer's socket.
   Returns false if it cannot be read. */
static bool closer_state(struct connection *c, int peer, struct listed *found) {
    const struct address *near = &c->address[CLOSER], *far = &c->address[PEER];
    if (open_state(c, CLOSER, found) || find_by_diag(c->lab, near, far, found)) {
        return true;
    }
    *found = NO_SOCKET;
    if (peer == CLOSE_WAIT || peer == LAST_ACK || peer == CLOSING) {
        /* All that came before the FIN arrived with it. */
        if (!is_fin_acknowledged(c)) {
            *found = (struct listed){.state = FIN_WAIT1, .unsent = 1};
        }
        return true;
    }
    if (peer != GONE && !c->unacknowledged && !unread_of(c, PEER)) {
        return true; /* only a FIN was left to send */
    }
    return find_in_tables(near, far, found);
}

/* Returns whether the closer answers new data with a RST: closed, or shut both ways. */
static bool resets_new_data(struct connection *c, int state) {
    if (c->is_forged && c->gap_end > c->sent[PEER]) {
        return false; /* nothing is new: the closer has it from behind a gap */
    }
    if (c->drops_invalid) {
        return false; /* what was not answered was dropped, and is dropped each time it comes */
    }
    if (c->is_closed[CLOSER]) {
        return true;
    }
    return c->reading_shut && (state == FIN_WAIT1 || state == FIN_WAIT2 || state == CLOSING);
}

/* Returns whether the peer's MPTCP socket does not show yet what its subflow received. */
static bool is_worker_late(struct connection *c, int peer) {
    if (c->socket[PEER] < 0 || events_of(c, PEER) & POLL_END) {
        return false;
    }
    int bits = 0;
    for (int i = 0; i < c->packets.count; i++) {
        const struct packet *packet = &c->packets.packet[i];
        if (!is_from(c, packet, CLOSER)) {
            continue;
        }
        bits |= packet->bits;
        if (strstr(packet->options, "DATA_FIN")) {
            bits |= TCP_FIN;
        }
    }
    return peer == CLOSE || (bits & (TCP_FIN | TCP_RST)) == TCP_FIN;
}

/* Returns whether the closer's kernel sends again, or asks a silent peer whether it is there. */
static bool still_tries(struct connection *c, const struct listed *closer) {
    int keeps_alive = 0;
    socklen_t size = sizeof keeps_alive;
    if (closer->state == CLOSE || closer->state == GONE) {
        return false;
    }
    getsockopt(c->socket[CLOSER], SOL_SOCKET, SO_KEEPALIVE, &keeps_alive, &size);
    return closer->unsent || keeps_alive;
}

static struct outstanding find_outstanding(struct connection *c) {
    struct listed peer, closer;
    if (!open_state(c, PEER, &peer) && !look_up(c, PEER, &peer)) {
        return (struct outstanding){"what the peer still has to send cannot be read", 1};
    }
    if (c->kind == KIND_MPTCP && is_worker_late(c, peer.state)) {
        return (struct outstanding){"MPTCP has not passed the end on to the peer's socket", 1};
    }
    if (peer.state == CLOSE && c->socket[PEER] >= 0) {
        return NOTHING_MORE;
    }
    if (!closer_state(c, peer.state, &closer)) {
        return (struct outstanding){"what the closer still has to send cannot be read", 1};
    }
    bool sent_fin =
        closer.state == FIN_WAIT1 || closer.state == CLOSING || closer.state == LAST_ACK;
    if (sent_fin && closer.unsent && !c->is_forged) {
        return (struct outstanding){"the closer's FIN is not acknowledged", closer.unsent};
    }
    if (c->has_vanished && still_tries(c, &closer)) {
        return (struct outstanding){"the closer still tries to reach a peer that has vanished", 1};
    }
    if (peer.state != GONE && peer.unsent && resets_new_data(c, closer.state)) {
        return (struct outstanding){"the peer still sends to a closed socket", peer.unsent};
    }
    return NOTHING_MORE;
}

/* Returns whether a side has data to read; FIONREAD does not count urgent bytes. */
static bool has_unread(struct connection *c, enum side side) {
    struct listed found;
    if (look_up(c, side, &found) && found.unread > 0) {
        return true;
    }
    return unread_of(c, side) > 0;
}

/* Returns whether what is outstanding waits for a side that does not read its queue. */
static bool waits_for_a_reader(struct connection *c) {
    if (c->has_vanished) {
        return false;
    }
    if (!has_fin(c, PEER) && has_unread(c, PEER)) {
        return true;
    }
    return !c->is_closed[CLOSER] && has_unread(c, CLOSER);
}

/* Returns twice the time after which the peer sends again or probes a window (tcpi_rto,
   tcpi_backoff). */
static double two_timeouts(struct connection *c) {
    uint8_t info[TCP_INFO_SIZE];
    int backoff = tcp_info(c, PEER, info) > TCPI_BACKOFF ? info[TCPI_BACKOFF] : 0;
    double rto = rto_of(c, PEER);
    double seconds =
        2 * (rto > 0 ? rto : 0.25) * (1 << (backoff < MOST_DOUBLINGS ? backoff : MOST_DOUBLINGS));
    if (seconds < 0.1) {
        seconds = 0.1;
    }
    return seconds < 2 * PATIENCE ? seconds : 2 * PATIENCE;
}

/* Returns NULL once nothing more can come, else what may still come. */
static const char *wait_until_nothing_more(struct connection *c) {
    double end = 0.0, pause = 0.0005, limit = now() + 2 * timeout_seconds();
    /* The worker of MPTCP may be late by more than any timer of TCP. */
    double least = c->kind == KIND_MPTCP ? timeout_seconds() : 0.0;
    long long amount = -1;
    while (true) {
        deliver_everything(c);
        struct outstanding outstanding = find_outstanding(c);
        if (!outstanding.what || time_is_up) {
            return outstanding.what;
        }
        if (outstanding.amount != amount) {
            double longer = two_timeouts(c);
            amount = outstanding.amount;
            end = now() + (longer > least ? longer : least);
        }
        if (now() > end || now() > limit) {
            return waits_for_a_reader(c) ? NULL : outstanding.what;
        }
        pause_for(pause);
        pause = pause < 0.004 ? 2 * pause : 0.008;
    }
}

void wait_for_quiet(struct connection *c) {
    struct capture *capture = &c->lab->capture;
    if (capture->fd < 0) {
        return;
    }
    double end = now() + timeout_stretched(NOTICE);
    while (now() < end && poll_events(capture->fd, POLLIN, timeout_stretched(0.005))) {
        drain_capture(c);
    }
}

/* The peer's recv must come later: it opens a window that was shut. */
void wait_for_final_ending(struct connection *c) {
    const char *what = c->kind == KIND_UNIX ? NULL : wait_until_nothing_more(c);
    snprintf(c->outstanding, sizeof c->outstanding, "%s", what ? what : "");
    if (c->kind == KIND_MPTCP) {
        wait_for_quiet(c);
    }
    for (int i = 0; i < 2; i++) { /* an ACK that was sent just now, and a RST that answers it */
        settle(&c->lab->fence);
    }
    drain_capture(c);
}
