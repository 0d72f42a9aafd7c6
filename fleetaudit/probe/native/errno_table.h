/* Names and words of errno(3). */
#ifndef FLEETAUDIT_ERRNO_TABLE_H
#define FLEETAUDIT_ERRNO_TABLE_H

struct errno_entry {
    int number;
    const char *name, *words;
};

extern const struct errno_entry ERRNO_TABLE[];
extern const int ERRNO_ENTRIES;

#endif
