/* Names the programs behind processes, from /proc.

   A process that resets by its exit has no executable any more when the kernel reports it, and may
   be gone: so who runs at the beginning is read then, and the kernel tells who begins (note_fork,
   note_command). All is bounded: what does not fit is unknown. */
#define _GNU_SOURCE
#include "watch_owners.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "waiting.h"

enum {
    MAX_OWNERS = 2048,
    PROCESSES = 8192,
    MAX_PROCESSES = 20000,
    CHANGES = 256,
    MAX_CGROUP = 16384,
    MAX_PATH_READ = 4096
};
enum { ID_DIGITS = 12, LONG_ID = 64, MAX_CGROUP_PATH = 1024 };
#define FRESH 1.0                 /* seconds for which what was read of a process is believed */
#define FIRST_LOOK 0.5            /* seconds that the look at all processes may take */
#define READS_EVERY_SECOND 1000.0 /* of processes that begin a program */

const char UNKNOWN_NAMESPACE[] = "unknown";
static const struct owner UNKNOWN = {.namespace = "unknown"};

/* What is known of one process; `number` 0: nothing. */
struct process {
    unsigned number;
    double read_at;
    struct owner owner;
};

/* A process that became another one: who it was before. */
struct change {
    unsigned process;
    uint64_t time;
    struct owner before;
};

struct owners {
    struct owner owner[MAX_OWNERS]; /* of who reset; first UNKNOWN_OWNER and OTHER_OWNER */
    int count;
    struct process process[PROCESSES]; /* by its number modulo PROCESSES: a later one replaces it */
    struct process seen;               /* by look_at_process, `number` 0: nothing */
    struct change change[CHANGES];     /* the last ones */
    unsigned changes;
    char namespace[NAMESPACE_TEXT]; /* the host's own */
    unsigned self;
    long long guessed;      /* lookups of processes that had ended */
    double reads, reads_at; /* how many more programs may be read by then */
};

/* ---- the unit or container: `owners.py` */

/* Returns the place in a path where an id of 64 digits is: at `from`, or behind a later slash, the
   last one first. NULL for none. */
static const char *find_id(const char *path, const char *from) {
    for (const char *at = path + strlen(path); at >= from; at--) {
        bool may_begin = at == from || (at[-1] == '/' && at - 1 >= from);
        if (may_begin && strspn(at, "0123456789abcdef") >= LONG_ID) {
            return at;
        }
    }
    return NULL;
}

/* Writes the container that a path names: of "/docker/6fe0" or "/cri-containerd-6fe0.scope" the
   engine and the first digits of its id. Returns false if it names none. */
static bool find_container(const char *path, char *into, size_t size) {
    static const char *const ENGINES[] = {"docker", "libpod", "crio", "cri-containerd", "kubepods"};
    for (const char *at = path + strlen(path); at-- > path;) {
        for (size_t i = 0; strchr("/-", *at) && i < sizeof ENGINES / sizeof *ENGINES; i++) {
            size_t length = strlen(ENGINES[i]);
            if (strncmp(at + 1, ENGINES[i], length) || !at[1 + length] ||
                !strchr("/.-", at[1 + length])) {
                continue;
            }
            const char *id = find_id(path, at + 2 + length);
            if (id) {
                snprintf(into, size, "%s-%.*s", ENGINES[i], ID_DIGITS, id);
                return true;
            }
        }
    }
    return false;
}

/* Writes the first container of LXC that a path names, "/lxc/web" or "/lxc.payload.web"; returns
   false if it names none. */
static bool find_lxc(const char *path, char *into, size_t size) {
    static const char ALLOWED[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    static const char *const STARTS[] = {"/lxc.payload/", "/lxc.payload.", "/lxc/", "/lxc."};
    for (const char *at = path; (at = strstr(at, "/lxc")); at++) {
        for (size_t i = 0; i < sizeof STARTS / sizeof *STARTS; i++) {
            const char *name = at + strlen(STARTS[i]);
            size_t length = strncmp(at, STARTS[i], strlen(STARTS[i])) ? 0 : strspn(name, ALLOWED);
            if (length) {
                snprintf(into, size, "lxc-%.*s", (int)length, name);
                return true;
            }
        }
    }
    return false;
}

static bool ends_with(const char *part, size_t length, const char *end) {
    size_t size = strlen(end);
    return length > size && !memcmp(part + length - size, end, size);
}

/* Writes the innermost unit of systemd in a path; leaves `into` if there is none. */
static void find_unit(const char *path, char *into, size_t size) {
    while ((path = strchr(path, '/'))) {
        size_t length = strcspn(++path, "/");
        if (ends_with(path, length, ".service") || ends_with(path, length, ".scope")) {
            snprintf(into, size, "%.*s", (int)length, path);
        }
    }
}

/* Returns the path in a line "NUMBER:CONTROLLERS:PATH", of a long one the end. */
static const char *path_of(const char *line) {
    const char *colon = strchr(line, ':'), *path = line;
    const char *second = colon ? strchr(colon + 1, ':') : NULL;
    if (colon) {
        path = second ? second + 1 : colon + 1;
    }
    size_t length = strlen(path);
    return length > MAX_CGROUP_PATH ? path + length - MAX_CGROUP_PATH : path;
}

/* A container in any line comes first, then what the first line names that names anything. */
void unit_of(const char *cgroup, char *into, size_t size) {
    char line[MAX_CGROUP];
    into[0] = 0;
    for (const char *at = cgroup; *at;) {
        size_t length = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, at);
        const char *path = path_of(line);
        if (find_container(path, into, size)) {
            return;
        }
        if (!into[0] && !find_lxc(path, into, size)) {
            find_unit(path, into, size);
        }
        at += length + (at[length] == '\n');
    }
}

