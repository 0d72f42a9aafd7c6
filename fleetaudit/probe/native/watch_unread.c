/* Finds the programs whose sockets hold unread data now: a restart would reset their peers. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "constants.h"
#include "failure.h"
#include "waiting.h"
#include "watch_events.h"

enum { MAX_UNREAD = 10000, MAX_LISTENERS = 4096, MAX_UNREAD_ROWS = 1000, CLOCK_EVERY = 256 };
#define TABLE_TIME 0.5 /* seconds for the tables of sockets */
#define FILES_TIME 1.0 /* seconds for the open files of all processes */

/* A socket with unread data; then, of many with the same owner and port, their sums. */
struct unread {
    unsigned long inode;
    long long sockets, bytes;
    int port, owner;
    bool is_found;
};

struct listener {
    unsigned long inode;
    int port;
};

struct look {
    bool is_partial;
    int count, listeners;
    struct unread unread[MAX_UNREAD];
    struct listener listener[MAX_LISTENERS];
};

/* ---- the sockets */

/* Returns the inode of what listens on a port: a connection that nobody has accepted yet has none,
   and stands for its listener. */
static unsigned long listener_of(const struct look *look, int port) {
    for (int i = 0; i < look->listeners; i++) {
        if (look->listener[i].port == port) {
            return look->listener[i].inode;
        }
    }
    return 0;
}

/* Adds one line of a table; returns false if it is not as Linux writes it. */
static bool add_line(struct look *look, const char *line) {
    unsigned port, state, unread;
    unsigned long inode;
    int found = sscanf(line,
                       "%*d: %*[0-9A-Fa-f]:%4x %*[0-9A-Fa-f]:%*4x %2x %*8x:%8x %*x:%*x %*x %*u "
                       "%*u %lu",
                       &port, &state, &unread, &inode);
    if (found != 4) {
        return false;
    }
    if (state == LISTEN) {
        if (look->listeners < MAX_LISTENERS) {
            look->listener[look->listeners++] = (struct listener){inode, (int)port};
        }
    } else if (unread && state <= CLOSE_WAIT && look->count < MAX_UNREAD) {
        look->unread[look->count++] = (struct unread){inode ? inode : listener_of(look, (int)port),
                                                      1,
                                                      unread,
                                                      (int)port,
                                                      UNKNOWN_OWNER,
                                                      false};
    }
    return true;
}

/* Reads a table, which has a heading; returns false if it is not as Linux writes it. */
static bool read_table(struct look *look, FILE *table, double end) {
    char line[512];
    for (int i = 0; fgets(line, sizeof line, table); i++) {
        if (i && !add_line(look, line)) {
            return false;
        }
        if (i % CLOCK_EVERY == CLOCK_EVERY - 1 && (now() > end || time_is_up)) {
            look->is_partial = true;
            return true;
        }
    }
    return true;
}

