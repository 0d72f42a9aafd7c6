"""A guest in which programs run that reset their peers, together with the native probe.

Rules: the probe is the real one, as process 1 and with its own request. /init is a small program
that starts the others and then executes the probe, which it has at its end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from fleetaudit.probe.offer import Offer
from tools import native

RESETS = {
    ("fleet-unread", 8001, "unread data"): 16,
    ("fleet-linger", 8002, "linger 0"): 5,
    ("fleet-exiting", 8003, "unread data"): 4,
    ("fleet-waiting", 8004, "exit of a child socket"): 3,
}
"""What the programs do: name, port, reason and number. A last one, fleet-orderly, resets nobody."""

SOURCE = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in here;
static int listener;

static void listen_on(int port) {
    here = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 64)) {
        exit(1);
    }
}

static void connect_to(int *client) {
    char byte = 'x';
    *client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(*client, (void *)&here, sizeof here) || send(*client, &byte, 1, 0) != 1) {
        exit(1);
    }
}

static void accept_one(int *client, int *server) {
    char byte;
    connect_to(client);
    *server = accept(listener, NULL, NULL);
    recv(*server, &byte, 1, MSG_PEEK);
}

static void unread(void) {
    int client, server;
    accept_one(&client, &server);
    close(server);
    close(client);
}

static void drained(int seconds) {
    int client, server;
    char byte;
    struct linger linger = {seconds == 0, seconds};
    accept_one(&client, &server);
    recv(server, &byte, 1, 0);
    setsockopt(server, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(server);
    close(client);
}

static void linger(void) { drained(0); }
static void orderly(void) { drained(-1); }

static void exiting(void) {
    int client, server;
    pid_t child = fork();
    if (child == 0) {
        accept_one(&client, &server);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void waiting(void) {
    static int clients;
    int client;
    connect_to(&client);
    if (++clients == 3) {
        usleep(300000);
        close(listener);
    }
}

static const struct {
    const char *name;
    int port, times;
    void (*make)(void);
} WAYS[] = {
    {"fleet-unread", 8001, 16, unread}, {"fleet-linger", 8002, 5, linger},
    {"fleet-exiting", 8003, 4, exiting}, {"fleet-waiting", 8004, 3, waiting},
    {"fleet-orderly", 8005, 6, orderly},
};

/* Returns whether a process has open what it watches with. */
static int is_watching(const char *process) {
    char path[300], link[300];
    snprintf(path, sizeof path, "/proc/%s/fd", process);
    DIR *folder = opendir(path);
    struct dirent *entry;
    int found = 0;
    while (folder && !found && (entry = readdir(folder))) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        link[length > 0 ? length : 0] = 0;
        found = strstr(link, "perf_event") || strstr(link, "trace_pipe");
    }
    if (folder) {
        closedir(folder);
    }
    return found;
}

static void wait_for_watch(void) {
    for (int found = 0; !found; usleep(100000)) {
        DIR *folder = opendir("/proc");
        struct dirent *entry;
        while (folder && !found && (entry = readdir(folder))) {
            found = is_watching(entry->d_name);
        }
        if (folder) {
            closedir(folder);
        }
    }
    usleep(300000);
}

static void run(int way) {
    wait_for_watch();
    listen_on(WAYS[way].port);
    for (int i = 0; i < WAYS[way].times; i++) {
        WAYS[way].make();
        usleep(10000);
    }
    pause();
}

/* Writes the probe, whose size is the last eight bytes of this program. */
static void write_probe(void) {
    char size[9] = "", data[65536];
    ssize_t count;
    int from = open("/init", O_RDONLY), into = open("/probe", O_WRONLY | O_CREAT, 0755);
    lseek(from, -8, SEEK_END);
    read(from, size, 8);
    long left = atol(size);
    lseek(from, -8 - left, SEEK_END);
    while (left > 0 && (count = read(from, data, sizeof data)) > 0) {
        count = count < left ? count : left;
        write(into, data, count);
        left -= count;
    }
    close(from);
    close(into);
}

int main(int count, char **word) {
    const char *name = strrchr(word[0], '/') ? strrchr(word[0], '/') + 1 : word[0];
    char path[64];
    int ways = sizeof WAYS / sizeof *WAYS;
    (void)count;
    for (int i = 0; i < ways; i++) {
        if (!strcmp(name, WAYS[i].name)) {
            run(i);
        }
    }
    write_probe();
    for (int i = 0; i < ways; i++) {
        snprintf(path, sizeof path, "/%s", WAYS[i].name);
        link("/init", path);
        if (fork() == 0) {
            execl(path, path, NULL);
            _exit(1);
        }
    }
    execv("/probe", word);
    return 1;
}
"""


class ProgramsTogether:
    """What a guest runs: the native probe of an offer, together with the programs of `SOURCE`."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer

    def native(self, architecture: str) -> bytes:
        """Returns /init for an architecture."""
        probe = self.offer.native(architecture)
        return launcher(architecture) + probe + b"%08d" % len(probe)

    def __bytes__(self) -> bytes:
        return bytes(self.offer)


def launcher(architecture: str) -> bytes:
    """Returns the program that starts the others and executes the probe at its end."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.c").write_text(SOURCE)
        return native.build(architecture, Path(folder))
