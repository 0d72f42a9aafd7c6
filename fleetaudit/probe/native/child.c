/* Runs a child process that holds copies of sockets. */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system.h"
#include "waiting.h"

enum { EXEC_FAILED = 97 };

/* The name under which a child executes this program where there is no other. */
static char STARTED_BY_CHILD[] = "fleetaudit-true";

bool is_started_by_child(int arguments, char *const *argument) {
    return arguments == 1 && strcmp(argument[0], STARTED_BY_CHILD) == 0;
}

static void execute_something(void) {
    char name[] = "true";
    execv("/bin/true", (char *[]){name, NULL});
    execv("/proc/self/exe", (char *[]){STARTED_BY_CHILD, NULL});
    _exit(EXEC_FAILED);
}

/* Waits in the child for its end, and ends: `control` gives nothing if the parent is gone. */
static _Noreturn void live(int start, int control) {
    char order = 0;
    signal(SIGTERM, SIG_DFL);
    if (write(start, ".", 1) != 1) {
        _exit(0);
    }
    close(start);
    if (read(control, &order, 1) == 1 && order == 'e') {
        execute_something();
    }
    _exit(0);
}

static void close_pipe(const int ends[2]) {
    close(ends[0]);
    close(ends[1]);
}

/* Reads a byte from a pipe; returns false at its end, and once the time is up. */
static bool has_started(int fd) {
    char byte;
    ssize_t count = read(fd, &byte, 1);
    while (count < 0 && errno == EINTR && !time_is_up) {
        count = read(fd, &byte, 1);
    }
    return count == 1;
}

/* Makes the process with two pipes, and returns in this one only. */
static bool fork_child(struct child *child, const int start[2], const int control[2],
                       const int *drop, int count, struct failure *failure) {
    child->control = control[1];
    child->pid = fork();
    if (child->pid < 0) {
        child->pid = 0;
        return fail_with(failure, OUT_OF_RESOURCES, "this host lets the probe make no process (%s)",
                         error_name(errno));
    }
    if (child->pid > 0) {
        return true;
    }
    close(start[0]);
    close(control[1]);
    for (int i = 0; i < count; i++) {
        close_quietly(drop[i]);
    }
    live(start[1], control[0]);
}

bool start_child(struct child *child, const int *drop, int count, struct failure *failure) {
    int start[2], control[2];
    if (pipe2(start, O_CLOEXEC) != 0) {
        return fail_by_errno(failure);
    }
    if (pipe2(control, O_CLOEXEC) != 0) {
        fail_by_errno(failure);
        close_pipe(start);
        return false;
    }
    if (!fork_child(child, start, control, drop, count, failure)) {
        close_pipe(start);
        close_pipe(control);
        return false;
    }
    close(start[1]);
    close(control[0]);
    bool is_started = has_started(start[0]);
    close(start[0]);
    return is_started || fail_with(failure, STEP_FAILED, "the child process did not start");
}

/* Waits until a child is gone, and returns its status. */
static int wait_for_child(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* Tells a child to end; returns false with errno. */
static bool order_end(const struct child *child, const char *how) {
    if (strcmp(how, "kill") == 0) {
        return kill(child->pid, SIGKILL) == 0;
    }
    if (strcmp(how, "term") == 0) {
        return kill(child->pid, SIGTERM) == 0;
    }
    return write(child->control, strcmp(how, "exec") == 0 ? "e" : "x", 1) == 1;
}

bool end_child(struct child *child, const char *how, struct failure *failure) {
    if (!order_end(child, how)) {
        return fail_by_errno(failure);
    }
    int status = wait_for_child(child->pid);
    child->pid = 0;
    close(child->control);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED) {
        return fail_with(failure, UNSUPPORTED, "there is no program to exec");
    }
    return true;
}

void close_child(struct child *child) {
    struct failure ignored;
    if (child->pid) {
        end_child(child, "kill", &ignored);
    }
}
