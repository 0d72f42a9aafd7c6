/* Who in the kernel called tcp_send_active_reset(). */
#ifndef FLEETAUDIT_WATCH_STACK_H
#define FLEETAUDIT_WATCH_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch_point.h"

/* What a function of the kernel has to do with a RST. */
enum part {
    NO_PART,
    SENDS_RESET,
    CLOSES,
    FAST_CLOSES,
    DISCONNECTS,
    DROPS_CHILD,
    KEEPS_ALIVE,
    RESENDS,
    PARTS,
};

enum { MAX_RANGES = 64, MAX_FRAMES = 24 };

/* The addresses of the functions that have a part. */
struct symbols {
    int count;
    struct {
        uint64_t start, end;
        enum part part;
    } range[MAX_RANGES];
};

/* Reads /proc/kallsyms; returns false if it hides addresses. */
bool read_symbols(struct symbols *symbols);
/* Adds one line of it. */
void add_symbol(struct symbols *symbols, const char *line);
enum part part_at(const struct symbols *symbols, uint64_t address);
/* Returns the part of a function by its name, which may have the compiler's suffixes. */
enum part part_of_name(const char *name, size_t length);
/* Returns why a connection was reset, by what a record tells and by the parts of the stack, the
   innermost frame first. */
enum watch_reason reason_of_stack(enum watch_reason reported, const enum part *frame, int frames);

#endif
