/* Writes the reply as one line of JSON. */
#include "reply.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The reply is written in pieces, so that a host with little memory sends one, too: no part that is
   added at once is larger than an observation. */
enum { MAX_PIECE = 8 * 1024 * 1024, PIECE = 16384, RESERVE = 256 * 1024 };
enum { MAX_WATCH = 7 * 1024 * 1024 };

/* Writes to stdout, which may not take all at once. */
static bool write_output(const char *data, size_t size) {
    while (size) {
        struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
        ssize_t count = write(STDOUT_FILENO, data, size);
        if (count < 0 && errno != EAGAIN) {
            return false;
        }
        if (count < 0) {
            poll(&output, 1, 1000);
            continue;
        }
        data += count;
        size -= (size_t)count;
    }
    return true;
}

/* Writes what was added so far if it is worth a call, or must be; ends the process if nobody reads
   it, or there was no room for it: half a reply is none. */
static void flush(struct text *json, size_t least) {
    if (json->is_cut) {
        fputs("this host has too little memory for the reply\n", stderr);
        _exit(1);
    }
    if (json->length >= least && !write_output(json->data, json->length)) {
        _exit(1);
    }
    if (json->length >= least) {
        json->length = 0;
    }
}

static void add_string(struct text *json, const char *name, const char *value) {
    text_format(json, "\"%s\":", name);
    text_json(json, value);
    text_put(json, ",");
}

/* Adds a member whose value is JSON, `otherwise` if that is empty or not whole. */
static void add_json(struct text *json, const char *name, const struct text *value,
                     const char *otherwise) {
    text_format(json, "\"%s\":", name);
    text_put(json, value->length && !value->is_cut ? value->data : otherwise);
    text_put(json, ",");
}

static void add_host(struct text *json, const struct host *host) {
    text_put(json, "\"kernel\":{");
    add_string(json, "release", host->kernel.release);
    add_string(json, "version", host->kernel.version);
    text_put(json, "\"machine\":");
    text_json(json, host->kernel.machine);
    text_put(json, "},");
    add_json(json, "os", &host->os, "{}");
    add_json(json, "exposure", &host->exposure, "null");
    add_json(json, "sysctl_places", &host->sysctl_places, "null");
    add_string(json, "machine_id", host->machine_id);
    text_format(json,
                "\"sysctls_writable\":%s,\"sysctls\":", host->sysctls_writable ? "true" : "false");
    for (int i = 0; i < host->sysctls.count; i++) {
        text_put(json, i ? "," : "{");
        add_sysctl(json, &host->sysctls.entry[i]);
        flush(json, PIECE);
    }
    text_put(json, host->sysctls.count ? "}" : "{}");
    text_put(json, ",");
}

/* Adds all observations in the request's order; what was not observed, as not run, so that nothing
   is missing. */
static void add_observations(struct text *json, const struct reply *reply) {
    text_put(json, "\"observations\":[");
    for (int i = 0; i < reply->workers.pairs; i++) {
        const struct pair *pair = &reply->workers.pair[i];
        const struct text *object = &pair->observation.text[OBJECT];
        text_put(json, i ? "," : "");
        if (pair->is_found && object->length) {
            text_add(json, object->data, object->length);
        } else {
            add_not_run(json, pair->scenario, pair->family, reply->reason);
        }
        flush(json, PIECE);
    }
    text_put(json, "],");
}

/* Adds one of the lists of times, of all observations. */
static void add_times(struct text *json, const struct reply *reply, const char *name,
                      enum observed which) {
    const char *separator = "";
    text_format(json, "\"%s\":[", name);
    for (int i = 0; i < reply->workers.pairs; i++) {
        const struct text *times = &reply->workers.pair[i].observation.text[which];
        if (!reply->workers.pair[i].is_found || !times->length) {
            continue;
        }
        text_put(json, separator);
        text_add(json, times->data, times->length);
        flush(json, PIECE);
        separator = ",";
    }
    text_put(json, "],");
}

/* Adds the headers of one observation for which there is room. `first` is the number of its first
   connection. */
