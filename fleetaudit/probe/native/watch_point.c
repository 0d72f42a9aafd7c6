/* Finds the tracepoint tcp:tcp_send_reset, and reads its records.

   Nothing in a record is taken for granted: the file `format` says where its fields are. From 4.15
   on it has ports and addresses, from 6.10 on two socket addresses and a reason, whose names of
   resets by programs came with 6.12 (include/trace/events/tcp.h, include/net/rstreason.h). */
#define _GNU_SOURCE /* unshare */
#include "watch_point.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failure.h"
#include "files.h"

enum { TRACEFS = 0x74726163, INTERRUPT_FLAGS = 0x18 /* TRACE_FLAG_HARDIRQ, TRACE_FLAG_SOFTIRQ */ };

static const char FOLDER[] = "/sys/kernel/tracing";
static const char EVENT[] = "events/tcp/tcp_send_reset";

static const struct {
    const char *name;
    enum watch_reason reason;
} NAMES[] = {
    {"TCP_ABORT_ON_CLOSE", UNREAD_DATA},
    {"TCP_ABORT_ON_LINGER", LINGER_0},
    {"TCP_ABORT_ON_MEMORY", NO_MEMORY},
    {"TCP_KEEPALIVE_TIMEOUT", KEEPALIVE},
    {"TCP_DISCONNECT_WITH_DATA", DISCONNECTED},
    {"TCP_ABORT_ON_DATA", DATA_AFTER_CLOSE},
    {"TCP_STATE", BY_THE_CALLER},
};

bool watch_fails(struct watch_problem *problem, const char *hint, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    snprintf(problem->hint, sizeof problem->hint, "%s", hint);
    return false;
}

/* ---- where tracefs is */

/* Returns a descriptor of tracefs where it is mounted, else -1. A look at debugfs would mount it
   there, so only what is mounted is looked at. */
static int open_mounted(void) {
    struct mntent entry;
    char line[4096];
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    int fd = -1;
    while (mounts && fd < 0 && getmntent_r(mounts, &entry, line, sizeof line)) {
        if (!strcmp(entry.mnt_type, "tracefs")) {
            fd = open(entry.mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
    }
    if (mounts) {
        endmntent(mounts);
    }
    return fd;
}

/* Room for one descriptor that is sent. */
union descriptor_room {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

/* Sends a number, and with it a descriptor unless that is -1. */
static bool send_descriptor(int socket, int number, int fd) {
    union descriptor_room room = {0};
    struct iovec piece = {&number, sizeof number};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &room;
        message.msg_controllen = CMSG_LEN(sizeof fd);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(socket, &message, 0) >= 0;
}

/* Returns the descriptor that is sent, -1 with the number as errno. */
static int receive_descriptor(int socket) {
    union descriptor_room room = {0};
    int number = EAGAIN, fd = -1;
    struct iovec piece = {&number, sizeof number};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) > 0) {
        const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_type == SCM_RIGHTS) {
            memcpy(&fd, CMSG_DATA(header), sizeof fd);
        }
    }
    errno = number;
    return fd;
}

/* Mounts tracefs where nobody else sees it; returns a descriptor of it, -1 with errno. */
static int mount_privately(void) {
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tracefs", FOLDER, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) {
        return -1;
    }
    return open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Mounts tracefs in a child process; returns a descriptor of it, -1 with errno. It stays usable
   after the child, and with it the mount, is gone. */
static int open_private(void) {
    int ends[2], status;
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends)) {
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        int found = mount_privately();
        _exit(!send_descriptor(ends[1], errno, found));
    }
    close(ends[1]);
    int fd = child < 0 ? -1 : receive_descriptor(ends[0]);
    int number = errno;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    close(ends[0]);
    errno = number;
    return fd;
}

static bool is_tracefs(int fd) {
    struct statfs system;
    return fd >= 0 && !fstatfs(fd, &system) && system.f_type == TRACEFS;
}

/* ---- what a record contains */

/* Returns the number that follows a word, -1 for none. */
static int number_behind(const char *line, const char *word) {
    const char *at = strstr(line, word);
    return at ? atoi(at + strlen(word)) : -1;
}

