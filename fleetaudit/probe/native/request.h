/* The request: what the controller asks, as lines of text; see `native_request.py`. */
#ifndef FLEETAUDIT_REQUEST_H
#define FLEETAUDIT_REQUEST_H

#include <stdbool.h>

#include "constants.h"
#include "text.h"
#include "watch.h"

enum actor { BY_CLOSER, BY_PEER, BY_BOTH, BY_LISTENER, BY_OTHERS, BY_NAMESPACE };
enum family { IPV4, IPV6, UNIX, FAMILIES };
enum isolation { ISOLATION_AUTO, ISOLATION_NAMESPACE, ISOLATION_HOST };

struct verb; /* verbs.h */

/* One step: who does what, with which words. `number[i]` is word i as an integer, 0 if it is
   none. */
struct step {
    enum actor actor;
    const struct verb *verb;
    int words;
    const char *word[MAX_WORDS];
    long number[MAX_WORDS];
};

struct scenario {
    const char *name;
    int trials, families, steps, expected;
    enum family family[FAMILIES];
    struct step step[MAX_STEPS];
    const char *expect[8];
};

/* `text` is the whole request; all strings of the others point into it. */
struct request {
    char *text;
    const char *fleetaudit, *digest, *nonce;
    enum isolation isolation;
    double deadline;
    struct watch_request watch;
    int sysctls, scenarios;
    const char **sysctl;
    struct scenario *scenario;
};

const char *family_name(enum family family);
const char *side_name(enum side side);
/* The side of an actor; of BY_BOTH, as Python's verbs take it: see verbs.h. */
enum side side_of_actor(enum actor actor);

/* Reads the request at the end of this program's own file, or from stdin if there is none. Returns
   false, with a reason, if it is not whole or not understood. */
bool read_request(struct request *request, char *reason, int size);

#endif
