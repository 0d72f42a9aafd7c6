/* Holds what all trials share, and finds out what this host allows. */
#include "lab.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "listeners.h"
#include "system.h"
#include "verbs.h"
#include "waiting.h"

enum { MAX_CHECKS = 6 }; /* of one family: a host may be stalled for a while */
enum { BACKLOG = 16, MAX_REPEATED = 8192 };

/* Opens the packet socket, or notes why that is not possible. */
static void open_capture_noted(struct lab *lab) {
    struct failure failure;
    char reason[200];
    if (open_capture(&lab->capture, &failure)) {
        return;
    }
    if (is_refused(failure.number)) {
        snprintf(lab->no_capture, sizeof lab->no_capture, "%s", lack_of_raw_sockets());
        snprintf(lab->wire_note, sizeof lab->wire_note, "a packet capture %s", lab->no_capture);
        return;
    }
    message_of(&failure, reason, sizeof reason);
    snprintf(lab->no_capture, sizeof lab->no_capture, "no packet socket: %s", reason);
    snprintf(lab->wire_note, sizeof lab->wire_note, "%s", lab->no_capture);
}

static void forget_listeners(struct lab *lab) {
    for (int family = 0; family < FAMILIES; family++) {
        for (int kind = 0; kind < KINDS; kind++) {
            lab->listener[family][kind] = -1;
        }
    }
}

static void close_listeners(struct lab *lab) {
    for (int family = 0; family < FAMILIES; family++) {
        for (int kind = 0; kind < KINDS; kind++) {
            close_quietly(lab->listener[family][kind]);
        }
    }
    forget_listeners(lab);
}

void open_lab(struct lab *lab, bool is_private, const char *available_ulp) {
    memset(lab, 0, sizeof *lab);
    lab->is_private = is_private;
    snprintf(lab->available_ulp, sizeof lab->available_ulp, "%s", available_ulp);
    stay_on_this_cpu();
    forget_listeners(lab);
    open_counters(&lab->counters, NULL);
    lab->repeated.limit = MAX_REPEATED;
    open_capture_noted(lab);
    open_fence(&lab->fence, is_private);
    lab->raw_socket[0] = lab->raw_socket[1] = -1;
    lab->cheap_listing = -1;
    lab->sock_diag = open_sock_diag(lab->no_sock_diag, sizeof lab->no_sock_diag);
}

void close_lab(struct lab *lab) {
    close_counters(&lab->counters);
    close_capture(&lab->capture);
    close_fence(&lab->fence);
    close_listeners(lab);
    close_quietly(lab->sock_diag);
    for (int i = 0; i < 2; i++) {
        close_quietly(lab->raw_socket[i]);
    }
    text_free(&lab->repeated);
}

bool has_same_abilities(const struct lab *lab, const struct lab *another) {
    return !strcmp(lab->no_capture, another->no_capture) &&
           !strcmp(lab->no_sock_diag, another->no_sock_diag) &&
           (lab->fence.fd < 0) == (another->fence.fd < 0);
}

/* Connects to a listener, and measures how long that takes. */
static bool connect_client(int client, int listener, struct failure *failure) {
    struct address near, far;
    double began = now();
    if (!local_address(listener, &far, failure) || !connect_in_time(client, &far, failure) ||
        !local_address(client, &near, failure)) {
        return false;
    }
    int server = accept_from(listener, &near, failure);
    if (server < 0) {
        return false;
    }
    record_delay(now() - began);
    close_by_reset(server);
    return true;
}

static bool connect_once(enum family family, int listener, struct failure *failure) {
    int client = new_socket(address_family(family), KIND_TCP, failure);
    if (client < 0) {
        return false;
    }
    bool is_connected = connect_client(client, listener, failure);
    close_by_reset(client);
    return is_connected;
}

/* Tries to make a connection over a family, and notes why none can be made. Returns false, with a
   failure, if a resource has run out: that says nothing of the family. */
