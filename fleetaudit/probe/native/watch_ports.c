/* Tells the port of a service from that of a client.

   The kernel chooses another port for each connection of a client: each would be a row of its own.
   So a port of ip_local_port_range that nobody listens on counts as 0. */
#include "watch_ports.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constants.h"
#include "files.h"
#include "waiting.h"
#include "watch_owners.h"

enum { PORTS = 65536, MAX_NAMESPACES = 64, NAME = 32, MAX_LISTENERS = 20000 };
#define RELIST 0.2 /* seconds between two looks at the listeners of one namespace */

struct listening {
    char namespace[NAME];
    double listed_at;
    uint8_t is_open[PORTS / 8];
};

struct ports {
    int low, high, count;
    struct listening *listening[MAX_NAMESPACES];
};

static bool is_open(const struct listening *listening, int port) {
    return listening->is_open[port / 8] >> port % 8 & 1;
}

/* Adds the listeners of a table of /proc/net, which has them first. */
static void add_listeners(struct listening *listening, const char *path) {
    char line[512];
    FILE *table = fopen(path, "re");
    for (int i = 0; table && i < MAX_LISTENERS && fgets(line, sizeof line, table); i++) {
        unsigned port, state;
        int found = sscanf(line, "%*d: %*[0-9A-Fa-f]:%4x %*[0-9A-Fa-f]:%*4x %2x", &port, &state);
        if (i && (found != 2 || state != LISTEN)) {
            break;
        }
        if (i) {
            listening->is_open[port / 8] |= (uint8_t)(1 << port % 8);
        }
    }
    if (table) {
        fclose(table);
    }
}

static void list(struct listening *listening, unsigned process) {
    char path[64], who[16] = "self";
    if (now() - listening->listed_at < RELIST) {
        return;
    }
    if (*listening->namespace) {
        snprintf(who, sizeof who, "%u", process);
    }
    snprintf(path, sizeof path, "/proc/%s/net/tcp", who);
    add_listeners(listening, path);
    snprintf(path, sizeof path, "/proc/%s/net/tcp6", who);
    add_listeners(listening, path);
    listening->listed_at = now();
}

/* Returns what is known of a namespace; NULL if there is no room for it. */
static struct listening *find_namespace(struct ports *ports, const char *namespace) {
    for (int i = 0; i < ports->count; i++) {
        if (!strcmp(ports->listening[i]->namespace, namespace)) {
            return ports->listening[i];
        }
    }
    struct listening *listening =
        ports->count < MAX_NAMESPACES ? calloc(1, sizeof *listening) : NULL;
    if (listening) {
        snprintf(listening->namespace, NAME, "%s", namespace);
        ports->listening[ports->count++] = listening;
    }
    return listening;
}

struct ports *begin_ports(void) {
    char text[64];
    struct ports *ports = calloc(1, sizeof *ports);
    if (!ports) {
        return NULL;
    }
    bool is_read = read_file("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof text) > 0;
    if (!is_read || sscanf(text, "%5d %5d", &ports->low, &ports->high) != 2) {
        ports->low = 32768;
        ports->high = 60999;
    }
    struct listening *own = find_namespace(ports, "");
    if (own) {
        list(own, 0);
    }
    return ports;
}

void end_ports(struct ports *ports) {
    for (int i = 0; ports && i < ports->count; i++) {
        free(ports->listening[i]);
    }
    free(ports);
}

/* Returns whether a port is known to be one of a service in any namespace. */
static bool is_open_anywhere(const struct ports *ports, int port) {
    for (int i = 0; i < ports->count; i++) {
        if (is_open(ports->listening[i], port)) {
            return true;
        }
    }
    return false;
}

int service_port(struct ports *ports, const char *namespace, unsigned process, int port) {
    bool is_known = strcmp(namespace, UNKNOWN_NAMESPACE) != 0;
    if (port < ports->low || port > ports->high) {
        return port;
    }
    struct listening *listening = find_namespace(ports, is_known ? namespace : "");
    if (!is_known && is_open_anywhere(ports, port)) {
        return port;
    }
    if (!listening) {
        return 0;
    }
    if (!is_open(listening, port)) {
        list(listening, process);
    }
    return is_open(listening, port) ? port : 0;
}
