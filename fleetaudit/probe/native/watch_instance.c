/* Reads RSTs through a tracing instance of its own, where perf_event_open(2) is refused.

   A guardian, a process of its own, removes it when this one ends, however it ends. If both are
   killed, the next watch removes it: its name has the number of the process. */
#define _GNU_SOURCE /* pipe2 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failure.h"
#include "files.h"
#include "waiting.h"
#include "watch_events.h"

enum { MAX_NAME = 64, MAX_LINE = 4096, MAX_BUFFER = 65536, POLL_MS = 50, TRIES = 50 };
enum { MAX_WAITING = 64, MAX_CPUS = 4096, MAX_LOST = 1 << 30 };
#define LEAST_REST 0.01
static const char PREFIX[] = "fleetaudit-";

/* A RST whose line was read, and not yet its stack. */
struct traced {
    bool is_used;
    int cpu;
    struct reset reset;
    unsigned long line_process; /* as the line has it */
};

/* `lifeline` is the end of a pipe: the guardian acts when nobody holds it any more. `current` is
   the RST whose stack is read. */
struct instance {
    int folder, pipe, lifeline;
    pid_t guardian;
    size_t used;
    struct traced waiting[MAX_WAITING], current;
    int frames;
    enum part frame[MAX_FRAMES];
    char buffer[MAX_BUFFER];
};

static bool put_at(int folder, const char *name, const char *text) {
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) >= 0;
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = number;
    return is_written;
}

/* Removes an instance, which is busy while somebody still reads it. */
static void remove_instance(int root, const char *name) {
    for (int i = 0; i < TRIES && unlinkat(root, name, AT_REMOVEDIR) && errno == EBUSY; i++) {
        poll(NULL, 0, 20);
    }
}

void remove_old_instances(int root) {
    int fd = openat(root, "instances", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    char path[MAX_NAME + 16];
    while (folder && (entry = readdir(folder))) {
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) || strlen(entry->d_name) > MAX_NAME) {
            continue;
        }
        int process = atoi(entry->d_name + sizeof PREFIX - 1);
        if (process > 0 && kill(process, 0) && errno == ESRCH) {
            snprintf(path, sizeof path, "instances/%.*s", MAX_NAME, entry->d_name);
            unlinkat(root, path, AT_REMOVEDIR);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

/* Waits until nobody holds the other end, then removes the instance. */
static void guard(int root, const char *name, int end) {
    sigset_t all;
    char ignored;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    while (read(end, &ignored, 1) < 0 && errno == EINTR) {
        continue;
    }
    remove_instance(root, name);
    _exit(0);
}

/* Starts the guardian; returns false with errno. */
static bool start_guardian(struct instance *instance, int root, const char *name) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        return false;
    }
    instance->guardian = fork();
    if (instance->guardian == 0) {
        close(ends[1]);
        close(STDOUT_FILENO); /* whoever reads the reply waits for its end */
        close(STDERR_FILENO);
        guard(root, name, ends[0]);
    }
    close(ends[0]);
    instance->lifeline = ends[1];
    return instance->guardian > 0;
}