/* ---- one process */

static bool read_link(unsigned process, const char *name, char *into, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/%s", process, name);
    ssize_t length = readlink(path, into, size - 1);
    into[length > 0 ? length : 0] = 0;
    return length > 0;
}

static long read_of(unsigned process, const char *name, char *into, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/%s", process, name);
    return read_file(path, into, size);
}

/* Sets a text of an owner, whose unused bytes are zero: owners are compared as a whole. */
static void set_text(char *into, size_t size, const char *text) {
    memset(into, 0, size);
    memcpy(into, text, strnlen(text, size - 1));
}

static void cut_end(char *text, const char *end) {
    size_t length = strlen(text), size = strlen(end);
    if (length > size && !strcmp(text + length - size, end)) {
        text[length - size] = 0;
    }
}

/* Reads where the executable is. */
static bool read_executable(unsigned process, char *into, size_t size) {
    char path[MAX_PATH_READ];
    if (!read_link(process, "exe", path, sizeof path)) {
        return false;
    }
    cut_end(path, " (deleted)"); /* replaced by an upgrade, and still running */
    snprintf(into, size, "%.*s", (int)size - 1, path);
    return true;
}

/* Reads who a process is; returns false if it is gone. What it has no longer stays as it was. */
static bool read_owner(const struct owners *owners, unsigned process, struct owner *owner) {
    char text[MAX_CGROUP], link[OWNER_TEXT];
    if (read_of(process, "comm", text, sizeof text) <= 0) {
        return false;
    }
    text[strcspn(text, "\n")] = 0;
    if (strcmp(owner->command, text)) { /* another process may have its number now */
        set_text(owner->executable, sizeof owner->executable, "");
    }
    set_text(owner->command, sizeof owner->command, text);
    if (read_executable(process, link, sizeof link)) {
        set_text(owner->executable, sizeof owner->executable, link);
    }
    if (read_of(process, "cgroup", text, sizeof text) > 0) {
        unit_of(text, link, sizeof link);
        set_text(owner->unit, sizeof owner->unit, link);
    }
    if (read_link(process, "ns/net", link, sizeof link)) {
        bool is_here = !strcmp(link, owners->namespace);
        set_text(owner->namespace, sizeof owner->namespace, is_here ? "" : link);
    }
    return true;
}

/* Returns the number of an owner that is equal to this one. */
static int number_of(struct owners *owners, const struct owner *owner) {
    for (int i = 0; i < owners->count; i++) {
        if (!memcmp(&owners->owner[i], owner, sizeof *owner)) {
            return i;
        }
    }
    if (owners->count >= MAX_OWNERS) {
        return OTHER_OWNER;
    }
    owners->owner[owners->count] = *owner;
    return owners->count++;
}

/* Returns the place of a process, with what is known of it. */
static struct process *find_process(struct owners *owners, unsigned process) {
    struct process *found = &owners->process[process % PROCESSES];
    if (found->number != process) {
        *found = (struct process){.number = process, .owner = UNKNOWN};
    }
    return found;
}

/* Reads what a process has now, if it is still there. */
static void read_process(const struct owners *owners, struct process *process) {
    if (read_owner(owners, process->number, &process->owner)) {
        process->read_at = now();
    }
}

bool look_at_process(struct owners *owners, unsigned process) {
    owners->seen = *find_process(owners, process);
    if (now() - owners->seen.read_at < FRESH) {
        owners->seen.number = 0;
        return false;
    }
    read_process(owners, &owners->seen);
    return true;
}

/* Returns who a process was at a time, NULL if it is still the same. */
static const struct owner *owner_at(const struct owners *owners, unsigned process, uint64_t time) {
    unsigned first = owners->changes > CHANGES ? owners->changes - CHANGES : 0;
    for (unsigned i = first; time && i < owners->changes; i++) {
        const struct change *change = &owners->change[i % CHANGES];
        if (change->process == process && change->time > time) {
            return &change->before;
        }
    }
    return NULL;
}

