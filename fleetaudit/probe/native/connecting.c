/* The steps that connect the two sides, and those that prepare it. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files.h"
#include "listeners.h"
#include "options.h"
#include "receiving.h"
#include "stream.h"
#include "sysctls.h"
#include "system.h"
#include "verb_functions.h"
#include "verbs.h"

static const char MD5_KEY[] = "fleetaudit probe"; /* it protects nothing */

/* The options of a listener that TCP Fast Open needs, as a step would set it. */
static const struct step FASTOPEN_STEP = {
    .actor = BY_LISTENER,
    .words = 2,
    .word = {"TCP_FASTOPEN", "16"},
    .number = {0, 16},
};

enum {
    /* net.ipv4.tcp_fastopen without a cookie: 1 and 4 for the client, 2 and 512 for the server. */
    FASTOPEN_BITS = 0x207,
    DEFAULT_BACKLOG = 16,
    ANYBODY = -1,
    /* struct tcp_info (include/uapi/linux/tcp.h) */
    TCPI_OPTIONS = 5,
    TCPI_SYN_DATA = 32,
    TCPI_STATE = 0,
    TCPI_UNACKED = 24,
    TCPI_SACKED = 28,
};

/* How a side connects that only tries to. */
static const char TRY[] = "unanswered";

static enum kind kind_of(const char *how) {
    if (strcmp(how, "unix") == 0 || strcmp(how, "seqpacket") == 0) {
        return KIND_UNIX;
    }
    if (strcmp(how, "mptcp") == 0) {
        return KIND_MPTCP;
    }
    return strcmp(how, "mapped") == 0 ? KIND_MAPPED : KIND_TCP;
}

