/* The programs behind processes. */
#ifndef FLEETAUDIT_WATCH_OWNERS_H
#define FLEETAUDIT_WATCH_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

enum { OWNER_TEXT = 257, COMMAND_TEXT = 64, NAMESPACE_TEXT = 32 };

/* As `Owner` of model/watch.py. */
struct owner {
    char executable[OWNER_TEXT], unit[OWNER_TEXT], command[COMMAND_TEXT];
    char namespace[NAMESPACE_TEXT];
};

enum { UNKNOWN_OWNER, OTHER_OWNER }; /* who: nobody knows, or there is no room for more */

extern const char UNKNOWN_NAMESPACE[]; /* of a process that had ended */

struct owners;

/* Returns NULL without memory. Reads who runs now, so that who ends soon has a name. */
struct owners *begin_owners(void);
void end_owners(struct owners *owners);
/* Reads what /proc has of a process, for owner_of, unless that was done lately; returns whether it
   was read. */
bool look_at_process(struct owners *owners, unsigned process);
/* Returns the number of the owner of a process, read now if that was not done lately. `command` is
   its name as the kernel reports it with an event, "" if it does not; `time` is when that was, by
   the kernel's clock, 0 if that is not known. */
int owner_of(struct owners *owners, unsigned process, const char *command, uint64_t time);
/* Returns for how many processes `owner_of` had to guess: they had ended, and may have been in
   another namespace than the process that they began as. */
long long guessed_owners(const struct owners *owners);
const struct owner *owner_number(const struct owners *owners, int number);
/* Returns whether a process is this one. */
bool is_own_process(const struct owners *owners, unsigned process);
/* Takes note of what the kernel tells, in the order of time: a process began, or has another name,
   by executing a program or not. */
void note_fork(struct owners *owners, unsigned process, unsigned parent, uint64_t time);
void note_command(struct owners *owners, unsigned process, const char *command, bool is_executed,
                  uint64_t time);
/* Takes note that the kernel could not tell all: who is known may be another one by now. */
void forget_processes(struct owners *owners);
/* Adds an owner as JSON. */
void add_owner(struct text *json, const struct owner *owner);
/* Writes the systemd unit or container that a file /proc/PID/cgroup names, "" for none. */
void unit_of(const char *cgroup, char *into, size_t size);

#endif
