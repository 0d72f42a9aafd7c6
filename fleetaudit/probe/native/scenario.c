/* Runs the trials of one scenario over one family. */
#include "scenario.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "needs.h"
#include "pack.h"
#include "sysctls.h"
#include "trial.h"
#include "waiting.h"

/* No line of the reply is longer than 6 MB (`result_line.py`). */
enum { MAX_PART = 6 * 1024 * 1024, MAX_PROBLEM = 1200 };

/* The trials of a scenario: equal ones as one, `times` of them. */
struct kept_trial {
    struct trial trial;
    int times;
};

/* Runs trials, and repeats one that timed out while the host was stalled, with a note; never one
   that came to its end. */
struct repeats {
    struct lab *lab;
    const struct scenario *scenario;
    enum family family;
    int remaining;
};

void begin_observation(struct observation *observation) {
    *observation = (struct observation){.repeats = 0};
    for (int i = 0; i < OBSERVED; i++) {
        observation->text[i].limit = MAX_PART;
    }
}

void free_observation(struct observation *observation) {
    for (int i = 0; i < OBSERVED; i++) {
        text_free(&observation->text[i]);
    }
}

/* Returns whether nobody reads the output any more. */
static bool is_output_closed(void) {
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) > 0;
}

static void note_repeat(struct repeats *repeats, const struct trial *trial) {
    struct text *repeated = &repeats->lab->repeated;
    text_format(repeated, "%s%s over %s (step %d: %s)", repeated->length ? "; " : "",
                repeats->scenario->name, family_name(repeats->family), trial->failed_step + 1,
                trial->error);
    repeats->lab->repeats++;
}

static void note_stall(struct trial *trial) {
    size_t length = strlen(trial->error);
    snprintf(trial->error + length, sizeof trial->error - length,
             "; the host stalled for %.2f s meanwhile", timeout.in_trial);
}

/* Runs one trial, and again if the host stalled; returns false if there is none. */
static bool run_repeatedly(struct repeats *repeats, struct trial *trial, struct failure *failure) {
    static struct connection connection;
    for (;;) {
        if (is_output_closed()) {
            _exit(1);
        }
        begin_connection(&connection, repeats->lab, repeats->family, repeats->scenario);
        *trial = (struct trial){.failed_step = -1};
        if (!run_trial(&connection, trial, failure)) {
            return false;
        }
        if (time_is_up || !connection.timed_out || timeout.in_trial < STALL) {
            return true;
        }
        if (!repeats->remaining) {
            note_stall(trial);
            return true;
        }
        repeats->remaining--;
        note_repeat(repeats, trial);
        free_trial(trial);
    }
}

static const char *string_of(const struct text *text) {
    return text->data ? text->data : "";
}

static bool are_equal(const struct trial *a, const struct trial *b) {
    if (strcmp(string_of(&a->key), string_of(&b->key)) || a->failed_step != b->failed_step) {
        return false;
    }
    return !strcmp(a->error, b->error);
}

/* Keeps a trial, or counts it as one of its equals. */
static void keep(struct kept_trial *kept, int *count, struct trial *trial) {
    for (int i = 0; i < *count; i++) {
        if (are_equal(&kept[i].trial, trial)) {
            kept[i].times++;
            free_trial(trial);
            return;
        }
    }
    kept[(*count)++] = (struct kept_trial){*trial, 1};
}

static void add_list(struct text *list, const struct text *more) {
    if (!more->length) {
        return;
    }
    text_put(list, list->length ? "," : "");
    text_add(list, more->data, more->length);
}

/* Returns whether there was room for all that a trial shows. */
static bool is_whole(const struct trial *trial) {
    const struct text *texts[] = {&trial->shape, &trial->key, &trial->began,   &trial->ports,
                                  &trial->steps, &trial->at,  &trial->windows, &trial->headers};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i]->is_cut) {
            return false;
        }
    }
    return trial->shape.length > 0;
}

/* Adds the packed headers of a connection, as one line. */
static void add_headers(struct text *lines, int connection, const struct text *headers) {
    text_format(lines, "%d \"", connection);
    add_packed(lines, (const uint8_t *)headers->data, headers->length);
    text_put(lines, "\"\n");
}

/* Adds a trial, its times and, if it is notable, its headers. */
static void add_trial(struct observation *observation, const struct kept_trial *kept,
                      bool is_notable) {
    const struct trial *trial = &kept->trial;
    struct text *texts = observation->text;
    text_format(&texts[OBJECT], "{\"count\":%d,", kept->times);
    if (*trial->error) {
        text_put(&texts[OBJECT], "\"error\":");
        text_json(&texts[OBJECT], trial->error);
        text_put(&texts[OBJECT], ",");
    }
    if (trial->failed_step >= 0) {
        text_format(&texts[OBJECT], "\"failed_step\":%d,", trial->failed_step);
    }
    text_put(&texts[OBJECT], trial->shape.data + 1);
    add_list(&texts[BEGAN], &trial->began);
    add_list(&texts[PORTS], &trial->ports);
    add_list(&texts[STEPS], &trial->steps);
    add_list(&texts[AT], &trial->at);
    add_list(&texts[WINDOWS], &trial->windows);
    if (trial->has_connection && is_notable && trial->headers.length) {
        add_headers(&texts[HEADERS], observation->connections, &trial->headers);
    }
    observation->connections += trial->has_connection;
}

