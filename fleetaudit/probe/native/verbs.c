/* The table of all steps. */
#define _GNU_SOURCE
#include "verbs.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "verb_functions.h"
#include "waiting.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum { TLS_SEND = 1, TLS_RECEIVE = 2 }; /* TLS_TX and TLS_RX of linux/tls.h */

/* struct tls12_crypto_info_aes_gcm_128 (linux/tls.h). The key protects nothing. */
struct tls_keys {
    uint16_t version, cipher;
    char iv[8], key[16], salt[4], sequence[8];
};

static const struct tls_keys TLS_KEYS = {
    .version = 0x0303, /* 1.2 */
    .cipher = 51,
    .key = {'f', 'l', 'e', 'e', 't', 'a', 'u', 'd', 'i', 't', ' ', 'p', 'r', 'o', 'b', 'e'},
    .salt = {'s', 'a', 'l', 't'},
};

static bool enable_ktls(struct connection *c, const struct step *step, struct failure *failure) {
    (void)step;
    for (enum side side = CLOSER; side < SIDES; side++) {
        int fd = socket_of(c, side, failure);
        if (fd < 0) {
            return false;
        }
        if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) != 0 ||
            setsockopt(fd, SOL_TLS, TLS_SEND, &TLS_KEYS, sizeof TLS_KEYS) != 0 ||
            setsockopt(fd, SOL_TLS, TLS_RECEIVE, &TLS_KEYS, sizeof TLS_KEYS) != 0) {
            return fail_unsupported(failure, "this kernel refuses TLS on a socket");
        }
    }
    return true;
}

static bool wait_some(struct connection *c, const struct step *step, struct failure *failure) {
    (void)c;
    (void)failure;
    pause_for((double)step->number[0] / 1000);
    return true;
}

enum {
    A_CLOSER = 1 << BY_CLOSER,
    A_PEER = 1 << BY_PEER,
    A_SIDE = A_CLOSER | A_PEER,
    A_BOTH = 1 << BY_BOTH,
    A_LISTENER = 1 << BY_LISTENER,
    A_STRANGER = 1 << BY_OTHERS,
    A_NAMESPACE = 1 << BY_NAMESPACE,
};

/* Each verb: its name, function, whether it is an ending, its actors, how many words follow it. */
static const struct verb VERBS[] = {
    {"accept", accept_waiting, false, A_SIDE, 0},
    {"backlog", set_backlog, false, A_LISTENER, 1},
    {"close", close_side, true, A_SIDE | A_LISTENER, 0},
    {"close-other", close_other, true, A_SIDE, 0},
    {"connect", connect_step, false, A_SIDE, 1},
    {"destroy", destroy, true, A_SIDE, 0},
    {"discard", discard, false, A_SIDE, 1},
    {"disconnect", disconnect, true, A_SIDE, 0},
    {"drop", drop_segments, false, A_NAMESPACE, 1},
    {"end", end, true, A_SIDE, 1},
    {"fill-queue", fill_queue, false, A_STRANGER, 0},
    {"ktls", enable_ktls, false, A_BOTH, 0},
    {"peek", peek, false, A_SIDE, 1},
    {"queue-up", queue_up, false, A_STRANGER, 1},
    {"read", read_some, false, A_SIDE, 1},
    {"read-all", read_all, false, A_SIDE, 0},
    {"read-to-end", read_to_end, false, A_SIDE, 0},
    {"read-urgent", read_urgent, false, A_SIDE, 0},
    {"read-waitall", read_waitall, false, A_SIDE, 1},
    {"reconnect", reconnect, false, A_SIDE, 0},
    {"reference", refer, false, A_SIDE, 1},
    {"resend", resend, false, A_PEER, 1},
    {"resend-fin", resend_fin, false, A_PEER, 1},
    {"send", send_some, false, A_SIDE, 1},
    {"send-out-of-order", send_out_of_order, false, A_PEER, 1},
    {"send-until-blocked", send_until_blocked, false, A_SIDE, 0},
    {"send-urgent", send_urgent, false, A_SIDE, 1},
    {"set", set_option, false, A_SIDE | A_LISTENER, 2},
    {"share", share_port, false, A_LISTENER, 0},
    {"shutdown", shut, true, A_SIDE, 1},
    {"sign", sign, false, A_BOTH, 0},
    {"splice", splice_out, false, A_SIDE, 1},
    {"sysctl", set_sysctl, false, A_NAMESPACE, 2},
    {"try-read", try_read, false, A_SIDE, 0},
    {"vanish", vanish, false, A_PEER, 0},
    {"wait", wait_some, false, A_SIDE | A_BOTH, 1},
};

const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++) {
        if (strcmp(VERBS[i].name, name) == 0) {
            return &VERBS[i];
        }
    }
    return NULL;
}

bool is_verb(const struct step *step, const char *name) {
    return strcmp(step->verb->name, name) == 0;
}

bool is_complete_step(const struct step *step) {
    return step->verb->actors & 1u << step->actor && step->words >= step->verb->words;
}

const char *first_word(const struct step *step) {
    return step->words ? step->word[0] : "";
}
