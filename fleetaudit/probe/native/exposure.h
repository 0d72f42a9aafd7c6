/* What production shows since boot: the rest of `remote/host.py`. */
#ifndef FLEETAUDIT_EXPOSURE_H
#define FLEETAUDIT_EXPOSURE_H

#include "notes.h"
#include "text.h"

/* Adds as JSON the uptime, the counters since boot and the sockets with unread data now. */
void add_exposure(struct text *json, struct notes *notes);

#endif
