/* Sentences about the whole run, which the reply reports. */
#ifndef FLEETAUDIT_NOTES_H
#define FLEETAUDIT_NOTES_H

#include "text.h"

/* `json`: the notes so far, separated by commas. At most MAX_NOTES are kept, each of at most
   MAX_NOTE characters. */
struct notes {
    struct text json;
    int count;
};

void begin_notes(struct notes *notes);
/* Adds a note; does nothing if `notes` is NULL. */
__attribute__((format(printf, 2, 3))) void add_note(struct notes *notes, const char *format, ...);
/* Adds "PATH cannot be read: ENOENT". */
void note_unreadable(struct notes *notes, const char *path, int number);

#endif
