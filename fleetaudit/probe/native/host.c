/* Describes the host: its kernel, system and sysctls, and what production shows since boot. */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "exposure.h"
#include "failure.h"
#include "files.h"
#include "sha256.h"
#include "sysctl_files.h"

enum { MAX_OS_RELEASE = 16384, MAX_VALUE = 256, MAX_PART = 4 * 1024 * 1024 };

/* What is reported of os-release(5). */
enum { OS_KEYS = 3 };
static const char *const OS_KEY[OS_KEYS] = {"ID", "VERSION_ID", "PRETTY_NAME"};
static const char *const OS_NAME[OS_KEYS] = {"id", "version_id", "pretty_name"};

/* Reads the beginning of a file; returns false if there is nothing in it, or it cannot be read,
   which is noted if it exists. */
static bool read_file_noted(const char *path, char *into, size_t size, struct notes *notes) {
    long length = read_file(path, into, size);
    if (length < 0 && !is_absent(errno)) {
        note_unreadable(notes, path, errno);
    }
    return length > 0;
}

/* Takes the quotes around a value off, and every backslash out. */
static char *unquote(char *value) {
    size_t length = strlen(value);
    bool has_quote = length > 1 && (*value == '"' || *value == '\'');
    if (has_quote && value[length - 1] == *value) {
        value[length - 1] = 0;
        value++;
    }
    char *into = value;
    for (const char *from = value; *from; from++) {
        if (*from != '\\') {
            *into++ = *from;
        }
    }
    *into = 0;
    return value;
}

/* Finds the last value of each key in a text, whose lines are cut. */
static void find_os_values(char *text, const char *value[OS_KEYS]) {
    char *line;
    while ((line = strsep(&text, "\n"))) {
        line = strip(line);
        char *equals = strchr(line, '=');
        if (!equals) {
            continue;
        }
        *equals = 0;
        for (int i = 0; i < OS_KEYS; i++) {
            if (!strcmp(line, OS_KEY[i])) {
                value[i] = unquote(equals + 1);
            }
        }
    }
}

/* Adds what os-release(5) says; it is not executed. */
static void add_os_release(struct text *json, struct notes *notes) {
    char text[MAX_OS_RELEASE + 1];
    const char *value[OS_KEYS] = {NULL}, *separator = "";
    bool is_read = read_file_noted("/etc/os-release", text, sizeof text, notes) ||
                   read_file_noted("/usr/lib/os-release", text, sizeof text, notes);
    if (is_read) {
        find_os_values(text, value);
    }
    text_put(json, "{");
    for (int i = 0; i < OS_KEYS; i++) {
        if (!value[i]) {
            continue;
        }
        text_format(json, "%s\"%s\":", separator, OS_NAME[i]);
        text_json_first(json, value[i], MAX_VALUE);
        separator = ",";
    }
    text_put(json, "}");
    if (is_read && !*separator) {
        add_note(notes, "os-release names no ID, VERSION_ID or PRETTY_NAME");
    }
}

/* Writes a keyed hash of /etc/machine-id, which itself must not leave the host (machine-id(5)). */
static void read_machine_id(char into[MACHINE_ID_DIGITS + 1], struct notes *notes) {
    char raw[65], keyed[MAX_HASHED + 1], digest[SHA256_DIGITS + 1];
    *into = 0;
    if (!read_file_noted("/etc/machine-id", raw, sizeof raw, notes)) {
        return;
    }
    const char *id = strip(raw);
    if (!*id) {
        return;
    }
    if (strlen(id) != MACHINE_ID_DIGITS || strspn(id, "0123456789abcdefABCDEF") != strlen(id)) {
        add_note(notes, "/etc/machine-id is not 32 hexadecimal digits");
        return;
    }
    snprintf(keyed, sizeof keyed, "fleetaudit machine id 1\n%s", id);
    sha256(keyed, digest);
    snprintf(into, MACHINE_ID_DIGITS + 1, "%.*s", MACHINE_ID_DIGITS, digest);
}

/* Returns whether /proc/sys is writable; in most containers it is not. */
static bool are_sysctls_writable(struct notes *notes) {
    struct statvfs system;
    if (!statvfs("/proc/sys/net", &system)) {
        return !(system.f_flag & ST_RDONLY);
    }
    note_unreadable(notes, "/proc/sys", errno);
    return true;
}

void begin_host(struct host *host) {
    *host = (struct host){.sysctls_writable = true};
    host->os.limit = host->exposure.limit = host->sysctl_places.limit = MAX_PART;
}

void describe_host(struct host *host, const struct request *request, struct notes *notes) {
    uname(&host->kernel);
    if (!read_sysctls(&host->sysctls, request->sysctl, request->sysctls)) {
        note_unreadable(notes, "/proc/sys", ENOMEM);
    }
    add_os_release(&host->os, notes);
    read_machine_id(host->machine_id, notes);
    add_exposure(&host->exposure, notes);
    add_sysctl_places(&host->sysctl_places, &host->sysctls);
    host->sysctls_writable = are_sysctls_writable(notes);
}
