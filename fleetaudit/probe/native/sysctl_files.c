/* Finds the lines of sysctl.d(5) that set a sysctl at boot. */
#include "sysctl_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files.h"
#include "wildcards.h"

static const char *const FOLDERS[] = {"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d",
                                      "/usr/lib/sysctl.d", "/lib/sysctl.d"};
static const char SYSCTL_CONF[] = "/etc/sysctl.conf";
static const char PATH_CHARACTERS[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-/";

enum {
    FOLDER_COUNT = sizeof FOLDERS / sizeof *FOLDERS,
    MAX_FILES = 500,
    MAX_FILE = 65536,
    MAX_ASSIGNMENTS = 65536,
    MAX_SHOWN_PATH = 200,
    MORE_ASSIGNMENTS = 256,
};

/* A line that sets a sysctl: its name as a path below /proc/sys, perhaps with wildcards. `file` is
   the path to report; NULL: the line ("-NAME") only excludes the name from wildcards. */
struct assignment {
    char *name;
    const char *file;
    int line;
};

/* The assignments of all files in order: the first `of_folders` of them are not of SYSCTL_CONF,
   which stand at the end. */
struct assignments {
    struct assignment *assignment;
    int count, capacity, of_folders;
    struct names files;
    char *path[MAX_FILES + 1];
    int paths;
};

static bool is_configuration(const char *name, const void *unused) {
    size_t length = strlen(name);
    (void)unused;
    return *name != '.' && length >= 5 && !strcmp(name + length - 5, ".conf");
}

/* Adds the names of a folder's files; returns false if it cannot be read. */
static bool add_configuration_names(struct names *names, const char *folder) {
    struct stat status;
    if (stat(folder, &status) || !S_ISDIR(status.st_mode)) {
        return true;
    }
    DIR *open = opendir(folder);
    if (!open) {
        return false;
    }
    closedir(open);
    list_folder(names, folder, is_configuration, NULL);
    return true;
}

/* Writes the path of a file: that of the first folder which has one of this name. */
static void find_file(const char *name, char path[PATH_MAX]) {
    struct stat status;
    for (int i = 0; i < FOLDER_COUNT; i++) {
        snprintf(path, PATH_MAX, "%s/%s", FOLDERS[i], name);
        if (!lstat(path, &status)) {
            return;
        }
    }
}

/* Returns the text of a world-readable file in memory of its own, "" if there is no such file;
   NULL if it cannot be read. */
static char *read_configuration(const char *path) {
    struct stat status;
    bool is_there = !stat(path, &status);
    if (!is_there && errno != ENOENT) {
        return NULL;
    }
    if (!is_there || !S_ISREG(status.st_mode)) { /* a link to /dev/null hides files of that name */
        return strdup("");
    }
    char *text = status.st_mode & S_IROTH ? malloc(MAX_FILE + 2) : NULL;
    long length = text ? read_file(path, text, MAX_FILE + 2) : -1;
    if (text && length < 0 && errno == ENOENT) {
        return text; /* read_file left it empty */
    }
    if (length < 0 || length > MAX_FILE) {
        free(text);
        return NULL;
    }
    return text;
}

/* Returns the path to report, that of SYSCTL_CONF for a link to it; NULL for an unusual one. */
static char *shown_path(const char *path) {
    char real[PATH_MAX], conf[PATH_MAX];
    if (realpath(path, real) && realpath(SYSCTL_CONF, conf) && !strcmp(real, conf)) {
        path = SYSCTL_CONF;
    }
    size_t length = strlen(path);
    if (length > MAX_SHOWN_PATH || strspn(path, PATH_CHARACTERS) != length) {
        return NULL;
    }
    return strdup(path);
}

/* Returns a name as a path: its first separator decides whether dots or slashes separate
   (sysctl.d(5)). */
static char *assigned_name(char *key) {
    key = strip(key + strspn(key, "-"));
    if (key[strcspn(key, "./")] == '.') {
        swap_separators(key);
    }
    return key;
}

static bool add_assignment(struct assignments *all, struct assignment found) {
    if (all->count >= MAX_ASSIGNMENTS) {
        return false;
    }
    if (all->count == all->capacity) {
        int capacity = all->capacity * 2 + MORE_ASSIGNMENTS;
        void *more = realloc(all->assignment, (size_t)capacity * sizeof *all->assignment);
        if (!more) {
            return false;
        }
        all->assignment = more;
        all->capacity = capacity;
    }
    found.name = strdup(found.name);
    if (found.name) {
        all->assignment[all->count++] = found;
    }
    return found.name != NULL;
}

/* Adds what one line assigns; returns false if there is no room, or its path is unusual. */
static bool read_line(struct assignments *all, char *line, const char *file, int number) {
    line = strip(line);
    char *equals = strchr(line, '=');
    if (*line == '#' || *line == ';' || (!equals && *line != '-')) {
        return true;
    }
    if (equals && !file) {
        return false;
    }
    if (equals) {
        *equals = 0;
    }
    return add_assignment(all,
                          (struct assignment){assigned_name(line), equals ? file : NULL, number});
}

/* Adds the assignments of a file in order; returns false if they are not all known. */
static bool read_assignments(struct assignments *all, const char *path) {
    char *text = read_configuration(path), *rest = text, *line;
    char *file = text ? shown_path(path) : NULL;
    bool is_known = text != NULL;
    if (file) {
        all->path[all->paths++] = file;
    }
    for (int number = 1; is_known && (line = strsep(&rest, "\n")); number++) {
        is_known = read_line(all, line, file, number);
    }
    free(text);
    return is_known;
}

/* Reads all files in the order of sysctl.d(5): by name, whatever the folder; of one name only the
   first. */
static bool read_all(struct assignments *all) {
    char path[PATH_MAX];
    for (int i = 0; i < FOLDER_COUNT; i++) {
        if (!add_configuration_names(&all->files, FOLDERS[i])) {
            return false;
        }
    }
    if (all->files.is_cut || all->files.count > MAX_FILES) {
        return false;
    }
    for (int i = 0; i < all->files.count; i++) {
        find_file(all->files.name[i], path);
        if (!read_assignments(all, path)) {
            return false;
        }
    }
    all->of_folders = all->count;
    return read_assignments(all, SYSCTL_CONF);
}

static void free_assignments(struct assignments *all) {
    for (int i = 0; i < all->count; i++) {
        free(all->assignment[i].name);
    }
    for (int i = 0; i < all->paths; i++) {
        free(all->path[i]);
    }
    free(all->assignment);
    free_names(&all->files);
}

/* Returns whether a name matches a pattern, one part a level. */
static bool matches(const char *name, const char *pattern) {
    char one[SYSCTL_PATH], part[SYSCTL_PATH];
    for (;;) {
        size_t length = strcspn(name, "/"), of_pattern = strcspn(pattern, "/");
        snprintf(one, sizeof one, "%.*s", (int)length, name);
        snprintf(part, sizeof part, "%.*s", (int)of_pattern, pattern);
        if (!matches_wildcards(one, part)) {
            return false;
        }
        name += length;
        pattern += of_pattern;
        if (!*name || !*pattern) {
            return *name == *pattern;
        }
        name++;
        pattern++;
    }
}

/* Returns the assignment that sets a name, NULL for none, among the first `count`. Its own line
   counts before wildcards. `exclusion_clears`: an excluded name loses its own line above, as with
   systemd-sysctl. */
static const struct assignment *find_place(const struct assignments *all, int count,
                                           bool exclusion_clears, const char *name) {
    const struct assignment *exact = NULL, *pattern = NULL;
    for (int i = 0; i < count; i++) {
        const struct assignment *each = &all->assignment[i];
        if (has_wildcards(each->name)) {
            pattern = matches(name, each->name) ? each : pattern;
        } else if (!strcmp(each->name, name) && (each->file || exclusion_clears || !exact)) {
            exact = each;
        }
    }
    const struct assignment *found = exact ? exact : pattern;
    return found && found->file ? found : NULL;
}

static void add_place(struct text *json, const struct assignment *place) {
    char line[MAX_SHOWN_PATH + 16];
    snprintf(line, sizeof line, "%s:%d", place->file, place->line);
    text_json(json, line);
}

/* Returns whether two assignments are reported as the same place. */
static bool is_same_place(const struct assignment *a, const struct assignment *b) {
    return a && b && a->line == b->line && !strcmp(a->file, b->file);
}

/* Adds the places of one sysctl; returns whether it has any. */
static bool add_places_of(struct text *json, const struct assignments *all, const char *key,
                          const char *separator) {
    char name[SYSCTL_PATH];
    snprintf(name, sizeof name, "%s", key);
    swap_separators(name);
    const struct assignment *procps = find_place(all, all->count, false, name);
    const struct assignment *systemd = find_place(all, all->of_folders, true, name);
    if (is_same_place(procps, systemd)) {
        systemd = NULL;
    }
    if (!procps && !systemd) {
        return false;
    }
    text_put(json, separator);
    text_json(json, key);
    text_put(json, ":[");
    if (procps) {
        add_place(json, procps);
    }
    if (systemd) {
        text_put(json, procps ? "," : "");
        add_place(json, systemd);
    }
    text_put(json, "]");
    return true;
}

void add_sysctl_places(struct text *json, const struct sysctls *sysctls) {
    struct assignments all = {0};
    if (read_all(&all)) {
        const char *separator = "";
        text_put(json, "{");
        for (int i = 0; i < sysctls->count; i++) {
            if (add_places_of(json, &all, sysctls->entry[i].key, separator)) {
                separator = ",";
            }
        }
        text_put(json, "}");
    } else {
        text_put(json, "null");
    }
    free_assignments(&all);
}
