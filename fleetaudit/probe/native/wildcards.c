/* Matches names against globs as Python's fnmatch does: fnmatch(3) also knows \ and [^set]. */
#include "wildcards.h"

#include <stddef.h>
#include <string.h>

bool has_wildcards(const char *pattern) {
    return strpbrk(pattern, "*?[") != NULL;
}

/* Returns the bracket that closes a set, NULL if none does. */
static const char *end_of_set(const char *open) {
    const char *at = open + 1;
    if (*at == '!') {
        at++;
    }
    if (*at == ']') {
        at++;
    }
    return strchr(at, ']');
}

/* Returns whether a character is in the set between `at` and `end`. */
static bool is_in_set(unsigned char c, const char *at, const char *end) {
    while (at < end) {
        unsigned char least = (unsigned char)*at, most = least;
        if (at + 2 < end && at[1] == '-') {
            most = (unsigned char)at[2];
            at += 2;
        }
        if (c >= least && c <= most) {
            return true;
        }
        at++;
    }
    return false;
}

/* Matches one character; returns the rest of the pattern, NULL if it does not match. */
static const char *match_one(char c, const char *pattern) {
    const char *end = *pattern == '[' ? end_of_set(pattern) : NULL;
    if (end) {
        bool is_negated = pattern[1] == '!';
        bool is_in = is_in_set((unsigned char)c, pattern + 1 + is_negated, end);
        return is_in != is_negated ? end + 1 : NULL;
    }
    return *pattern == '?' || *pattern == c ? pattern + 1 : NULL;
}

bool matches_wildcards(const char *name, const char *pattern) {
    const char *after_star = NULL, *retry = NULL;
    while (*name) {
        const char *rest = NULL;
        if (*pattern == '*') {
            after_star = ++pattern;
            retry = name;
            continue;
        }
        if (*pattern) {
            rest = match_one(*name, pattern);
        }
        if (rest) {
            pattern = rest;
            name++;
        } else if (after_star) { /* the last star takes one character more */
            pattern = after_star;
            name = ++retry;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == 0;
}
