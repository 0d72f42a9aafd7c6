/* Collects the three witnesses of a trial: the wire, the peer's socket and the counters. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "witnesses.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "trace.h"
#include "verbs.h"
#include "waiting.h"

enum { ALL_EVENTS = POLLIN | POLLPRI | POLLOUT | POLLRDHUP, RECV_SIZE = 65536, RECV_CALLS = 3 };
/* How much is sent until a sender blocks depends on when ACKs come: any larger number is the
   same. */
enum { LARGE_NUMBER = 10000 };

/* Calls the peer's recv up to three times, as evidence. */
static void read_rest(struct connection *c) {
    for (int i = 0; i < RECV_CALLS; i++) {
        ssize_t size = receive(c, PEER, RECV_SIZE, 0, false);
        if (size == 0) {
            return;
        }
        if (size < 0 && errno == EAGAIN) {
            record_result(c, PEER, error_name(errno));
            return;
        }
    }
}

void question_peer(struct connection *c, struct peer_witness *peer) {
    uint8_t info[TCP_INFO_SIZE];
    socklen_t size = sizeof peer->so_error;
    memset(peer, 0, sizeof *peer);
    if (c->socket[PEER] < 0) {
        return;
    }
    peer->is_there = true;
    peer->state = tcp_info(c, PEER, info) > 0 && info[0] <= MAX_STATE ? info[0] : -1;
    peer->events = poll_events(c->socket[PEER], ALL_EVENTS, 0);
    c->ending = true;
    read_rest(c);
    getsockopt(c->socket[PEER], SOL_SOCKET, SO_ERROR, &peer->so_error, &size);
}

/* Adds a number as JSON, `most` for a larger one. */
static void add_number(struct text *json, long long value, long long most) {
    text_format(json, "%lld", value < most ? value : most);
}

/* Adds the results of the peer's recv: numbers of bytes, or errors. */
static void add_results(struct text *json, const struct connection *c, long long most) {
    text_put(json, "[");
    for (int i = 0; i < c->peer_results; i++) {
        const char *result = c->peer_result[i];
        bool is_number = result[0] && !result[strspn(result, "0123456789")];
        text_put(json, i ? ",\"" : "\"");
        if (is_number) {
            add_number(json, atoll(result), most);
        } else {
            text_put(json, result);
        }
        text_put(json, "\"");
    }
    text_put(json, "]");
}

static void add_polls(struct text *json, const struct connection *c) {
    if (!c->polls_added) {
        return;
    }
    text_put(json, ",\"poll_added\":[");
    for (int i = 0; i < c->polls_added; i++) {
        text_format(json, "%s[%d,", i ? "," : "", c->poll_added[i].step);
        add_event_names(json, c->poll_added[i].events);
        text_put(json, "]");
    }
    text_put(json, "]");
}

static void add_peer(struct text *json, const struct connection *c, const struct peer_witness *peer,
                     long long most) {
    text_put(json, ",\"peer\":");
    if (!peer->is_there) {
        text_put(json, "null");
        return;
    }
    text_put(json, "{\"state\":");
    if (peer->state < 0) {
        text_put(json, "null");
    } else {
        text_format(json, "%d", peer->state);
    }
    text_put(json, ",\"poll\":");
    add_event_names(json, peer->events);
    text_put(json, ",\"recv\":");
    add_results(json, c, most);
    text_format(json, ",\"so_error\":\"%s\"", error_name(peer->so_error));
    add_polls(json, c);
    text_put(json, "}");
}

/* Adds what was noted of the queues; nothing if nothing was. */
static void add_queue(struct text *json, const struct connection *c, long long most) {
    const struct {
        const char *name;
        long bytes;
    } queues[] = {{"fionread", c->fionread},
                  {"rx_queue", c->rx_queue},
                  {"closer window", c->window[CLOSER]},
                  {"peer window", c->window[PEER]},
                  {"others waiting", c->others_waiting},
                  {"others reset", c->others_reset}};
    bool has_any = false;
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        if (queues[i].bytes < 0) {
            continue;
        }
        text_format(json, "%s\"%s\":", has_any ? "," : ",\"queue\":{", queues[i].name);
        add_number(json, queues[i].bytes, most);
        has_any = true;
    }
    if (has_any) {
        text_put(json, "}");
    }
}

static void add_bytes(struct text *json, const struct connection *c, long long most) {
    text_put(json, ",\"bytes\":{");
    for (enum side side = CLOSER; side < SIDES; side++) {
        text_format(json, "%s\"%s sent\":", side ? "," : "", side_name(side));
        add_number(json, (long long)c->sent[side], most);
        text_format(json, ",\"%s received\":", side_name(side));
        add_number(json, (long long)c->received[side], most);
    }
    text_put(json, "}");
}

/* One trial while it is described. `lost` is -1 if nothing is captured. */
struct described {
    const struct connection *c;
    const struct peer_witness *peer;
    const struct counter_values *before, *after;
    const char *wire_note;
    long long lost;
};