/* Reads one line, "field:TYPE NAME[SIZE]; offset:8; size:4; ...", into the field of that name. */
static void read_field(struct tracepoint *point, const char *line) {
    const struct {
        const char *name;
        struct field *field;
    } fields[] = {
        {"common_flags", &point->flags}, {"reason", &point->reason}, {"sport", &point->source_port},
        {"saddr", &point->source},       {"daddr", &point->target},  {"saddr_v6", &point->source6},
        {"daddr_v6", &point->target6},
    };
    const char *end = line + strcspn(line, ";[");
    const char *start = end;
    while (start > line && start[-1] != ' ') {
        start--;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        size_t length = strlen(fields[i].name);
        if ((size_t)(end - start) == length && !memcmp(start, fields[i].name, length)) {
            int offset = number_behind(line, "offset:"), size = number_behind(line, "size:");
            bool is_known = offset >= 0 && offset < 4096 && size > 0 && size <= 64;
            *fields[i].field = is_known ? (struct field){offset, size} : (struct field){0, 0};
        }
    }
}

enum watch_reason reason_of_name(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strlen(NAMES[i].name) == length && !memcmp(name, NAMES[i].name, length)) {
            return NAMES[i].reason;
        }
    }
    return NO_PROGRAM;
}

/* Adds a code to the kernel's filter. */
static void add_to_filter(struct tracepoint *point, long code) {
    size_t used = strlen(point->filter);
    snprintf(point->filter + used, sizeof point->filter - used, "%sreason==%ld", used ? "||" : "",
             code);
}

/* Reads the names of the reasons, as "{ 11, "TCP_ABORT_ON_CLOSE" }", and makes the filter. A kernel
   without names for what programs do says NOT_SPECIFIED. */
static void read_reasons(struct tracepoint *point, const char *text) {
    bool tells = strstr(text, "\"TCP_ABORT_ON_CLOSE\"") != NULL;
    memset(point->reason_of, NO_PROGRAM, sizeof point->reason_of);
    while ((text = strchr(text, '{'))) {
        char *end;
        long code = strtol(++text, &end, 10);
        const char *name = strchr(end, '"');
        if (end == text || !name || code < 0 || code >= MAX_CODES) {
            continue;
        }
        size_t length = strcspn(++name, "\"");
        enum watch_reason reason = reason_of_name(name, length);
        if (!tells && !strncmp(name, "NOT_SPECIFIED\"", length + 1)) {
            add_to_filter(point, code);
        } else if (tells && reason != NO_PROGRAM && point->reason_of[code] == NO_PROGRAM) {
            point->reason_of[code] = (unsigned char)reason;
            point->codes++;
            add_to_filter(point, code);
        }
    }
}

bool parse_format(struct tracepoint *point, const char *format) {
    char line[512];
    const char *reasons = strstr(format, "REC->reason");
    for (const char *at = format; (at = strstr(at, "field:")); at++) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        read_field(point, line);
    }
    if (reasons && point->reason.size == 4) {
        read_reasons(point, reasons);
    }
    return point->source.size > 0;
}

static bool read_at(int root, const char *name, char *into, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", EVENT, name);
    int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 && read_all_of(fd, into, size) > 0;
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = number;
    return is_read;
}

/* Returns false with why tracefs cannot be used, and what an administrator can look at. */
__attribute__((format(printf, 2, 3))) static bool fail_to_use(struct watch_problem *problem,
                                                              const char *format, ...) {
    static const char LOCKDOWN[] = "/sys/kernel/security/lockdown";
    char why[200], text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    if (read_file(LOCKDOWN, text, sizeof text) > 0 && strstr(text, "[confidentiality]")) {
        return watch_fails(problem, "cat /sys/kernel/security/lockdown",
                           "the kernel's lockdown keeps tracefs closed");
    }
    if (access(FOLDER, F_OK)) {
        return watch_fails(problem, "ls -d /sys/kernel/tracing",
                           "this kernel has no tracefs: there is no folder %s", FOLDER);
    }
    return watch_fails(problem, "grep CapEff /proc/self/status",
                       "tracefs cannot be used: %s; it needs CAP_SYS_ADMIN outside a container",
                       why);
}