static void add_headers_of(struct text *json, const struct text *headers, int first, long *room,
                           const char **separator) {
    const char *line = headers->data;
    while (line && *line) {
        size_t length = strcspn(line, "\n");
        const char *string = strchr(line, ' ') + 1;
        int size = (int)(line + length - string);
        if (size - 2 <= *room) { /* without the quotes */
            *room -= size - 2;
            text_format(json, "%s[%d,%.*s]", *separator, first + atoi(line), size, string);
            *separator = ",";
        }
        line += length + 1;
    }
}

static void add_headers(struct text *json, const struct reply *reply) {
    const char *separator = "";
    long room = MAX_HEADERS;
    int first = 0;
    text_put(json, "\"headers\":[");
    for (int i = 0; i < reply->workers.pairs; i++) {
        const struct pair *pair = &reply->workers.pair[i];
        if (!pair->is_found) {
            continue;
        }
        add_headers_of(json, &pair->observation.text[HEADERS], first, &room, &separator);
        first += pair->observation.connections;
    }
    text_put(json, "]");
}

static void add_all_times(struct text *json, const struct reply *reply) {
    text_put(json, "\"times\":{");
    add_times(json, reply, "began", BEGAN);
    add_times(json, reply, "ports", PORTS);
    add_times(json, reply, "steps", STEPS);
    add_times(json, reply, "at", AT);
    add_times(json, reply, "windows", WINDOWS);
    add_headers(json, reply);
    text_put(json, "},");
}

/* Adds a note on the trials that were repeated. */
static void note_repeats(struct reply *reply) {
    struct text names = {.limit = MAX_NOTE};
    int repeats = 0;
    for (int i = 0; i < reply->workers.pairs; i++) {
        const struct pair *pair = &reply->workers.pair[i];
        if (!pair->is_found || !pair->observation.text[REPEATED].length) {
            continue;
        }
        repeats += pair->observation.repeats;
        text_put(&names, names.length ? "; " : "");
        text_put(&names, pair->observation.text[REPEATED].data);
    }
    if (repeats) {
        add_note(&reply->notes, "the host stalled, so %d trials timed out and were repeated: %s",
                 repeats, names.data ? names.data : "");
    }
    text_free(&names);
}

static void add_reply(struct text *json, struct reply *reply) {
    const struct request *request = reply->request;
    note_repeats(reply);
    text_format(json, "\n%s{\"protocol\":%d,\"probe\":\"native\",\"python\":\"\",", MARK,
                PROTOCOL_VERSION);
    add_string(json, "fleetaudit", request->fleetaudit);
    add_string(json, "digest", request->digest);
    add_string(json, "nonce", request->nonce);
    add_string(json, "isolation", reply->is_private ? "namespace" : "host");
    add_string(json, "isolation_note", reply->isolation_note);
    add_string(json, "capture_note", reply->capture_note);
    add_host(json, &reply->host);
    if (reply->watch.length) {
        add_json(json, "watch", &reply->watch, "null");
        flush(json, PIECE);
    }
    add_observations(json, reply);
    add_all_times(json, reply);
    text_format(json, "\"notes\":[%s],", reply->notes.json.length ? reply->notes.json.data : "");
    text_format(json, "\"cpu_s\":%.6f,\"elapsed_s\":%.6f}\n", reply->cpu, reply->elapsed);
}

bool begin_reply(struct reply *reply, const struct request *request, char *reason, int size) {
    *reply =
        (struct reply){.request = request, .watch.limit = MAX_WATCH, .reserve = malloc(RESERVE)};
    begin_host(&reply->host);
    begin_notes(&reply->notes);
    bool has_room = begin_workers(&reply->workers, request) && reply->reserve;
    if (!has_room) {
        snprintf(reason, (size_t)size, "this host has too little memory for the request");
    }
    return has_room;
}

void print_reply(struct reply *reply) {
    struct text json = {.limit = MAX_PIECE};
    free(reply->reserve);
    add_reply(&json, reply);
    flush(&json, 1);
    text_free(&json);
}
