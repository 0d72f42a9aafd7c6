/* Runs as process 1 of a guest: mounts, sets sysctls, runs the probe as its child, sends what it
   prints, powers off.

   `transport/kernel/console.py` has the format of the lines that are sent. They go over a port of
   their own, so that the kernel's log cannot come between. */
#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "files.h"
#include "pack.h"
#include "text.h"

/* A piece of output is sent compressed (RFC 1950): a byte on an emulated serial port costs more
   than to save it, and its checksum shows a damaged line. */
enum { PIECE = 48 * 1024, MAX_LINE = 128 * 1024 };

static const char SYSCTLS[] = "/fleetaudit/sysctls"; /* KEY=VALUE, one a line */
static const char PORT_NODE[] = "/dev/fleetaudit";
static const char PORT_VARIABLE[] = "FLEETAUDIT_PORT"; /* the kernel's command line sets it */

static int port = -1;

/* Ends the guest. QEMU ends at a restart as well, which needs no support of a kernel, and where a
   guest cannot power off either halts it; process 1 must not end. */
static void end_guest(void) {
    static const int COMMANDS[] = {RB_AUTOBOOT, RB_POWER_OFF, RB_HALT_SYSTEM};
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        reboot(COMMANDS[i]);
    }
    for (;;) {
        pause();
    }
}

/* Says on the console why this guest runs nothing, and ends it. */
static void give_up(const char *what) {
    fprintf(stderr, "fleetaudit: %s: %s\n", what, strerror(errno));
    tcdrain(STDERR_FILENO);
    end_guest();
}

static void mount_at(const char *type, const char *folder) {
    mkdir(folder, 0755);
    if (mount(type, folder, type, 0, NULL)) {
        give_up(folder);
    }
}

/* ---- what is sent */

static void write_all(const char *data, size_t length) {
    while (length) {
        ssize_t count = write(port, data, length);
        if (count < 0 && errno != EINTR) {
            give_up("cannot write to the port");
        }
        if (count > 0) {
            data += count;
            length -= (size_t)count;
        }
    }
}

/* Sends one line: the letter, a blank, the value in base64. */
static void send_value(char letter, const uint8_t *value, size_t size,
                       void (*add)(struct text *, const uint8_t *, size_t)) {
    struct text line = {.limit = MAX_LINE};
    text_format(&line, "%c ", letter);
    add(&line, value, size);
    text_put(&line, "\n");
    if (line.is_cut) {
        errno = ENOMEM;
        give_up("a line of output");
    }
    write_all(line.data, line.length);
    text_free(&line);
}

static void send_string(char letter, const char *string) {
    send_value(letter, (const uint8_t *)string, strlen(string), add_base64);
}

/* ---- what the guest is */