/* Sets what the instance reports; returns false with errno. */
static bool set_up(struct instance *instance, const struct tracepoint *point) {
    int folder = instance->folder;
    put_at(folder, "buffer_size_kb", "256"); /* of each CPU: the default is larger */
    if (*point->filter) {                    /* without it all are read */
        put_at(folder, "events/tcp/tcp_send_reset/filter", point->filter);
    }
    put_at(folder, "options/stacktrace", "1");
    instance->pipe = openat(folder, "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return instance->pipe >= 0;
}

static bool make_instance(struct instance *instance, const struct tracepoint *point) {
    char name[MAX_NAME];
    snprintf(name, sizeof name, "instances/%s%d", PREFIX, (int)getpid());
    if (!start_guardian(instance, point->root, name) || mkdirat(point->root, name, 0700)) {
        return false;
    }
    instance->folder = openat(point->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return instance->folder >= 0 && set_up(instance, point);
}

struct instance *open_instance(const struct watching *watching, struct watch_problem *problem) {
    struct instance *instance = malloc(sizeof *instance);
    if (instance) {
        memset(instance, 0, offsetof(struct instance, buffer));
        instance->folder = instance->pipe = instance->lifeline = -1;
    }
    if (instance && make_instance(instance, &watching->point)) {
        return instance;
    }
    watch_fails(problem, "", "a tracing instance is refused (%s)", error_name(errno));
    close_instance(instance);
    return NULL;
}

static void close_end(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

void close_instance(struct instance *instance) {
    if (!instance) {
        return;
    }
    if (instance->folder >= 0) {
        put_at(instance->folder, "events/tcp/tcp_send_reset/enable", "0");
    }
    close_end(instance->pipe);
    close_end(instance->folder);
    close_end(instance->lifeline);
    while (instance->guardian > 0 && waitpid(instance->guardian, NULL, 0) < 0 && errno == EINTR) {
        continue;
    }
    free(instance);
}

/* ---- what it prints

    nginx-812  [001] ..... 42.042: tcp_send_reset: ... src=127.0.0.1:80 dest=127.0.0.1:4711 ...
    nginx-812  [001] ..... 42.042: <stack trace>
     => tcp_send_active_reset
     => __tcp_close

   Lines of other CPUs may come between a RST and its stack. */

/* Returns the text behind a word, NULL without it. */
static const char *behind(const char *text, const char *word) {
    const char *at = strstr(text, word);
    return at ? at + strlen(word) : NULL;
}

/* Reads the port at the end of an address, "127.0.0.1:80" or "[::1]:80". */
static int port_of(const char *address) {
    size_t length = strcspn(address, " \n");
    while (length && address[length - 1] != ':') {
        length--;
    }
    return length ? atoi(address + length) : 0;
}

/* Reads an address, which a port or a blank follows; returns false if it is none. */
static bool read_address(const char *text, bool has_port, uint8_t into[ADDRESS_SIZE]) {
    static const uint8_t MAPPED[ADDRESS_SIZE] = {[10] = 0xFF, [11] = 0xFF};
    char address[64];
    size_t length = strcspn(text, " \n");
    while (has_port && length && text[--length] != ':') {
        continue;
    }
    bool is_quoted = length > 1 && text[0] == '[';
    snprintf(address, sizeof address, "%.*s", (int)(length - 2 * is_quoted), text + is_quoted);
    memcpy(into, MAPPED, ADDRESS_SIZE);
    return inet_pton(AF_INET6, address, into) == 1 || inet_pton(AF_INET, address, into + 12) == 1;
}

/* Reads what the line tells of the connection. */
static void read_words(const struct tracepoint *point, const char *words, struct reset *reset) {
    const char *source = behind(words, " src="), *port = behind(words, " sport=");
    const char *target = behind(words, " dest="), *target6 = behind(words, " daddrv6=");
    const char *reason = behind(words, " reason=");
    reset->port = source ? port_of(source) : port ? atoi(port) : 0;
    reset->port = reset->port >= 0 && reset->port <= 0xFFFF ? reset->port : 0;
    reset->reason = NOT_REPORTED;
    if (target || target6) {
        reset->has_peer = read_address(target ? target : target6, target != NULL, reset->peer);
    }
    if (point->codes && reason) {
        reset->reason = reason_of_name(reason, strcspn(reason, " \n"));
    }
}

/* Reads what is in front of the words: "nginx-812 [001] ..s1. 42.042: ". The third flag is not a
   dot in an interrupt (Documentation/trace/ftrace.rst). Returns false for another kind of line. */
static bool read_task(const char *line, const char *words, struct traced *traced) {
    const char *bracket = NULL;
    for (const char *at = line; (at = strstr(at, " [")) && at < words; at++) {
        bracket = at; /* the last one: a command may contain it */
    }
    const char *flags = bracket ? strchr(bracket, ']') : NULL;
    const char *dash = bracket;
    while (dash && dash > line && *dash != '-') {
        dash--;
    }
    if (!flags || *dash != '-') {
        return false;
    }
    flags += 1 + strspn(flags + 1, " ");
    traced->cpu = atoi(bracket + 2);
    traced->line_process = strtoul(dash + 1, NULL, 10);
    bool is_interrupt = strcspn(flags, " ") > 2 && strchr("hHsZz", flags[2]);
    const char *name = line + strspn(line, " ");
    if (name < dash) {
        snprintf(traced->reset.command, sizeof traced->reset.command, "%.*s", (int)(dash - name),
                 name);
    }
    traced->reset.process = is_interrupt ? 0 : (unsigned)traced->line_process;
    return true;
}

/* Counts the RST whose stack was read. */
static void end_current(struct instance *instance, struct watching *watching) {
    if (instance->current.is_used) {
        take_reset(watching, &instance->current.reset, instance->frame, instance->frames);
    }
    instance->current.is_used = false;
    instance->frames = 0;
}

/* Returns the place of the RST of a process on a CPU, a free one for a new RST, NULL for none. */
static struct traced *find_waiting(struct instance *instance, const struct traced *wanted) {
    struct traced *free_place = NULL;
    for (int i = 0; i < MAX_WAITING; i++) {
        struct traced *each = &instance->waiting[i];
        if (each->is_used && each->cpu == wanted->cpu &&
            each->line_process == wanted->line_process) {
            return each;
        }
        free_place = each->is_used ? free_place : each;
    }
    return wanted->is_used ? free_place : NULL;
}

static void take_line(struct instance *instance, struct watching *watching, const char *line) {
    struct traced traced = {0};
    if (!strncmp(line, " => ", 4)) {
        const char *name = line + 4;
        if (instance->frames < MAX_FRAMES) {
            instance->frame[instance->frames++] = part_of_name(name, strcspn(name, "+ <"));
        }
        return;
    }
    end_current(instance, watching);
    const char *words = behind(line, ": tcp_send_reset:"), *stack = behind(line, ": <stack trace>");
    const char *lost = behind(line, " [LOST ");
    if (words && read_task(line, words, &traced)) {
        traced.is_used = true;
        read_words(&watching->point, words, &traced.reset);
        struct traced *place = find_waiting(instance, &traced);
        if (place) {
            *place = traced;
        }
    } else if (stack && read_task(line, stack, &traced)) {
        struct traced *place = find_waiting(instance, &traced);
        if (place) {
            instance->current = *place;
            place->is_used = false;
        }
    } else if (lost) {
        long long entries = strtoll(lost, NULL, 10); /* a RST and its stack are two */
        watching->lost += entries > 0 && entries < MAX_LOST ? entries / 2 : 0;
    }
}

/* Takes the whole lines of the buffer; what is longer than a line is dropped. */
static void take_lines(struct instance *instance, struct watching *watching) {
    char *line = instance->buffer, *end;
    while ((end = memchr(line, '\n', instance->used - (size_t)(line - instance->buffer)))) {
        *end = 0;
        take_line(instance, watching, line);
        line = end + 1;
    }
    instance->used -= (size_t)(line - instance->buffer);
    memmove(instance->buffer, line, instance->used);
    if (instance->used > MAX_LINE) {
        instance->used = 0;
    }
}

/* Reads what there is, as far as that is allowed; the kernel overwrites what is not read. */
static void read_pipe(struct instance *instance, struct watching *watching) {
    while (!time_is_up && may_read_more(watching)) {
        ssize_t count = read(instance->pipe, instance->buffer + instance->used,
                             sizeof instance->buffer - 1 - instance->used);
        if (count <= 0) {
            return;
        }
        instance->used += (size_t)count;
        take_lines(instance, watching);
    }
}

void start_instance(struct instance *instance) {
    put_at(instance->folder, "events/tcp/tcp_send_reset/enable", "1");
}

void read_instance(struct instance *instance, struct watching *watching) {
    struct pollfd ready = {.fd = instance->pipe, .events = POLLIN};
    double remaining = watching->began + watching->seconds - now();
    int most = remaining * 1000 < POLL_MS ? (int)(remaining * 1000) : POLL_MS;
    poll(&ready, 1, most > 0 ? most : 0);
    read_pipe(instance, watching);
    pause_for(LEAST_REST);
}

/* Adds the entries that the buffer of one CPU had, read or not. */
static long long entries_of(int folder, int cpu) {
    static const char *const NAMES[] = {
        "entries: ", "overrun: ", "dropped events: ", "read events: "};
    char path[64], text[1024];
    long long entries = 0;
    snprintf(path, sizeof path, "per_cpu/cpu%d/stats", cpu);
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    long length = read_all_of(fd, text, sizeof text);
    close(fd);
    for (size_t i = 0; length > 0 && i < sizeof NAMES / sizeof *NAMES; i++) {
        const char *number = behind(text, NAMES[i]);
        bool is_at_start = number && (number - strlen(NAMES[i]) == text ||
                                      number[-(long)strlen(NAMES[i]) - 1] == '\n');
        entries += is_at_start ? strtoll(number, NULL, 10) : 0;
    }
    return entries;
}

void stop_instance(struct instance *instance, struct watching *watching) {
    put_at(instance->folder, "events/tcp/tcp_send_reset/enable", "0");
    read_pipe(instance, watching);
    end_current(instance, watching);
    for (int i = 0; i < MAX_WAITING; i++) { /* whose stack did not come */
        if (instance->waiting[i].is_used) {
            take_reset(watching, &instance->waiting[i].reset, NULL, 0);
        }
    }
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        long long entries = entries_of(instance->folder, cpu);
        watching->counted += entries > 0 ? entries / 2 : 0; /* a RST and its stack are two */
    }
}