/* Adds all but the wire, with every number above `most` as `most`. */
static void add_facts(struct text *json, const struct described *trial, long long most) {
    const struct connection *c = trial->c;
    add_peer(json, c, trial->peer, most);
    text_put(json, ",\"kernel\":");
    add_moved_counters(json, trial->before, trial->after, most < UINT32_MAX ? most : UINT32_MAX);
    text_format(json, ",\"steps\":%d", c->step_times);
    add_queue(json, c, most);
    add_bytes(json, c, most);
    if (c->outstanding[0]) {
        text_put(json, ",\"outstanding\":");
        text_json(json, c->outstanding);
    }
    if (trial->wire_note[0]) {
        text_put(json, ",\"wire_note\":");
        text_json(json, trial->wire_note);
    }
    if (trial->lost > 0) {
        text_put(json, ",\"wire_lost\":");
        add_number(json, trial->lost, most);
    }
}

/* Adds the key: see `key_of` of `remote/scenario.py`. */
static void add_key(struct trial *trial, const struct described *described,
                    const struct trace *trace) {
    const struct scenario *scenario = described->c->scenario;
    long long most = LLONG_MAX;
    for (int i = 0; i < scenario->steps; i++) {
        if (is_verb(&scenario->step[i], "send-until-blocked")) {
            most = LARGE_NUMBER;
        }
    }
    add_facts(&trial->key, described, most);
    add_essence(&trial->key, trace, most);
}

/* Returns whether a result is an error of a reset, with or without the call before it. */
static bool is_reset_error(const char *result) {
    static const char *const ERRORS[] = {"ECONNRESET", "ECONNREFUSED", "EPIPE"};
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++) {
        if (strstr(result, ERRORS[i])) {
            return true;
        }
    }
    return false;
}

static bool was_reset(const struct connection *c, const struct peer_witness *peer) {
    for (int i = 0; i < c->peer_results; i++) {
        if (is_reset_error(c->peer_result[i])) {
            return true;
        }
    }
    return is_reset_error(error_name(peer->so_error));
}

static bool is_expected(const struct scenario *scenario, const char *ending) {
    for (int i = 0; i < scenario->expected; i++) {
        if (!strcmp(scenario->expect[i], ending)) {
            return true;
        }
    }
    return !scenario->expected;
}

/* Returns whether a trial needs more than its rows: more may come, the closer's segments are not an
   expected ending, or the peer saw another. */
static bool deviates(const struct connection *c, const struct peer_witness *peer,
                     const struct trace *trace) {
    const char *ending = captured_ending(trace);
    if (c->outstanding[0] || !is_expected(c->scenario, ending)) {
        return true;
    }
    return peer->is_there && (strstr(ending, "RST") != NULL) != was_reset(c, peer);
}

static void add_step_times(struct trial *trial, const struct connection *c) {
    for (int i = 0; i < c->step_times; i++) {
        text_format(&trial->steps, "%s%lld", i ? "," : "", c->step_time[i]);
    }
}

/* Adds the captured segments and what they have in common. */
static void add_wire(const struct connection *c, struct trial *trial, const struct trace *trace) {
    struct text *json = &trial->shape;
    add_rows(trial, trace);
    if (trace->omitted) {
        text_format(json, ",\"wire_omitted\":%ld", trace->omitted);
    }
    add_connection(c, trial, trace);
}

/* Notes how many waited in the accept queue, and how many of them were reset. */
static void note_strangers(struct connection *c) {
    uint8_t info[TCP_INFO_SIZE];
    if (!c->strangers) {
        return;
    }
    c->others_waiting = c->strangers;
    c->others_reset = 0;
    for (int i = 0; i < c->strangers; i++) {
        c->others_reset += tcp_info_of(c, c->stranger[i], info) > 0 && info[0] == CLOSE;
    }
}

void describe_trial(struct connection *c, const struct peer_witness *peer,
                    const struct counter_values *before, const struct counter_values *after,
                    struct trial *trial) {
    struct trace trace = {.rows = 0};
    note_strangers(c);
    struct described described = {c, peer, before, after, c->lab->wire_note, -1};
    bool is_captured = c->kind != KIND_UNIX && c->lab->capture.fd >= 0;
    text_put(&trial->shape, "{\"wire\":");
    if (is_captured) {
        described.lost = capture_take_lost(&c->lab->capture);
        make_trace(c, &trace);
        add_wire(c, trial, &trace);
    } else {
        text_put(&trial->shape, "null");
    }
    if (c->kind == KIND_UNIX) {
        described.wire_note = "AF_UNIX has no segments";
    }
    add_facts(&trial->shape, &described, LLONG_MAX);
    text_put(&trial->shape, "}");
    add_key(trial, &described, &trace);
    trial->deviates = deviates(c, peer, &trace);
    add_step_times(trial, c);
}
