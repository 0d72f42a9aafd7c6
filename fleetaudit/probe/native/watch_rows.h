/* RSTs, folded by owner, port and reason. */
#ifndef FLEETAUDIT_WATCH_ROWS_H
#define FLEETAUDIT_WATCH_ROWS_H

#include "watch_owners.h"
#include "watch_point.h"

enum { MAX_ROWS = 1000, MAX_NETWORKS = 32 };

struct rows;

/* Returns NULL without memory. */
struct rows *begin_rows(bool with_peers);
void end_rows(struct rows *rows);
void count_reset(struct rows *rows, int owner, const struct reset *reset);
/* Adds all rows as a JSON array, the most frequent first. */
void add_reset_rows(struct text *json, struct rows *rows, const struct owners *owners);

/* Returns how many RSTs for unread data have an owner in a network namespace, "" is the host's. */
long long unread_resets(const struct rows *rows, const struct owners *owners,
                        const char *namespace);

#endif