static bool read_tables(struct look *look) {
    static const char *const PATHS[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    double end = now() + TABLE_TIME;
    int tables = 0;
    for (int i = 0; i < 2; i++) {
        FILE *table = fopen(PATHS[i], "re");
        bool is_read = table && read_table(look, table, end);
        tables += is_read;
        if (table) {
            fclose(table);
        }
        if (table && !is_read) {
            return false;
        }
    }
    return tables > 0;
}

/* ---- their owners */

static int by_inode(const void *one, const void *other) {
    const struct unread *a = one, *b = other;
    return a->inode == b->inode ? 0 : a->inode < b->inode ? -1 : 1;
}

/* Gives all sockets with an inode their owner: connections that wait at a listener share one. */
static void own(struct look *look, struct watching *watching, unsigned long inode,
                unsigned process) {
    struct unread wanted = {.inode = inode};
    struct unread *found =
        bsearch(&wanted, look->unread, (size_t)look->count, sizeof wanted, by_inode);
    if (!found || found->is_found) {
        return;
    }
    while (found > look->unread && found[-1].inode == inode) {
        found--;
    }
    int owner = owner_of(watching->owners, process, "", 0);
    const char *namespace = owner_number(watching->owners, owner)->namespace;
    for (; found < look->unread + look->count && found->inode == inode; found++) {
        found->owner = owner;
        found->is_found = true;
        found->port = service_port(watching->ports, namespace, process, found->port);
    }
}

static void look_at_files(struct look *look, struct watching *watching, unsigned process,
                          double end) {
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%u/fd", process);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) && now() < end && !time_is_up) {
        unsigned long inode;
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        link[length > 0 ? length : 0] = 0;
        if (sscanf(link, "socket:[%lu]", &inode) == 1 && inode) {
            own(look, watching, inode, process);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

static void find_owners(struct look *look, struct watching *watching) {
    double end = now() + FILES_TIME;
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    qsort(look->unread, (size_t)look->count, sizeof *look->unread, by_inode);
    while (folder && (entry = readdir(folder)) && now() < end && !time_is_up) {
        unsigned process = (unsigned)strtoul(entry->d_name, NULL, 10);
        if (process) {
            look_at_files(look, watching, process, end);
        }
    }
    if (folder) {
        closedir(folder);
    }
    look->is_partial = look->is_partial || now() >= end || time_is_up;
    for (int i = 0; i < look->count; i++) {
        struct unread *each = &look->unread[i];
        if (!each->is_found) {
            each->port = service_port(watching->ports, UNKNOWN_NAMESPACE, 0, each->port);
        }
    }
}

/* ---- the reply */

static int by_owner(const void *one, const void *other) {
    const struct unread *a = one, *b = other;
    return a->owner != b->owner ? a->owner - b->owner : a->port - b->port;
}

static int by_sockets(const void *one, const void *other) {
    const struct unread *a = one, *b = other;
    if (a->sockets != b->sockets) {
        return a->sockets < b->sockets ? 1 : -1;
    }
    return by_owner(one, other);
}

/* Adds up the sockets of each owner and port; returns the number of rows. */
static int fold(struct look *look) {
    int rows = 0;
    qsort(look->unread, (size_t)look->count, sizeof *look->unread, by_owner);
    for (int i = 0; i < look->count; i++) {
        struct unread each = look->unread[i];
        bool is_new = !rows || by_owner(&each, &look->unread[rows - 1]);
        if (is_new && rows < MAX_UNREAD_ROWS) {
            look->unread[rows++] = each;
            continue;
        }
        struct unread *row = &look->unread[rows - 1];
        row->sockets += each.sockets;
        row->bytes += each.bytes;
        if (is_new) { /* no room: the last row is that of all others */
            row->owner = OTHER_OWNER;
            row->port = 0;
        }
    }
    qsort(look->unread, (size_t)rows, sizeof *look->unread, by_sockets);
    return rows;
}

static void add_rows_of(struct text *json, struct look *look, const struct owners *owners) {
    int rows = fold(look);
    text_put(json, "[");
    for (int i = 0; i < rows; i++) {
        const struct unread *row = &look->unread[i];
        text_put(json, i ? ",{\"owner\":" : "{\"owner\":");
        add_owner(json, owner_number(owners, row->owner));
        text_format(json, ",\"port\":%d,\"sockets\":%lld,\"bytes\":%lld}", row->port, row->sockets,
                    row->bytes);
    }
    text_put(json, "]");
}

void add_unread_owners(struct text *json, struct watching *watching, struct notes *notes) {
    struct look *look = calloc(1, sizeof *look);
    if (!look || !read_tables(look)) {
        add_note(notes, "the sockets with unread data cannot be listed: %s",
                 look ? "/proc/net/tcp is not as Linux writes it" : "too little memory");
        text_put(json, "null");
        free(look);
        return;
    }
    if (look->count) {
        find_owners(look, watching);
    }
    if (look->is_partial) {
        add_note(notes, "not every socket with unread data was found, or not its program in time");
    }
    add_rows_of(json, look, watching->owners);
    free(look);
}
