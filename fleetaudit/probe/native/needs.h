/* Checks that the host has what a scenario needs, before a step of it runs: `remote/needs.py`. */
#ifndef FLEETAUDIT_NEEDS_H
#define FLEETAUDIT_NEEDS_H

#include "lab.h"

/* Returns false if the host lacks what the steps need, or nothing shows their ending. */
bool check_needs(struct lab *lab, enum family family, const struct scenario *scenario,
                 struct failure *failure);

#endif
