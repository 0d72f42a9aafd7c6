/* Why something could not be done: what the exceptions of `remote/errors.py` are there.

   A function that can fail returns false after it has filled in the failure, so that

       return fail_with(failure, STEP_FAILED, "the %s has no socket", name);

   leaves it. `failure` is never NULL. */
#ifndef FLEETAUDIT_FAILURE_H
#define FLEETAUDIT_FAILURE_H

#include <stdbool.h>

enum failure_kind {
    NO_FAILURE,
    SYSTEM_ERROR,     /* a call of the system failed with `number` */
    STEP_FAILED,      /* why a step could not be carried out */
    STEP_TIMED_OUT,   /* what a step waited for did not come in time */
    UNSUPPORTED,      /* what a scenario needs and this host lacks */
    OUT_OF_RESOURCES, /* the host has it, and gives the probe too little of it */
};

/* `number` is the errno of a SYSTEM_ERROR, else 0. */
struct failure {
    enum failure_kind kind;
    int number;
    char text[1024];
};

__attribute__((format(printf, 3, 4))) bool
fail_with(struct failure *failure, enum failure_kind kind, const char *format, ...);
/* Fills in a SYSTEM_ERROR from errno; returns false. */
bool fail_by_errno(struct failure *failure);
/* Fills in UNSUPPORTED: "this kernel has no AF_UNIX (EAFNOSUPPORT)", from errno; returns false. */
__attribute__((format(printf, 2, 3))) bool fail_unsupported(struct failure *failure,
                                                            const char *format, ...);

/* Fills in UNSUPPORTED as above for a SYSTEM_ERROR of one of these numbers, 0 for the last; leaves
   any other failure; returns false. */
__attribute__((format(printf, 3, 4))) bool
unsupported_if(struct failure *failure, const int *numbers, const char *format, ...);

/* Returns the name of an errno, "EPIPE"; a number that has none as digits. The result is constant
   or in a static buffer. */
const char *error_name(int number);
/* Returns whether an errno means that a resource of the host has run out (SCARCE), or that a right
   is missing (REFUSED). */
bool is_scarce(int number);
bool is_refused(int number);
/* Returns whether an errno means that the host forbids a call, by a filter of system calls: on a
   socket it tells nothing of the connection. */
bool is_forbidden(int number);
/* Writes why a step failed, with the name of an errno: "Broken pipe (EPIPE)" (`reason_of`), or in
   plain words only (`message_of`). */
void reason_of(const struct failure *failure, char *into, int size);
void message_of(const struct failure *failure, char *into, int size);

#endif