static bool try_family(struct lab *lab, enum family family, struct failure *failure) {
    const char *name = family == IPV6 ? "IPv6" : "IPv4";
    struct failure *problem = &lab->problem[family];
    char reason[800];
    problem->kind = NO_FAILURE;
    int listener = shared_listener(lab, family, KIND_TCP, failure);
    if (listener >= 0 && connect_once(family, listener, failure)) {
        return true;
    }
    bool lacks_family = failure->number == EADDRNOTAVAIL || failure->number == EAFNOSUPPORT;
    if (lacks_family && listener < 0) {
        lab->checks[family] = MAX_CHECKS;
        fail_with(problem, UNSUPPORTED, "no %s loopback address: %s is switched off on this host",
                  name, name);
        return true;
    }
    if (failure->kind == SYSTEM_ERROR && is_scarce(failure->number)) {
        return false;
    }
    message_of(failure, reason, sizeof reason);
    fail_with(problem, UNSUPPORTED, "no connection over %s loopback: %s", name, reason);
    return true;
}

/* What failed is tried twice for each scenario, up to MAX_CHECKS. */
bool check_family(struct lab *lab, enum family family, struct failure *failure) {
    struct failure *problem = &lab->problem[family];
    for (int i = 0; i < 2; i++) {
        bool is_known_to_work = lab->is_checked[family] && problem->kind == NO_FAILURE;
        if (family == UNIX || is_known_to_work || lab->checks[family] >= MAX_CHECKS) {
            break;
        }
        if (!try_family(lab, family, failure)) {
            return false;
        }
        lab->is_checked[family] = true;
        lab->checks[family]++;
    }
    *failure = *problem;
    return problem->kind == NO_FAILURE;
}

int shared_listener(struct lab *lab, enum family family, enum kind kind, struct failure *failure) {
    int *listener = &lab->listener[family][kind];
    if (*listener < 0) {
        *listener = open_listener(family, kind, BACKLOG, OWN_PORT, failure);
        if (*listener >= 0) {
            watch_ports(lab, 0);
        }
    }
    return *listener;
}

/* Sorted, so that equal ports are the same filter. */
static void add_port(int *ports, int *count, int port) {
    int at = (*count)++;
    for (; at > 0 && ports[at - 1] > port; at--) {
        ports[at] = ports[at - 1];
    }
    ports[at] = port;
}

void watch_ports(struct lab *lab, int extra) {
    int ports[FAMILIES * KINDS + 1], count = 0;
    struct address address;
    struct failure failure;
    if (lab->capture.fd < 0) {
        return;
    }
    for (int family = 0; family < FAMILIES; family++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (lab->listener[family][kind] >= 0 &&
                local_address(lab->listener[family][kind], &address, &failure)) {
                add_port(ports, &count, port_of(&address));
            }
        }
    }
    if (extra) {
        add_port(ports, &count, extra);
    }
    capture_ports(&lab->capture, ports, count);
}

/* Sends only: its filter lets nothing in. */
int raw_socket_of(struct lab *lab, int family, struct failure *failure) {
    int *raw = &lab->raw_socket[family == AF_INET6];
    if (*raw >= 0) {
        return *raw;
    }
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0 || !reject_all(fd)) {
        fail_by_errno(failure);
        close_quietly(fd);
        return -1;
    }
    return *raw = fd;
}

bool find_socket(struct lab *lab, const struct address *near, const struct address *far,
                 struct listed *found) {
    return find_by_diag(lab, near, far, found) || find_in_tables(near, far, found);
}

/* Returns whether FIONREAD does not count all unread bytes: urgent ones, and after a FIN. */
static bool needs_rx_queue(const struct scenario *scenario) {
    for (int i = 0; i < scenario->steps; i++) {
        if (is_verb(&scenario->step[i], "send-urgent") ||
            is_verb(&scenario->step[i], "resend-fin")) {
            return true;
        }
    }
    return false;
}

/* Returns whether /proc/net/tcp is listed within 2 ms; measured once for all trials. */
static bool is_listing_cheap(struct lab *lab) {
    struct address nowhere = {
        .storage.ipv4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        .length = sizeof nowhere.storage.ipv4};
    struct listed found;
    if (lab->cheap_listing < 0) {
        double began = now();
        find_in_tables(&nowhere, &nowhere, &found);
        lab->cheap_listing = now() - began < 0.002;
    }
    return lab->cheap_listing;
}

long rx_queue(struct lab *lab, const struct address *near, const struct address *far,
              const struct scenario *scenario) {
    struct listed found;
    bool is_found = find_by_diag(lab, near, far, &found);
    if (!is_found && (needs_rx_queue(scenario) || is_listing_cheap(lab))) {
        is_found = find_in_tables(near, far, &found);
    }
    bool is_listed = is_found && (found.state != GONE || found.unsent || found.unread);
    return is_listed ? (long)found.unread : -1;
}
