/* Text that grows up to a bound. */
#ifndef FLEETAUDIT_TEXT_H
#define FLEETAUDIT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* `data` ends with a zero byte, or is NULL if nothing was added yet. Beyond `limit` bytes nothing
   is added any more, and `is_cut` is true. All zero but `limit` is an empty text. */
struct text {
    char *data;
    size_t length, capacity, limit;
    bool is_cut;
};

void text_add(struct text *text, const char *data, size_t length);
void text_put(struct text *text, const char *string);
__attribute__((format(printf, 2, 3))) void text_format(struct text *text, const char *format, ...);
/* Adds a string as JSON: in double quotes, in ASCII; bytes that are not UTF-8 become U+FFFD. */
void text_json(struct text *text, const char *string);
/* The same of its first characters only. */
void text_json_first(struct text *text, const char *string, size_t characters);
/* White space of ASCII, as Python has it. */
extern const char WHITE_SPACE[];
/* Cuts the white space around a string off; returns its beginning. */
char *strip(char *string);
void text_free(struct text *text);

#endif