int owner_of(struct owners *owners, unsigned process, const char *command, uint64_t time) {
    if (!process) {
        return UNKNOWN_OWNER;
    }
    const struct owner *before = owner_at(owners, process, time);
    if (before) {
        return number_of(owners, before);
    }
    struct process *found = find_process(owners, process);
    if (owners->seen.number == process) {
        *found = owners->seen;
        owners->seen.number = 0;
    } else if (now() - found->read_at >= FRESH) {
        read_process(owners, found);
    }
    struct owner owner = found->owner;
    bool is_gone = now() - found->read_at >= FRESH;
    owners->guessed += is_gone;
    if (is_gone && *command && strcmp(owner.command, command)) {
        owner = UNKNOWN;
        set_text(owner.command, sizeof owner.command, command);
    }
    return number_of(owners, &owner);
}

long long guessed_owners(const struct owners *owners) {
    return owners->guessed;
}

const struct owner *owner_number(const struct owners *owners, int number) {
    return &owners->owner[number];
}

bool is_own_process(const struct owners *owners, unsigned process) {
    return process == owners->self;
}

/* ---- what the kernel tells */

/* Keeps who a process was until now, if anybody knows. */
static void note_change(struct owners *owners, unsigned process, uint64_t time) {
    const struct process *known = &owners->process[process % PROCESSES];
    if (known->number == process) {
        owners->change[owners->changes++ % CHANGES] = (struct change){process, time, known->owner};
    }
    if (owners->seen.number == process) {
        owners->seen.number = 0;
    }
}

void note_fork(struct owners *owners, unsigned process, unsigned parent, uint64_t time) {
    note_change(owners, process, time);
    struct process *known = find_process(owners, parent);
    if (!known->read_at && !*known->owner.command) {
        read_process(owners, known);
    }
    struct owner owner = known->owner; /* its place may be the new one's */
    owners->process[process % PROCESSES] = (struct process){.number = process, .owner = owner};
}

/* Returns whether one more process may be read: many may begin in a second. */
static bool may_read(struct owners *owners) {
    double time = now();
    owners->reads += (time - owners->reads_at) * READS_EVERY_SECOND;
    owners->reads_at = time;
    if (owners->reads > READS_EVERY_SECOND) {
        owners->reads = READS_EVERY_SECOND;
    }
    if (owners->reads < 1) {
        return false;
    }
    owners->reads--;
    return true;
}

void note_command(struct owners *owners, unsigned process, const char *command, bool is_executed,
                  uint64_t time) {
    struct process *found = find_process(owners, process);
    if (is_executed) {
        note_change(owners, process, time);
    }
    set_text(found->owner.command, sizeof found->owner.command, command);
    if (!is_executed) {
        return;
    }
    found->read_at = 0;
    set_text(found->owner.executable, sizeof found->owner.executable, "");
    if (may_read(owners)) {
        read_process(owners, found);
    }
    if (strcmp(found->owner.command, command)) { /* the next program already */
        *found = (struct process){.number = process, .owner = found->owner};
        set_text(found->owner.executable, sizeof found->owner.executable, "");
        set_text(found->owner.command, sizeof found->owner.command, command);
    }
}

void forget_processes(struct owners *owners) {
    memset(owners->process, 0, sizeof owners->process);
    owners->seen.number = 0;
}

/* ---- all of them */

/* Reads who runs now, as far as the time allows. */
static void look_at_all(struct owners *owners) {
    double end = now() + FIRST_LOOK;
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    for (int i = 0; folder && i < MAX_PROCESSES && (entry = readdir(folder)); i++) {
        char *rest;
        unsigned long process = strtoul(entry->d_name, &rest, 10);
        if (process && !*rest) {
            read_process(owners, find_process(owners, (unsigned)process));
        }
        if (time_is_up || now() > end) {
            break;
        }
    }
    if (folder) {
        closedir(folder);
    }
}

struct owners *begin_owners(void) {
    struct owners *owners = calloc(1, sizeof *owners);
    if (!owners) {
        return NULL;
    }
    owners->count = OTHER_OWNER + 1;
    owners->owner[UNKNOWN_OWNER] = UNKNOWN;
    owners->owner[OTHER_OWNER] = UNKNOWN;
    set_text(owners->owner[OTHER_OWNER].command, COMMAND_TEXT, "other");
    owners->self = (unsigned)getpid();
    owners->reads_at = now();
    read_link(owners->self, "ns/net", owners->namespace, sizeof owners->namespace);
    look_at_all(owners);
    return owners;
}

void end_owners(struct owners *owners) {
    free(owners);
}

void add_owner(struct text *json, const struct owner *owner) {
    text_put(json, "{\"executable\":");
    text_json(json, owner->executable);
    text_put(json, ",\"command\":");
    text_json(json, owner->command);
    text_put(json, ",\"unit\":");
    text_json(json, owner->unit);
    text_put(json, ",\"namespace\":");
    text_json(json, owner->namespace);
    text_put(json, "}");
}
