/* Folds RSTs by owner, port and reason. */
#include "watch_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>

enum { SLOTS = 4096, IPV4_PREFIX = 15, IPV6_PREFIX = 8 };

static const char *const REASON_NAMES[WATCH_REASONS] = {
    "unread data",      "linger 0", "memory", "keepalive", "disconnect", "exit of a child socket",
    "data after close", "other",
};

/* The peers in one network: /24 of IPv4, as mapped addresses, or /64 of IPv6. */
struct network {
    uint8_t address[ADDRESS_SIZE];
    long long count;
};

struct row {
    int owner, port;
    enum watch_reason reason;
    long long count;
    struct network *networks; /* MAX_NETWORKS, or NULL */
};

/* The last row has what the others have no room for. */
struct rows {
    bool with_peers;
    int count;
    struct row row[MAX_ROWS];
    short slot[SLOTS]; /* the number of a row and 1; 0: free */
};

struct rows *begin_rows(bool with_peers) {
    struct rows *rows = calloc(1, sizeof *rows);
    if (rows) {
        rows->with_peers = with_peers;
    }
    return rows;
}

void end_rows(struct rows *rows) {
    for (int i = 0; rows && i < rows->count; i++) {
        free(rows->row[i].networks);
    }
    free(rows);
}

static struct row *new_row(struct rows *rows, int owner, int port, enum watch_reason reason) {
    struct row *row = &rows->row[rows->count++];
    *row = (struct row){.owner = owner, .port = port, .reason = reason};
    if (rows->with_peers) {
        row->networks = calloc(MAX_NETWORKS, sizeof *row->networks);
    }
    return row;
}

/* Returns the row for all that has no row of its own. */
static struct row *last_row(struct rows *rows) {
    if (rows->count < MAX_ROWS) {
        new_row(rows, OTHER_OWNER, 0, OTHER_REASON);
    }
    return &rows->row[MAX_ROWS - 1];
}

static struct row *find_row(struct rows *rows, int owner, int port, enum watch_reason reason) {
    unsigned hash = ((unsigned)owner * 31 + (unsigned)port) * 31 + (unsigned)reason;
    for (unsigned i = hash % SLOTS;; i = (i + 1) % SLOTS) {
        int number = rows->slot[i] - 1;
        if (number < 0 && rows->count >= MAX_ROWS - 1) {
            return last_row(rows);
        }
        if (number < 0) {
            struct row *row = new_row(rows, owner, port, reason);
            rows->slot[i] = (short)rows->count;
            return row;
        }
        struct row *row = &rows->row[number];
        if (row->owner == owner && row->port == port && row->reason == reason) {
            return row;
        }
    }
}

static bool is_ipv4(const uint8_t *address) {
    static const uint8_t MAPPED[12] = {[10] = 0xFF, [11] = 0xFF};
    return !memcmp(address, MAPPED, sizeof MAPPED);
}

static void count_peer(struct network *networks, const uint8_t *peer) {
    uint8_t address[ADDRESS_SIZE] = {0};
    memcpy(address, peer, is_ipv4(peer) ? IPV4_PREFIX : IPV6_PREFIX);
    for (int i = 0; i < MAX_NETWORKS; i++) {
        if (i == MAX_NETWORKS - 1) { /* for all others */
            networks[i].count++;
            return;
        }
        if (!networks[i].count) {
            memcpy(networks[i].address, address, ADDRESS_SIZE);
        }
        if (!memcmp(networks[i].address, address, ADDRESS_SIZE)) {
            networks[i].count++;
            return;
        }
    }
}

void count_reset(struct rows *rows, int owner, const struct reset *reset) {
    struct row *row = find_row(rows, owner, reset->port, reset->reason);
    row->count++;
    if (row->networks && reset->has_peer) {
        count_peer(row->networks, reset->peer);
    }
}

static int by_count(const void *one, const void *other) {
    const struct row *a = one, *b = other;
    if (a->count != b->count) {
        return a->count < b->count ? 1 : -1;
    }
    if (a->owner != b->owner) {
        return a->owner - b->owner;
    }
    return a->port != b->port ? a->port - b->port : (int)a->reason - (int)b->reason;
}

static void add_network_name(struct text *json, const uint8_t *address, bool is_rest) {
    char name[INET6_ADDRSTRLEN];
    bool is_short = is_ipv4(address);
    if (is_rest) {
        text_put(json, "other");
        return;
    }
    inet_ntop(is_short ? AF_INET : AF_INET6, address + (is_short ? ADDRESS_SIZE - 4 : 0), name,
              sizeof name);
    text_format(json, "%s/%d", name, is_short ? 24 : 64);
}

static void add_networks(struct text *json, const struct network *networks) {
    text_put(json, ",\"peers\":{");
    for (int i = 0; i < MAX_NETWORKS && networks[i].count; i++) {
        text_put(json, i ? ",\"" : "\"");
        add_network_name(json, networks[i].address, i == MAX_NETWORKS - 1);
        text_format(json, "\":%lld", networks[i].count);
    }
    text_put(json, "}");
}

void add_reset_rows(struct text *json, struct rows *rows, const struct owners *owners) {
    qsort(rows->row, (size_t)rows->count, sizeof *rows->row, by_count);
    text_put(json, "[");
    for (int i = 0; i < rows->count; i++) {
        const struct row *row = &rows->row[i];
        text_put(json, i ? ",{\"owner\":" : "{\"owner\":");
        add_owner(json, owner_number(owners, row->owner));
        text_format(json, ",\"port\":%d,\"reason\":\"%s\",\"count\":%lld", row->port,
                    REASON_NAMES[row->reason], row->count);
        if (row->networks) {
            add_networks(json, row->networks);
        }
        text_put(json, "}");
    }
    text_put(json, "]");
}

long long unread_resets(const struct rows *rows, const struct owners *owners,
                        const char *namespace) {
    long long count = 0;
    for (int i = 0; i < rows->count; i++) {
        const struct owner *owner = owner_number(owners, rows->row[i].owner);
        bool is_counted =
            rows->row[i].reason == UNREAD_DATA && !strcmp(owner->namespace, namespace);
        count += is_counted ? rows->row[i].count : 0;
    }
    return count;
}