/* Adds a trial in which the probe itself failed, or had too little to go on. */
static void add_failed_trial(struct text *json, const char *problem) {
    text_put(json,
             "{\"count\":1,\"steps\":0,\"wire\":null,\"peer\":null,\"kernel\":null,\"error\":");
    text_json(json, problem);
    text_put(json, "}");
}

/* Writes that the probe itself failed, with the name of the exception that it would be in Python.
 */
static void explain_other(const struct failure *failure, char *problem, size_t size) {
    char message[MAX_PROBLEM / 2];
    message_of(failure, message, sizeof message);
    if (failure->kind == SYSTEM_ERROR) {
        snprintf(problem, size, "the probe failed: OSError: [Errno %d] %s", failure->number,
                 message);
    } else {
        snprintf(problem, size, "the probe failed: StepFailed: %s", message);
    }
}

/* Writes why there are no more trials; names the resource that has run out on this host. */
static void explain(const struct failure *failure, char *problem, size_t size) {
    char ports[SYSCTL_VALUE];
    int number = failure->kind == SYSTEM_ERROR ? failure->number : 0;
    if (number == EADDRINUSE || number == EADDRNOTAVAIL) {
        if (!sysctl_value("net.ipv4.ip_local_port_range", ports, sizeof ports)) {
            snprintf(ports, sizeof ports, "unknown");
        }
        snprintf(problem, size, "no free local port: ip_local_port_range is %.64s", ports);
    } else if (number && is_scarce(number)) {
        snprintf(problem, size, "this host gives the probe too few resources (%s)",
                 error_name(number));
    } else if (failure->kind == UNSUPPORTED || failure->kind == OUT_OF_RESOURCES) {
        snprintf(problem, size, "%s", failure->text);
    } else {
        explain_other(failure, problem, size);
    }
}

/* Returns whether a failure says that the host lacks a thing, or `*is_scarce` that it gives too
   little of it. */
static bool is_lack(const struct failure *failure, bool *is_too_little) {
    bool is_system = failure->kind == SYSTEM_ERROR && is_scarce(failure->number);
    *is_too_little = is_system || failure->kind == OUT_OF_RESOURCES;
    return *is_too_little || failure->kind == UNSUPPORTED;
}

static void begin_object(struct text *json, const struct scenario *scenario, enum family family) {
    text_put(json, "{\"scenario\":");
    text_json(json, scenario->name);
    text_format(json, ",\"family\":\"%s\"", family_name(family));
}

static void end_as_not_run(struct text *json, const char *reason, bool has_failed) {
    text_put(json, ",\"not_run\":");
    text_json_first(json, reason, MAX_NOTE);
    text_put(json, has_failed ? ",\"failed\":true}" : "}");
}

void add_not_run(struct text *json, const struct scenario *scenario, enum family family,
                 const char *reason) {
    begin_object(json, scenario, family);
    end_as_not_run(json, reason, true);
}

/* Writes the observation: its trials, and after them why there are no more. A scenario was not run
   if it has none. */
static void describe(struct observation *observation, const struct kept_trial *kept, int count,
                     const struct failure *failure) {
    struct text *json = &observation->text[OBJECT];
    char problem[MAX_PROBLEM] = "";
    bool is_too_little = false, lacks = is_lack(failure, &is_too_little);
    if (failure->kind != NO_FAILURE) {
        explain(failure, problem, sizeof problem);
    }
    if (lacks && !count) {
        end_as_not_run(json, problem, is_too_little);
        return;
    }
    text_put(json, ",\"trials\":[");
    for (int i = 0; i < count; i++) {
        text_put(json, i ? "," : "");
        if (is_whole(&kept[i].trial)) {
            add_trial(observation, &kept[i], count > 1 || kept[i].trial.deviates);
        } else {
            add_failed_trial(json, "the probe failed: a trial is too long to report");
        }
    }
    if (*problem) {
        text_put(json, count ? "," : "");
        add_failed_trial(json, problem);
    }
    text_put(json, "]}");
}

/* Runs all trials; returns how many different ones there are. */
static int run_trials(struct repeats *repeats, struct kept_trial *kept, struct failure *failure) {
    struct trial trial;
    int count = 0;
    for (int i = 0; i < repeats->scenario->trials && !time_is_up; i++) {
        if (!run_repeatedly(repeats, &trial, failure)) {
            break;
        }
        keep(kept, &count, &trial);
    }
    return count;
}

bool observe(struct lab *lab, const struct scenario *scenario, enum family family,
             struct observation *observation) {
    struct repeats repeats = {lab, scenario, family, MAX_REPEATS};
    struct failure failure = {.kind = NO_FAILURE};
    struct kept_trial *kept = calloc((size_t)scenario->trials + 1, sizeof *kept);
    int count = 0;
    if (!kept) {
        errno = ENOMEM;
        fail_by_errno(&failure);
    } else if (check_family(lab, family, &failure) &&
               check_needs(lab, family, scenario, &failure)) {
        count = run_trials(&repeats, kept, &failure);
    }
    begin_object(&observation->text[OBJECT], scenario, family);
    describe(observation, kept, count, &failure);
    for (int i = 0; i < count; i++) {
        free_trial(&kept[i].trial);
    }
    free(kept);
    return !time_is_up;
}
