/* Watches which programs of the host reset their peers: `remote/watch.py`. */
#ifndef FLEETAUDIT_WATCH_H
#define FLEETAUDIT_WATCH_H

#include <stdbool.h>

#include "text.h"

/* What a request asks: `seconds` is 0 if it asks for no watch. */
struct watch_request {
    double seconds;
    bool peers;
};

/* Watches for that long, or until the alarm rings; adds what the reply has under "watch", as
   fleetaudit/model/watch.py has it. Leaves nothing on the host. */
void watch_host(struct text *json, const struct watch_request *asked);

#endif
