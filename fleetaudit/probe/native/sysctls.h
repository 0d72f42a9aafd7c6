/* Reads sysctls, and finds those that names and globs select: `remote/sysctls.py`. */
#ifndef FLEETAUDIT_SYSCTLS_H
#define FLEETAUDIT_SYSCTLS_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

enum { SYSCTL_PATH = 512, SYSCTL_VALUE = 4097, SYSCTL_STATE = 48 };

/* One sysctl: each text is NULL if it is unknown. `state` says why the value is. `used` is what the
   experiment ran under instead of it. */
struct sysctl {
    char *key, *value, *kernel_default, *used;
    char state[SYSCTL_STATE];
};

struct sysctls {
    struct sysctl *entry;
    int count;
};

/* Names in order, each once: at most MAX_SYSCTLS, those that come first. `is_cut`: there was no
   memory for all of them. */
struct names {
    char **name;
    bool is_cut;
    int count, capacity;
};

/* Swaps dots and slashes, as sysctl(8) does: the name of an interface may have a dot. */
void swap_separators(char *name);
void add_name(struct names *names, const char *name);
void free_names(struct names *names);
/* Adds the sysctls that one name or glob selects; an exact name even if it is absent. */
void select_sysctls(struct names *names, const char *pattern);
/* Adds the names in a folder of which `is_wanted(name, argument)` is true. */
void list_folder(struct names *names, const char *folder,
                 bool (*is_wanted)(const char *name, const void *argument), const void *argument);
/* Reads a value with one blank for each white space. Returns false, with why in `state`, if that is
   not possible. */
bool read_sysctl(const char *key, char *value, size_t size, char state[SYSCTL_STATE]);
/* Returns false without memory for all of them. */
bool read_sysctls(struct sysctls *sysctls, const char *const *patterns, int count);
/* Returns whether a sysctl exists and has a write bit. */
bool is_writable(const char *key);
/* Adds a sysctl as a member of a JSON object, without what is unknown. */
void add_sysctl(struct text *json, const struct sysctl *sysctl);

#endif
