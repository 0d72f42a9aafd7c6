/* Describes the host: its kernel, system and sysctls, and what production shows since boot:
   `remote/host.py`. */
#ifndef FLEETAUDIT_HOST_H
#define FLEETAUDIT_HOST_H

#include <sys/utsname.h>

#include "notes.h"
#include "request.h"
#include "sysctls.h"

enum { MACHINE_ID_DIGITS = 32 };

/* `os`, `exposure` and `sysctl_places` are JSON. `machine_id` is "" if it is unknown. */
struct host {
    struct utsname kernel;
    struct text os, exposure, sysctl_places;
    char machine_id[MACHINE_ID_DIGITS + 1];
    bool sysctls_writable;
    struct sysctls sysctls;
};

void begin_host(struct host *host);
/* Fills in everything about the host but the experiments; runs first, in the host's own namespace.
   The values are independent: a note says why one is unknown. */
void describe_host(struct host *host, const struct request *request, struct notes *notes);

#endif
