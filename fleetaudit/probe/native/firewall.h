/* nftables rules of the private namespace: `remote/firewall.py`. */
#ifndef FLEETAUDIT_FIREWALL_H
#define FLEETAUDIT_FIREWALL_H

#include <stdbool.h>

/* Returns a function that a rule needs, with conntrack or without, and that the kernel does not
   have in memory, or hides; NULL for none. */
const char *missing_function(bool with_conntrack);

#endif
