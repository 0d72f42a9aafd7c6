/* Watches which programs reset their peers, by the kernel's tracepoint tcp:tcp_send_reset.

   For the security review of a host: of /proc it reads the names of processes, their control groups
   and open files. It never reads what is sent. Of peers it reports networks, and only if that was
   asked for. */
#include "watch.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "counters.h"
#include "failure.h"
#include "waiting.h"
#include "watch_events.h"

enum { TCP_ABORT_ON_CLOSE, MAX_RESETS = 100000 }; /* that are read; the kernel counts the others */
#define SPARE_TIME 2.0 /* seconds of the probe's time that are left for the rest */
#define SPARE_CPU 0.5  /* seconds of CPU time, and of each second that a watch lasts this share */
#define CPU_SHARE 0.1

static const char PARANOID[] = "cat /proc/sys/kernel/perf_event_paranoid";

/* What TCPAbortOnClose was, -1: unknown. */
struct aborts {
    long long before, at_start, at_end, after;
};

/* What is found; `method` is "" if nothing could be watched. */
struct found {
    struct watching watching;
    const char *method;
    double asked, seconds;
    struct aborts aborts;
    struct notes notes;
    struct text unread;
    struct watch_problem problem;
};

static double cpu_time(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage)) {
        return 0;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Half of all at once, the others over the whole time: so one storm does not hide who comes after
   it. Too much CPU time stops reading, too. */
bool may_read_more(struct watching *watching) {
    double elapsed = now() - watching->began;
    double resets = MAX_RESETS * (1 + elapsed / watching->seconds) / 2;
    bool may = (double)(watching->named + watching->left_out) < resets &&
               cpu_time() - watching->cpu < SPARE_CPU + CPU_SHARE * elapsed;
    watching->is_sampled = watching->is_sampled || !may;
    return may;
}

void take_reset(struct watching *watching, struct reset *reset, const enum part *frame,
                int frames) {
    reset->reason = reason_of_stack(reset->reason, frame, frames);
    if (reset->reason == NO_PROGRAM || is_own_process(watching->owners, reset->process)) {
        watching->left_out++;
        return;
    }
    int owner = owner_of(watching->owners, reset->process, reset->command, reset->time);
    const char *namespace = owner_number(watching->owners, owner)->namespace;
    reset->port = service_port(watching->ports, namespace, reset->process, reset->port);
    watching->named++;
    count_reset(watching->rows, owner, reset);
}

/* Returns the host's own count of resets for unread data, -1 if it is unknown. */
static long long read_aborts(struct counters *counters) {
    struct counter_values values;
    read_counters(counters, &values);
    return values.is_known[TCP_ABORT_ON_CLOSE] ? values.value[TCP_ABORT_ON_CLOSE] : -1;
}

static void start(struct perf *perf, struct instance *instance) {
    if (perf) {
        start_perf(perf);
    } else {
        start_instance(instance);
    }
}

static void stop(struct perf *perf, struct instance *instance, struct watching *watching) {
    if (perf) {
        stop_perf(perf, watching);
    } else {
        stop_instance(instance, watching);
    }
}

/* Returns for how long there is time. */
static double time_to_watch(double asked) {
    double longest = timeout.deadline - SPARE_TIME - now();
    double seconds = asked < longest ? asked : longest;
    return seconds > 0.1 ? seconds : 0.1;
}

/* Watches by one of the two ways, with the counter read as close to its ends as possible. */
static void watch_by(struct found *found, struct perf *perf, struct instance *instance) {
    struct watching *watching = &found->watching;
    struct counters counters;
    open_counters(&counters, NULL);
    found->aborts.before = read_aborts(&counters);
    start(perf, instance);
    watching->began = now();
    watching->cpu = cpu_time();
    watching->seconds = time_to_watch(found->asked);
    found->aborts.at_start = read_aborts(&counters);
    while (now() < watching->began + watching->seconds && !time_is_up) {
        if (perf) {
            read_perf(perf, watching);
        } else {
            read_instance(instance, watching);
        }
    }
    found->aborts.at_end = read_aborts(&counters);
    found->seconds = now() - watching->began;
    stop(perf, instance, watching);
    found->aborts.after = read_aborts(&counters);
    close_counters(&counters);
}

/* Watches by perf_event_open(2), or else by a tracing instance. */
static void watch_somehow(struct found *found) {
    struct watch_problem first = {0}, second = {0};
    struct instance *instance = NULL;
    struct perf *perf = open_perf(&found->watching, &first);
    if (!perf) {
        add_note(&found->notes, "tracefs was used: %s", first.text);
        instance = open_instance(&found->watching, &second);
    }
    if (perf || instance) {
        found->method = perf ? "perf_event_open" : "tracefs";
        watch_by(found, perf, instance);
    } else {
        watch_fails(&found->problem, PARANOID, "%.200s, and %.200s", first.text, second.text);
    }
    close_perf(perf);
    close_instance(instance);
}

/* Returns false with the problem if this process cannot watch. */
static bool prepare(struct found *found, bool with_peers) {
    struct watching *watching = &found->watching;
    if (geteuid() != 0) {
        return watch_fails(&found->problem, "set become: true", "watching needs root");
    }
    if (!open_tracepoint(&watching->point, &found->problem)) {
        return false;
    }
    remove_old_instances(watching->point.root);
    watching->has_symbols = read_symbols(&watching->symbols);
    watching->owners = begin_owners();
    watching->ports = begin_ports();
    watching->rows = begin_rows(with_peers);
    if (!watching->owners || !watching->ports || !watching->rows) {
        return watch_fails(&found->problem, "free -m", "this host has too little memory to watch");
    }
    add_unread_owners(&found->unread, watching, &found->notes);
    return true;
}

/* ---- the reply */

static bool has_aborts(const struct aborts *aborts) {
    return aborts->before >= 0 && aborts->at_start >= 0 && aborts->at_end >= 0 &&
           aborts->after >= 0;
}

/* Notes where what was named differs from the host's own counter. */
static void note_difference(struct found *found) {
    const struct watching *watching = &found->watching;
    const struct aborts *aborts = &found->aborts;
    long long named = unread_resets(watching->rows, watching->owners, "");
    long long sure = named - guessed_owners(watching->owners);
    long long possible = named + unread_resets(watching->rows, watching->owners, UNKNOWN_NAMESPACE);
    bool is_within = possible >= aborts->at_end - aborts->at_start - watching->lost &&
                     sure <= aborts->after - aborts->before;
    if (has_aborts(aborts) && !watching->is_sampled && !is_within) {
        add_note(&found->notes,
                 "%lld resets for unread data were named in this namespace, and its "
                 "TCPAbortOnClose moved by %lld",
                 named, aborts->after - aborts->at_start);
    }
}

/* Adds what qualifies the counts. */
static void add_notes(struct found *found, long long events) {
    const struct watching *watching = &found->watching;
    if (found->seconds < found->asked - 0.5) {
        add_note(&found->notes, "watched for %.1f s of %.1f s: the probe's time was over",
                 found->seconds, found->asked);
    }
    if (watching->is_sampled) {
        add_note(&found->notes,
                 "too many resets to read them all: %lld of %lld were read, in a part of the time",
                 watching->named, events);
    } else if (watching->lost) {
        add_note(&found->notes, "%lld resets found no room in the buffer", watching->lost);
    }
    if (!watching->has_symbols && *found->method == 'p' && watching->named) {
        add_note(&found->notes,
                 "the kernel hides the addresses of its functions (kernel.kptr_restrict): why a "
                 "connection was given up is not always known, and then \"other\"");
    }
    note_difference(found);
}

static void add_found(struct text *json, struct found *found) {
    struct watching *watching = &found->watching;
    long long events = watching->counted - watching->left_out;
    events = events < watching->named ? watching->named : events;
    add_notes(found, events);
    text_format(json, "{\"seconds\":%.6f,\"method\":\"%s\",\"told_by\":\"%s\"", found->seconds,
                found->method, watching->point.codes ? "reason" : "stack");
    text_format(json, ",\"events\":%lld,\"named\":%lld,\"lost\":%lld,\"sampled\":%s", events,
                watching->named, watching->lost, watching->is_sampled ? "true" : "false");
    if (has_aborts(&found->aborts)) {
        text_format(json, ",\"aborts_on_close\":%lld",
                    found->aborts.after - found->aborts.at_start);
    }
    text_put(json, ",\"resets\":");
    add_reset_rows(json, watching->rows, watching->owners);
    text_format(json, ",\"unread\":%s", found->unread.is_cut ? "null" : found->unread.data);
    text_format(json, ",\"notes\":[%s]", found->notes.count ? found->notes.json.data : "");
}

static void add_problem(struct text *json, const struct watch_problem *problem) {
    text_put(json, "{\"problem\":");
    text_json(json, problem->text);
    text_put(json, ",\"hint\":");
    text_json(json, problem->hint);
}

void watch_host(struct text *json, const struct watch_request *asked) {
    static struct found found = {.method = "", .unread.limit = 1024 * 1024};
    double cpu = cpu_time();
    found.asked = asked->seconds;
    found.watching.point.root = -1;
    begin_notes(&found.notes);
    if (prepare(&found, asked->peers)) {
        watch_somehow(&found);
    }
    if (*found.problem.text) {
        add_problem(json, &found.problem);
    } else {
        add_found(json, &found);
    }
    text_format(json, ",\"cpu_s\":%.6f}", cpu_time() - cpu);
    close_tracepoint(&found.watching.point);
    end_rows(found.watching.rows);
    end_ports(found.watching.ports);
    end_owners(found.watching.owners);
    text_free(&found.unread);
    text_free(&found.notes.json);
}