/* Returns whether a step before the connect sets an option on the listener. */
static bool sets_on_listener(const struct connection *c, const char *name) {
    for (int i = 0; i < c->listener_options; i++) {
        if (strcmp(first_word(c->listener_option[i]), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Returns whether an actor, or any if that is negative, has a verb in a step. */
static bool has_step(const struct connection *c, int actor, const char *verb) {
    for (int i = 0; i < c->scenario->steps; i++) {
        const struct step *step = &c->scenario->step[i];
        if ((actor < 0 || step->actor == (enum actor)actor) && is_verb(step, verb)) {
            return true;
        }
    }
    return false;
}

/* Returns whether a step closes the listener, shares its port, or fills its accept queue. */
static bool uses_up_listener(const struct connection *c) {
    return has_step(c, BY_LISTENER, "close") || has_step(c, ANYBODY, "share") ||
           has_step(c, ANYBODY, "fill-queue") || has_step(c, ANYBODY, "queue-up");
}

/* Returns whether a trial changes the listener, which hands on the sysctls (tcp_rmem) that it was
   made with: then it needs one of its own. */
static bool changes_listener(const struct connection *c, const char *how) {
    static const char *const NEW[] = {"fastopen", "unaccepted", TRY};
    for (size_t i = 0; i < sizeof NEW / sizeof *NEW; i++) {
        if (strcmp(how, NEW[i]) == 0) {
            return true;
        }
    }
    if (c->is_signed || c->backlog >= 0 || c->listener_options || c->changed_sysctls) {
        return true;
    }
    return uses_up_listener(c);
}

/* Makes a new listener, or takes the one that trials share. */
static bool choose_listener(struct connection *c, const char *how, struct failure *failure) {
    if (!changes_listener(c, how)) {
        c->listener = shared_listener(c->lab, c->family, c->kind, failure);
        return c->listener >= 0;
    }
    int backlog = c->backlog < 0 ? DEFAULT_BACKLOG : c->backlog;
    int port = has_step(c, ANYBODY, "share") ? 0 : OWN_PORT;
    int listener = open_listener(c->family, c->kind, backlog, port, failure);
    if (listener < 0) {
        return false;
    }
    if (c->owns_listener) { /* that of strangers or of a connect before */
        close_quietly(c->listener);
    }
    c->listener = listener;
    c->owns_listener = true;
    for (int i = 0; i < c->listener_options; i++) {
        if (!set_socket_option(c->listener, c->listener_option[i], failure)) {
            return false;
        }
    }
    if (strcmp(how, "fastopen") == 0 && !sets_on_listener(c, "TCP_FASTOPEN")) {
        return set_socket_option(c->listener, &FASTOPEN_STEP, failure);
    }
    return true;
}

bool prepare_listener(struct connection *c, const char *how, struct failure *failure) {
    c->has_listener_address = choose_listener(c, how, failure) &&
                              local_address(c->listener, &c->listener_address, failure);
    return c->has_listener_address;
}

bool tries_to_connect(const struct scenario *scenario) {
    for (int i = 0; i < scenario->steps; i++) {
        const struct step *step = &scenario->step[i];
        if (is_verb(step, "connect") && strcmp(first_word(step), TRY) == 0) {
            return true;
        }
    }
    return false;
}

/* Has a socket sign what it sends to an address, and drop what is not signed (RFC 2385). No module
   is loaded: CONFIG_TCP_MD5SIG has CONFIG_CRYPTO_MD5 built in. */
static bool require_signature(int fd, const struct address *address, struct failure *failure) {
    struct tcp_md5sig signature;
    memset(&signature, 0, sizeof signature);
    memcpy(&signature.tcpm_addr, &address->storage, address->length);
    memcpy(signature.tcpm_key, MD5_KEY, sizeof MD5_KEY - 1);
    signature.tcpm_keylen = sizeof MD5_KEY - 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &signature, sizeof signature) != 0) {
        return fail_unsupported(failure, "this kernel refuses TCP_MD5SIG on a socket");
    }
    return true;
}

/* A listener that is closed signs nothing. */
static bool sign_both(struct connection *c, int client, const struct address *address,
                      struct failure *failure) {
    return require_signature(client, address, failure) &&
           (c->listener < 0 || require_signature(c->listener, address, failure));
}

/* Lets a port be used again that a TIME_WAIT would keep. */
static bool allow_again(const struct connection *c, int client) {
    int on = 1;
    int actor = c->client_side == PEER ? BY_PEER : BY_CLOSER;
    return !has_step(c, actor, "reconnect") ||
           setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
}

/* Binds the client's socket to a free port, and notes the addresses of both sides. */
static bool bind_client(struct connection *c, int client, const struct address *loopback,
                        struct failure *failure) {
    enum side server = other_side(c->client_side);
    int off = 0;
    if (!allow_again(c, client)) {
        return fail_by_errno(failure);
    }
    if (c->kind == KIND_MAPPED &&
        setsockopt(client, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
        return fail_by_errno(failure);
    }
    if (bind(client, &loopback->storage.any, loopback->length) != 0) {
        return fail_by_errno(failure);
    }
    if (!local_address(client, &c->address[c->client_side], failure)) {
        return false;
    }
    c->address[server] = c->listener_address;
    c->has_address[CLOSER] = c->has_address[PEER] = true;
    c->client_port = port_of(&c->address[c->client_side]);
    return true;
}

bool make_client(struct connection *c, struct failure *failure) {
    struct address loopback;
    loopback_address(c->family, c->kind, &loopback);
    set_port(&loopback, c->client_port);
    int client = new_socket(address_family(c->family), c->kind, failure);
    if (client < 0) {
        return false;
    }
    put_socket(c, c->client_side, client);
    if (!bind_client(c, client, &loopback, failure)) {
        return false;
    }
    if (c->is_signed && !sign_both(c, client, &loopback, failure)) {
        return false;
    }
    if (c->owns_listener) { /* another program may have its port before the trial is over */
        watch_ports(c->lab, c->client_port);
    }
    return true;
}

/* Makes two connected AF_UNIX sockets. */
static bool connect_unix(struct connection *c, struct failure *failure) {
    static const int NO_UNIX[] = {EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPROTOTYPE, 0};
    const char *name = c->has_messages ? "SOCK_SEQPACKET over AF_UNIX" : "AF_UNIX";
    int type = c->has_messages ? SOCK_SEQPACKET : SOCK_STREAM;
    int pair[2];
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) {
        fail_by_errno(failure);
        return unsupported_if(failure, NO_UNIX, "this kernel has no %s", name);
    }
    put_socket(c, c->client_side, pair[0]);
    put_socket(c, other_side(c->client_side), pair[1]);
    return true;
}

/* Returns whether TCP Fast Open works without a cookie here. */
static bool check_fastopen(struct failure *failure) {
    char value[SYSCTL_VALUE], state[SYSCTL_STATE], *rest = value;
    bool is_known = read_sysctl("net.ipv4.tcp_fastopen", value, sizeof value, state);
    long bits = is_known ? strtol(value, &rest, 10) : 0;
    if (rest != value && *rest == '\0' && (bits & FASTOPEN_BITS) == FASTOPEN_BITS) {
        return true;
    }
    return fail_with(failure, UNSUPPORTED, "needs net.ipv4.tcp_fastopen 519; it is %.256s",
                     is_known ? value : state);
}

/* Connects by TCP Fast Open. */
static bool connect_with_data(struct connection *c, long size, struct failure *failure) {
    enum side client = c->client_side;
    uint8_t info[TCP_INFO_SIZE];
    size_t most = (size_t)size < STREAM_PIECE ? (size_t)size : STREAM_PIECE;
    if (!check_fastopen(failure)) {
        return false;
    }
    if (!send_in_time(c->socket[client], stream_bytes(0), most, MSG_FASTOPEN,
                      &c->address[other_side(client)], failure)) {
        return false;
    }
    c->sent[client] += (unsigned long long)size;
    if (tcp_info(c, client, info) > TCPI_OPTIONS && !(info[TCPI_OPTIONS] & TCPI_SYN_DATA)) {
        return fail_with(failure, STEP_FAILED, "the data in the SYN was not accepted");
    }
    return true;
}

/* Accepts the connection, and waits until what came with its SYN has arrived. */
static bool accept_client(struct connection *c, bool has_data, struct failure *failure) {
    if (!accept_now(c, failure)) {
        return false;
    }
    return !has_data || wait_for_arrival(c, c->client_side, failure);
}

/* Sends a SYN, and waits until loopback has delivered its answer. */
static bool try_to_connect(struct connection *c, struct failure *failure) {
    uint8_t info[TCP_INFO_SIZE];
    int client = c->socket[c->client_side];
    const struct sockaddr *target = &c->listener_address.storage.any;
    set_blocking(client, false);
    if (connect(client, target, c->listener_address.length) != 0 && errno != EINPROGRESS) {
        return fail_by_errno(failure);
    }
    for (int i = 0; i < 2; i++) {
        settle(&c->lab->fence);
    }
    set_blocking(client, true);
    c->is_waiting = tcp_info(c, c->client_side, info) > 0 && info[TCPI_STATE] == ESTABLISHED;
    return true;
}

bool connect_sides(struct connection *c, enum side client, const char *how, long size,
                   struct failure *failure) {
    c->client_side = client;
    c->kind = kind_of(how);
    if (c->kind == KIND_UNIX) {
        c->has_messages = strcmp(how, "seqpacket") == 0;
        return connect_unix(c, failure);
    }
    bool only_tries = strcmp(how, TRY) == 0;
    bool is_prepared = only_tries && c->has_listener_address;
    if (!is_prepared && !prepare_listener(c, how, failure)) {
        return false;
    }
    if (!make_client(c, failure)) {
        return false;
    }
    if (only_tries) {
        return try_to_connect(c, failure);
    }
    return connect_to_listener(c, how, size, failure);
}

bool connect_to_listener(struct connection *c, const char *how, long size,
                         struct failure *failure) {
    enum side client = c->client_side;
    const struct address *target = &c->address[other_side(client)];
    bool has_data = strcmp(how, "fastopen") == 0;
    bool is_connected = has_data ? connect_with_data(c, size, failure)
                                 : connect_in_time(c->socket[client], target, failure);
    set_blocking(c->socket[client], true);
    if (!is_connected) {
        return false;
    }
    c->is_waiting = true;
    if (strcmp(how, "unaccepted") == 0 || sets_on_listener(c, "TCP_DEFER_ACCEPT")) {
        return true;
    }
    return accept_client(c, has_data, failure);
}

bool connect_step(struct connection *c, const struct step *step, struct failure *failure) {
    return connect_sides(c, side_of_actor(step->actor), first_word(step), step->number[1], failure);
}

bool accept_waiting(struct connection *c, const struct step *step, struct failure *failure) {
    (void)step;
    if (!c->is_waiting) {
        return fail_with(failure, STEP_FAILED, "no connection waits to be accepted");
    }
    return accept_now(c, failure);
}

bool set_backlog(struct connection *c, const struct step *step, struct failure *failure) {
    (void)failure;
    c->backlog = (int)step->number[0];
    return true;
}

static void reset_stranger(struct connection *c, struct cleanup *cleanup) {
    (void)c;
    close_by_reset(cleanup->fd);
}

int connect_stranger(struct connection *c, struct failure *failure) {
    struct address target;
    struct cleanup *cleanup = add_cleanup(c, reset_stranger, failure);
    if (!cleanup || !local_address(c->listener, &target, failure)) {
        return -1;
    }
    cleanup->fd = new_socket(address_family(c->family), KIND_TCP, failure);
    bool is_connected = cleanup->fd >= 0 && connect_in_time(cleanup->fd, &target, failure) &&
                        send_in_time(cleanup->fd, ".", 1, 0, NULL, failure);
    return is_connected ? cleanup->fd : -1;
}

/* Connects strangers until the accept queue is full: tcpi_unacked of a listener is its length,
   tcpi_sacked the backlog (sk_acceptq_is_full()). */
bool fill_queue(struct connection *c, const struct step *step, struct failure *failure) {
    uint8_t info[TCP_INFO_SIZE];
    uint32_t length, backlog;
    (void)step;
    for (int i = 0; i < MAX_STRANGERS; i++) {
        if (tcp_info_of(c, c->listener, info) < TCPI_SACKED + (int)sizeof backlog) {
            return fail_with(failure, STEP_FAILED,
                             "this host does not tell how long an accept queue is");
        }
        memcpy(&length, info + TCPI_UNACKED, sizeof length);
        memcpy(&backlog, info + TCPI_SACKED, sizeof backlog);
        if (length > backlog) {
            c->accept_queue_full = c->ending = true;
            return true;
        }
        if (connect_stranger(c, failure) < 0) {
            return false;
        }
        settle(&c->lab->fence);
    }
    return fail_with(failure, STEP_FAILED, "%d connections do not fill the accept queue",
                     MAX_STRANGERS);
}

bool set_option(struct connection *c, const struct step *step, struct failure *failure) {
    if (step->actor == BY_LISTENER) {
        c->listener_option[c->listener_options++] = step;
        return true;
    }
    int fd = socket_of(c, side_of_actor(step->actor), failure);
    return fd >= 0 && set_socket_option(fd, step, failure);
}

bool sign(struct connection *c, const struct step *step, struct failure *failure) {
    (void)step;
    (void)failure;
    c->is_signed = true;
    return true;
}

/* Notes the value of a sysctl that is to be changed, for when the trial is over. */
static bool note_sysctl(struct connection *c, const char *key, struct failure *failure) {
    struct changed_sysctl *changed = &c->changed_sysctl[c->changed_sysctls];
    if (c->changed_sysctls == MAX_CHANGED_SYSCTLS || strlen(key) >= sizeof changed->key) {
        return fail_with(failure, STEP_FAILED, "there is no room to restore %s", key);
    }
    snprintf(changed->key, sizeof changed->key, "%s", key);
    if (!sysctl_value(key, changed->before, sizeof changed->before)) {
        changed->before[0] = '\0';
    }
    if (strlen(changed->before) == sizeof changed->before - 1) {
        return fail_with(failure, STEP_FAILED, "the value of %s is too long to restore", key);
    }
    return true;
}

bool set_sysctl(struct connection *c, const struct step *step, struct failure *failure) {
    const char *key = first_word(step), *value = step->word[1];
    char path[256], found[256];
    if (!note_sysctl(c, key, failure)) {
        return false;
    }
    if (!sysctl_path(key, path, sizeof path) || !write_file(path, value)) {
        return fail_unsupported(failure, "%s cannot be set in a network namespace", key);
    }
    c->changed_sysctls++;
    if (!sysctl_value(key, found, sizeof found)) {
        snprintf(found, sizeof found, "None");
    }
    if (strcmp(found, value) != 0) {
        return fail_with(failure, STEP_FAILED, "%s is %s after that", key, found);
    }
    return true;
}