bool open_tracepoint(struct tracepoint *point, struct watch_problem *problem) {
    char format[MAX_FORMAT], id[32];
    point->root = open_mounted();
    if (point->root < 0) {
        point->root = open_private();
    }
    if (point->root < 0) {
        struct failure failure;
        char why[128];
        fail_by_errno(&failure);
        message_of(&failure, why, sizeof why);
        return fail_to_use(problem, "%s", why);
    }
    if (!is_tracefs(point->root) || faccessat(point->root, "events", F_OK, 0)) {
        return fail_to_use(problem, "its folder is empty");
    }
    if (faccessat(point->root, EVENT, F_OK, 0) && is_absent(errno)) {
        return watch_fails(
            problem, "uname -r",
            "this kernel has no tracepoint tcp:tcp_send_reset; it came with Linux 4.15");
    }
    if (!read_at(point->root, "id", id, sizeof id) ||
        !read_at(point->root, "format", format, sizeof format)) {
        return fail_to_use(problem, "its files cannot be read (%s)", error_name(errno));
    }
    point->id = strtoul(id, NULL, 10);
    return parse_format(point, format) ||
           watch_fails(problem, "cat /sys/kernel/tracing/events/tcp/tcp_send_reset/format",
                       "the format of tcp:tcp_send_reset has other fields than expected");
}

void close_tracepoint(struct tracepoint *point) {
    if (point->root >= 0) {
        close(point->root);
    }
    point->root = -1;
}

/* ---- one record */

/* Copies a field; returns false if the record does not have it. */
static bool copy_field(struct field field, const uint8_t *record, size_t size, void *into,
                       size_t length) {
    if ((size_t)field.size < length || (size_t)field.offset + length > size) {
        return false;
    }
    memcpy(into, record + field.offset, length);
    return true;
}

static void map_ipv4(const void *address, uint8_t into[ADDRESS_SIZE]) {
    memset(into, 0, ADDRESS_SIZE);
    into[10] = into[11] = 0xFF;
    memcpy(into + 12, address, 4);
}

/* Reads the two socket addresses of newer kernels; returns false if there are none. */
static bool read_socket_addresses(const struct tracepoint *point, const uint8_t *record,
                                  size_t size, struct reset *reset) {
    struct sockaddr_in6 near, far;
    struct sockaddr_in far4;
    if (!copy_field(point->source, record, size, &near, sizeof near) ||
        !copy_field(point->target, record, size, &far, sizeof far)) {
        return false;
    }
    reset->port = ntohs(near.sin6_port); /* at the same place in sockaddr_in */
    reset->has_peer = true;
    if (far.sin6_family == AF_INET6) {
        memcpy(reset->peer, &far.sin6_addr, ADDRESS_SIZE);
    } else {
        memcpy(&far4, &far, sizeof far4);
        map_ipv4(&far4.sin_addr, reset->peer);
    }
    return true;
}

bool read_record(const struct tracepoint *point, const uint8_t *record, size_t size,
                 struct reset *reset) {
    uint32_t code;
    uint16_t port;
    uint8_t flags = 0;
    reset->reason = NOT_REPORTED;
    if (point->codes && copy_field(point->reason, record, size, &code, sizeof code)) {
        bool is_known = code < MAX_CODES;
        reset->reason = is_known ? (enum watch_reason)point->reason_of[code] : NO_PROGRAM;
    }
    if (!read_socket_addresses(point, record, size, reset)) {
        if (copy_field(point->source_port, record, size, &port, sizeof port)) {
            reset->port = port;
        }
        /* of IPv4, the mapped address */
        reset->has_peer = copy_field(point->target6, record, size, reset->peer, ADDRESS_SIZE);
    }
    copy_field(point->flags, record, size, &flags, sizeof flags);
    return !(flags & INTERRUPT_FLAGS);
}
