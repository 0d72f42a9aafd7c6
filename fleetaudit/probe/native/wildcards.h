/* Matches names against globs as Python's fnmatch does. */
#ifndef FLEETAUDIT_WILDCARDS_H
#define FLEETAUDIT_WILDCARDS_H

#include <stdbool.h>

bool has_wildcards(const char *pattern);
/* Returns whether a whole name matches a pattern of *, ?, [set] and [!set]. */
bool matches_wildcards(const char *name, const char *pattern);

#endif
