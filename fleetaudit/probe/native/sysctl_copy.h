/* Copies the host's sysctls into the private namespace, and reads the kernel's own defaults:
   `remote/sysctl_copy.py`. */
#ifndef FLEETAUDIT_SYSCTL_COPY_H
#define FLEETAUDIT_SYSCTL_COPY_H

#include "sysctls.h"

/* The sysctls to copy with their values, in the order in which they must be written. `is_cut`:
   there was no memory for all of them. */
enum { MAX_SETTINGS = 512 };
struct settings {
    char *key[MAX_SETTINGS], *value[MAX_SETTINGS];
    int count;
    bool is_cut;
};

void read_host_settings(struct settings *settings);
/* Fills in the kernel's own defaults, which an unchanged namespace has; not for what it copies from
   the first one, nor for what is one value for the whole machine (read-only here). */
void read_defaults(struct sysctls *sysctls);
/* Writes the host's settings into this namespace. Adds to `note` a sentence on what could not be
   copied. */
void copy_settings(const struct settings *settings, struct text *note);
/* Notes which values are used instead of the host's. */
void note_used(struct sysctls *sysctls);

#endif