/* Opens the port by its number in /sys: so the kernel needs no devtmpfs. */
static void open_port(void) {
    char path[128], number[32];
    unsigned major_number, minor_number;
    snprintf(path, sizeof path, "/sys/class/tty/%s/dev", getenv(PORT_VARIABLE));
    if (read_file(path, number, sizeof number) < 0) {
        give_up(path);
    }
    if (sscanf(number, "%u:%u", &major_number, &minor_number) != 2) {
        give_up(path);
    }
    if (mknod(PORT_NODE, S_IFCHR | 0600, makedev(major_number, minor_number)) && errno != EEXIST) {
        give_up(PORT_NODE);
    }
    port = open(PORT_NODE, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (port < 0) {
        give_up(path);
    }
    struct termios settings;
    if (!tcgetattr(port, &settings)) {
        cfmakeraw(&settings);
        tcsetattr(port, TCSANOW, &settings);
    }
}

/* Brings lo up, as it is on every real host, for experiments in the host's own namespace. */
static void bring_lo_up(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (!ioctl(fd, SIOCGIFFLAGS, &request)) {
        request.ifr_flags |= IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

/* Sets one sysctl; sends its name, and why, if that fails. */
static bool set_sysctl(char *line) {
    char path[512], problem[512];
    char *value = strchr(line, '=');
    line[strcspn(line, "\n")] = 0;
    if (!value) {
        return true;
    }
    *value++ = 0;
    if (sysctl_path(line, path, sizeof path) && write_file(path, value)) {
        return true;
    }
    snprintf(problem, sizeof problem, "%.256s=%s", line, strerror(errno));
    send_string('s', problem);
    return false;
}

static bool set_sysctls(void) {
    char line[4096];
    bool all_set = true;
    FILE *file = fopen(SYSCTLS, "re");
    if (!file) {
        give_up(SYSCTLS);
    }
    while (fgets(line, sizeof line, file)) {
        all_set = set_sysctl(line) && all_set;
    }
    fclose(file);
    return all_set;
}

/* ---- the probe's process */

/* Reaps every process that ended (orphans become children of process 1). Returns whether the probe
   is one of them, and its status. */
static bool reap(pid_t probe, int *status) {
    int each;
    pid_t ended;
    bool found = false;
    while ((ended = waitpid(-1, &each, WNOHANG)) > 0) {
        if (ended == probe) {
            *status = each;
            found = true;
        }
    }
    return found;
}

/* Sends what there is to read; returns false at the end of it. */
static bool send_some(int fd, char letter) {
    static uint8_t piece[PIECE];
    ssize_t count = read(fd, piece, sizeof piece);
    if (count > 0) {
        send_value(letter, piece, (size_t)count, add_packed);
    }
    return count > 0 || (count < 0 && errno == EINTR);
}

/* Sends what the probe prints until it has ended and nothing more is there: a process that it left
   behind may hold a pipe open. Returns its status. */
static int forward(pid_t probe, const int output[2], const sigset_t *child_ended) {
    static const char LETTERS[2] = {'o', 'e'};
    int status = 0;
    bool has_ended = false;
    struct pollfd ready[3] = {
        {.fd = output[0], .events = POLLIN},
        {.fd = output[1], .events = POLLIN},
        {.fd = signalfd(-1, child_ended, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN},
    };
    while (poll(ready, 3, has_ended ? 0 : -1) > 0) {
        struct signalfd_siginfo ignored;
        for (int i = 0; i < 2; i++) {
            if (ready[i].revents && !send_some(ready[i].fd, LETTERS[i])) {
                ready[i].fd = -1;
            }
        }
        if (ready[2].revents && read(ready[2].fd, &ignored, sizeof ignored) > 0) {
            has_ended = reap(probe, &status) || has_ended;
        }
    }
    return status;
}

/* Makes this process the probe's: with the pipes as its output, and nothing to read. */
static void become_child(const int output[2], const sigset_t *mask) {
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(output[0], STDOUT_FILENO);
    dup2(output[1], STDERR_FILENO);
    sigprocmask(SIG_SETMASK, mask, NULL);
    close(port);
    setsid();
}

/* Starts the probe and sends what it prints. Returns true in its process. */
static bool run_probe(void) {
    int out[2], err[2];
    sigset_t child_ended, before;
    char digits[16];
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, &before);
    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
        give_up("pipe");
    }
    pid_t probe = fork();
    if (probe < 0) {
        give_up("fork");
    }
    if (!probe) {
        become_child((const int[2]){out[1], err[1]}, &before);
        return true;
    }
    close(out[1]);
    close(err[1]);
    int status = forward(probe, (const int[2]){out[0], err[0]}, &child_ended);
    snprintf(digits, sizeof digits, "%d",
             WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    send_string('x', digits);
    return false;
}

bool is_guest(void) {
    return getpid() == 1 && getenv(PORT_VARIABLE);
}

void run_as_init(void) {
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");
    open_port();
    send_string('b', "");
    bring_lo_up();
    if (set_sysctls() && run_probe()) {
        return;
    }
    tcdrain(port);
    end_guest();
}
