/* Reads sysctls, and finds those that names and globs select. */
#include "sysctls.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "constants.h"
#include "failure.h"
#include "files.h"
#include "waiting.h"
#include "wildcards.h"

static const char ROOT[] = "/proc/sys";
enum { MORE_NAMES = 64 };

static void replace(char *text, char from, char to) {
    for (; *text; text++) {
        if (*text == from) {
            *text = to;
        }
    }
}

void swap_separators(char *name) {
    for (; *name; name++) {
        if (*name == '.') {
            *name = '/';
        } else if (*name == '/') {
            *name = '.';
        }
    }
}

bool sysctl_path(const char *key, char *into, size_t size) {
    int length = snprintf(into, size, "%s/%s", ROOT, key);
    if (length < 0 || (size_t)length >= size) {
        errno = ENAMETOOLONG;
        return false;
    }
    swap_separators(into + sizeof ROOT);
    return true;
}

/* Returns where a name is, or where it belongs. */
static int place_of(const struct names *names, const char *name, bool *is_there) {
    int low = 0, high = names->count;
    *is_there = false;
    while (low < high && !*is_there) {
        int middle = (low + high) / 2, order = strcmp(name, names->name[middle]);
        *is_there = !order;
        if (order <= 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return high;
}

static bool make_room(struct names *names) {
    if (names->count < names->capacity) {
        return true;
    }
    int capacity = names->capacity + names->capacity / 2 + MORE_NAMES;
    char **name = realloc(names->name, (size_t)capacity * sizeof *name);
    if (!name) {
        return false;
    }
    names->name = name;
    names->capacity = capacity;
    return true;
}

void add_name(struct names *names, const char *name) {
    bool is_there;
    int place = place_of(names, name, &is_there);
    if (is_there || place >= MAX_SYSCTLS) {
        return;
    }
    if (names->count == MAX_SYSCTLS) {
        free(names->name[--names->count]);
    }
    char *copy = make_room(names) ? strdup(name) : NULL;
    names->is_cut |= !copy;
    if (!copy) {
        return;
    }
    char **at = names->name + place;
    memmove(at + 1, at, (size_t)(names->count - place) * sizeof *at);
    *at = copy;
    names->count++;
}

void free_names(struct names *names) {
    for (int i = 0; i < names->count; i++) {
        free(names->name[i]);
    }
    free(names->name);
    *names = (struct names){0};
}

void list_folder(struct names *names, const char *folder,
                 bool (*is_wanted)(const char *name, const void *argument), const void *argument) {
    DIR *open = opendir(folder);
    const struct dirent *each;
    while (open && (each = readdir(open))) {
        bool is_dots = !strcmp(each->d_name, ".") || !strcmp(each->d_name, "..");
        if (!is_dots && is_wanted(each->d_name, argument)) {
            add_name(names, each->d_name);
        }
    }
    if (open) {
        closedir(open);
    }
}

/* Which names in a folder match one part of a pattern. */
struct part {
    const char *folder, *pattern;
    bool is_folder;
};

static bool is_folder(const char *folder, const char *name) {
    char path[SYSCTL_PATH];
    struct stat status;
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length < (int)sizeof path && !stat(path, &status) && S_ISDIR(status.st_mode);
}

static bool matches_part(const char *name, const void *argument) {
    const struct part *part = argument;
    return matches_wildcards(name, part->pattern) &&
           is_folder(part->folder, name) == part->is_folder;
}

static void find_matching(struct names *names, const struct part *part) {
    char name[SYSCTL_PATH];
    if (has_wildcards(part->pattern)) {
        list_folder(names, part->folder, matches_part, part);
    } else { /* without a look at it: an exact name is reported even if it is absent */
        snprintf(name, sizeof name, "%s", part->pattern);
        replace(name, '/', '.');
        add_name(names, name);
    }
}

static void expand(struct names *found, const char *pattern, const char *folder,
                   const char *prefix);

/* Adds a sysctl of that name in a folder, or what the rest of the pattern selects below it. */
static void expand_name(struct names *found, const char *rest, const char *folder,
                        const char *prefix, const char *name) {
    char path[SYSCTL_PATH], key[SYSCTL_PATH];
    int path_length = snprintf(path, sizeof path, "%s/%s", folder, name);
    int key_length = snprintf(key, sizeof key, "%s%s", prefix, name);
    if (path_length >= (int)sizeof path || key_length + 1 >= (int)sizeof key) {
        return;
    }
    replace(key + strlen(prefix), '.', '/');
    if (!rest) {
        add_name(found, key);
        return;
    }
    strcat(key, ".");
    expand(found, rest, path, key);
}

/* Adds the sysctls under a folder that match one part of the pattern a level. A path has a bounded
   length, so the levels are, too. */
static void expand(struct names *found, const char *pattern, const char *folder,
                   const char *prefix) {
    char first[NAME_MAX + 1];
    const char *dot = strchr(pattern, '.');
    size_t length = dot ? (size_t)(dot - pattern) : strlen(pattern);
    if (length >= sizeof first) {
        return;
    }
    memcpy(first, pattern, length);
    first[length] = 0;
    struct names names = {0};
    find_matching(&names, &(struct part){folder, first, dot != NULL});
    for (int i = 0; i < names.count; i++) {
        expand_name(found, dot ? dot + 1 : NULL, folder, prefix, names.name[i]);
    }
    free_names(&names);
}

void select_sysctls(struct names *names, const char *pattern) {
    expand(names, pattern, ROOT, "");
}

/* Writes one blank for each white space of a text, and none around it. */
static void join_words(char *text) {
    char *into = text, *rest = text, *word;
    while ((word = strsep(&rest, WHITE_SPACE))) {
        size_t length = strlen(word);
        if (!length) {
            continue;
        }
        if (into > text) {
            *into++ = ' ';
        }
        memmove(into, word, length);
        into += length;
    }
    *into = 0;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && !strcmp(text + length - wanted, end);
}

bool read_sysctl(const char *key, char *value, size_t size, char state[SYSCTL_STATE]) {
    char path[SYSCTL_PATH];
    *state = *value = 0;
    if (ends_with(key, "_key") || ends_with(key, "_secret")) {
        snprintf(state, SYSCTL_STATE, "unreadable: a secret, not read");
        return false;
    }
    if (sysctl_path(key, path, sizeof path) && read_file(path, value, size) >= 0) {
        join_words(value);
        return true;
    }
    if (is_absent(errno)) {
        snprintf(state, SYSCTL_STATE, "absent");
    } else {
        snprintf(state, SYSCTL_STATE, "unreadable: %s", error_name(errno));
    }
    return false;
}

bool sysctl_value(const char *key, char *into, size_t size) {
    char state[SYSCTL_STATE];
    return read_sysctl(key, into, size, state);
}

/* Reads one sysctl; returns false without memory for it. */
static bool read_entry(struct sysctl *entry, char *key) {
    char value[SYSCTL_VALUE];
    entry->key = key;
    if (read_sysctl(key, value, sizeof value, entry->state)) {
        entry->value = strdup(value);
        return entry->value != NULL;
    }
    return true;
}

bool read_sysctls(struct sysctls *sysctls, const char *const *patterns, int count) {
    struct names names = {0};
    for (int i = 0; i < count && !time_is_up; i++) {
        select_sysctls(&names, patterns[i]);
    }
    bool is_whole = !names.is_cut;
    sysctls->entry = calloc((size_t)names.count + 1, sizeof *sysctls->entry);
    if (!sysctls->entry) {
        free_names(&names);
        return false;
    }
    for (int i = 0; i < names.count && !time_is_up; i++) {
        is_whole &= read_entry(&sysctls->entry[sysctls->count++], names.name[i]);
    }
    free(names.name); /* the names are the entries' keys now */
    return is_whole;
}

bool is_writable(const char *key) {
    char path[SYSCTL_PATH];
    struct stat status;
    return sysctl_path(key, path, sizeof path) && !stat(path, &status) && status.st_mode & 0200;
}

/* Adds a member of a JSON object unless its value is unknown. */
static void add_member(struct text *json, const char **separator, const char *name,
                       const char *value) {
    if (!value) {
        return;
    }
    text_format(json, "%s\"%s\":", *separator, name);
    text_json(json, value);
    *separator = ",";
}

void add_sysctl(struct text *json, const struct sysctl *sysctl) {
    const char *separator = "";
    text_json(json, sysctl->key);
    text_put(json, ":{");
    add_member(json, &separator, "value", sysctl->value);
    add_member(json, &separator, "default", sysctl->kernel_default);
    add_member(json, &separator, "state", *sysctl->state ? sysctl->state : NULL);
    add_member(json, &separator, "used", sysctl->used);
    text_put(json, "}");
}
