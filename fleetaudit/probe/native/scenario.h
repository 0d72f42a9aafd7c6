/* Runs the trials of one scenario over one family: `remote/scenario.py`. */
#ifndef FLEETAUDIT_SCENARIO_H
#define FLEETAUDIT_SCENARIO_H

#include "lab.h"
#include "text.h"

/* What an observation consists of: its JSON object, the times of its trials as `Times` of
   `reply.py` has them, and which trials were repeated.

   HEADERS has a line for each trial whose headers are reported: the number of its connection among
   those of the observation, a blank, and a JSON string. */
enum observed { OBJECT, BEGAN, PORTS, STEPS, AT, WINDOWS, HEADERS, REPEATED, OBSERVED };

struct observation {
    struct text text[OBSERVED];
    int connections, repeats;
};

/* Runs one scenario over one family: its trials, equal ones as one, or why it has none. Returns
   false if the time is up meanwhile: then there is no observation. */
bool observe(struct lab *lab, const struct scenario *scenario, enum family family,
             struct observation *observation);
void begin_observation(struct observation *observation);
void free_observation(struct observation *observation);
/* Writes the JSON object of a scenario that was not run. */
void add_not_run(struct text *json, const struct scenario *scenario, enum family family,
                 const char *reason);

#endif
