/* Moves this process into a private network namespace, if it may make one. */
#define _GNU_SOURCE
#include "namespace.h"

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"

enum { MAX_NAME = 64, MAX_ANSWER = 201 };

bool namespace_id(char *into, size_t size) {
    ssize_t length = readlink("/proc/self/ns/net", into, size - 1);
    into[length > 0 ? length : 0] = 0;
    return !strncmp(into, "net:", 4);
}

/* Maps root of a new user namespace to the user that made it. */
static bool map_user(uid_t uid, gid_t gid, struct failure *failure) {
    char line[MAX_NAME];
    bool is_done = true;
    if (!access("/proc/self/setgroups", F_OK)) { /* since 3.19, and then before gid_map */
        is_done = write_file("/proc/self/setgroups", "deny");
    }
    snprintf(line, sizeof line, "0 %u 1", (unsigned)uid);
    is_done = is_done && write_file("/proc/self/uid_map", line);
    snprintf(line, sizeof line, "0 %u 1", (unsigned)gid);
    is_done = is_done && write_file("/proc/self/gid_map", line);
    return is_done || fail_by_errno(failure);
}

static bool bring_lo_up(struct failure *failure) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail_by_errno(failure);
    }
    bool is_up = !ioctl(fd, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP;
    is_up = is_up && !ioctl(fd, SIOCSIFFLAGS, &request);
    if (!is_up) {
        fail_by_errno(failure);
    }
    close(fd);
    return is_up;
}

bool enter_namespace(struct failure *failure) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char before[MAX_NAME], after[MAX_NAME];
    bool is_known = namespace_id(before, sizeof before);
    if (uid != 0 || unshare(CLONE_NEWNET)) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
            return fail_by_errno(failure);
        }
        if (!map_user(uid, gid, failure)) {
            return false;
        }
    }
    /* That unshare(2) succeeds proves nothing: Ubuntu 24.04's AppArmor then denies what it is
       for. */
    if (!bring_lo_up(failure)) {
        return false;
    }
    if (is_known && namespace_id(after, sizeof after) && !strcmp(before, after)) {
        return fail_with(failure, UNSUPPORTED, "the namespace did not change");
    }
    return true;
}

/* Enters a namespace in a child process, and writes "+" or what failed. */
static void try_and_end(int into) {
    struct failure failure = {0};
    char answer[MAX_ANSWER] = "+";
    if (!enter_namespace(&failure)) {
        message_of(&failure, answer, sizeof answer);
    }
    if (write(into, answer, strlen(answer)) < 0) {
        _exit(1);
    }
    _exit(0);
}

/* Writes why a namespace cannot be entered; returns true if it can: a process that fails halfway
   must not leave this one moved halfway. */
static bool try_in_child(char *reason, size_t size) {
    int ends[2];
    struct failure failure = {0};
    if (pipe(ends)) {
        fail_by_errno(&failure);
        message_of(&failure, reason, (int)size);
        return false;
    }
    pid_t child = fork();
    if (child < 0) {
        char why[MAX_ANSWER];
        fail_by_errno(&failure);
        message_of(&failure, why, sizeof why);
        snprintf(reason, size, "no process could be made: %s", why);
    }
    if (child == 0) {
        close(ends[0]);
        try_and_end(ends[1]);
    }
    close(ends[1]);
    if (child > 0) {
        if (read_all_of(ends[0], reason, size) <= 0) {
            snprintf(reason, size, "no answer");
        }
        waitpid(child, NULL, 0);
    }
    close(ends[0]);
    return !strcmp(reason, "+");
}

bool isolate(char *note, size_t size) {
    char reason[MAX_ANSWER + 64];
    struct failure failure = {0};
    if (try_in_child(reason, sizeof reason)) {
        if (enter_namespace(&failure)) {
            return true;
        }
        message_of(&failure, reason, sizeof reason);
    }
    snprintf(note, size, "no private network namespace (unshare: %s)", reason);
    return false;
}
