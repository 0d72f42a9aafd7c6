/* Copies the host's sysctls into the private namespace, and reads the kernel's own defaults. */
#include "sysctl_copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"
#include "files.h"

enum { MAX_FAILURES = 65536 };

/* With tcp_invalid_ratelimit 0, two sockets that a forged segment has set at odds send ACKs to each
   other without end. */
static const char *const NOT_COPIED[] = {
    "tcp_available_",          "tcp_allowed_",          "tcp_fastopen_key", "tcp_ehash_entries",
    "tcp_child_ehash_entries", "tcp_invalid_ratelimit",
};
static const char *const ALSO_COPIED[] = {
    "net.ipv4.ip_default_ttl", "net.ipv4.ip_no_pmtu_disc",       "net.core.somaxconn",
    "net.ipv6.bindv6only",     "net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.lo.disable_ipv6",
};
static const char *const NO_DEFAULT[] = {
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_ulp",
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool is_copied(const char *name, const void *unused) {
    (void)unused;
    if (strncmp(name, "tcp_", 4)) {
        return false;
    }
    for (size_t i = 0; i < COUNT(NOT_COPIED); i++) {
        if (!strncmp(name, NOT_COPIED[i], strlen(NOT_COPIED[i]))) {
            return false;
        }
    }
    return true;
}

/* Adds a setting with its value, if this host has both. */
static void add_setting(struct settings *settings, const char *key) {
    char value[SYSCTL_VALUE];
    if (settings->count == MAX_SETTINGS || !sysctl_value(key, value, sizeof value)) {
        return;
    }
    char *key_copy = strdup(key), *value_copy = strdup(value);
    if (!key_copy || !value_copy) {
        settings->is_cut = true;
        free(key_copy);
        free(value_copy);
        return;
    }
    settings->key[settings->count] = key_copy;
    settings->value[settings->count++] = value_copy;
}

void read_host_settings(struct settings *settings) {
    struct names names = {0}, of_mptcp = {0};
    char key[SYSCTL_PATH];
    list_folder(&names, "/proc/sys/net/ipv4", is_copied, NULL);
    for (int i = 0; i < names.count; i++) {
        snprintf(key, sizeof key, "net.ipv4.%s", names.name[i]);
        add_setting(settings, key);
    }
    for (size_t i = 0; i < COUNT(ALSO_COPIED); i++) {
        add_setting(settings, ALSO_COPIED[i]);
    }
    select_sysctls(&of_mptcp, "net.mptcp.*");
    for (int i = 0; i < of_mptcp.count; i++) {
        add_setting(settings, of_mptcp.name[i]);
    }
    settings->is_cut |= names.is_cut || of_mptcp.is_cut;
    free_names(&names);
    free_names(&of_mptcp);
}

static bool has_default(const char *key) {
    for (size_t i = 0; i < COUNT(NO_DEFAULT); i++) {
        if (!strcmp(key, NO_DEFAULT[i])) {
            return false;
        }
    }
    return !strstr(key, ".conf.") && !strstr(key, ".neigh.") && is_writable(key);
}

void read_defaults(struct sysctls *sysctls) {
    char value[SYSCTL_VALUE];
    for (int i = 0; i < sysctls->count; i++) {
        struct sysctl *entry = &sysctls->entry[i];
        if (has_default(entry->key) && sysctl_value(entry->key, value, sizeof value)) {
            entry->kernel_default = strdup(value);
        }
    }
}

/* Writes one setting; adds its name and what failed, unless nothing did. Returns whether nothing
   but a read-only file system stood in the way. */
static bool copy_setting(const char *key, const char *value, struct text *failures) {
    char path[SYSCTL_PATH], found[SYSCTL_VALUE];
    if (!sysctl_value(key, found, sizeof found) || !strcmp(found, value)) {
        return true; /* one value for the whole machine, or nothing to do */
    }
    int number = 0;
    if (!sysctl_path(key, path, sizeof path) || !write_file(path, value)) {
        number = errno;
    } else if (sysctl_value(key, found, sizeof found) && !strcmp(found, value)) {
        return true;
    }
    text_put(failures, failures->length ? ", " : "");
    text_put(failures, key);
    if (number) {
        text_format(failures, " (%s)", error_name(number));
    }
    return number == EROFS;
}

void copy_settings(const struct settings *settings, struct text *note) {
    struct text failures = {.limit = MAX_FAILURES};
    bool is_read_only = true;
    for (int i = 0; i < settings->count; i++) {
        is_read_only &= copy_setting(settings->key[i], settings->value[i], &failures);
    }
    if (failures.length && is_read_only) {
        text_put(note, "/proc/sys is mounted read-only, so the experiment ran under this kernel's"
                       " defaults instead of these settings of the host: ");
    } else if (failures.length) {
        text_put(note, "these settings of the host could not be copied into the namespace: ");
    }
    if (failures.length) {
        text_put(note, failures.data);
    } else if (settings->is_cut) {
        text_put(note, "not all settings of the host could be copied: it has too little memory");
    }
    text_free(&failures);
}

void note_used(struct sysctls *sysctls) {
    char value[SYSCTL_VALUE];
    for (int i = 0; i < sysctls->count; i++) {
        struct sysctl *entry = &sysctls->entry[i];
        bool is_known = entry->value && is_writable(entry->key);
        if (!is_known || !sysctl_value(entry->key, value, sizeof value)) {
            continue;
        }
        if (strcmp(value, entry->value)) {
            entry->used = strdup(value);
        }
    }
}
