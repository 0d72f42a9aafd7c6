/* Sentences about the whole run. */
#include "notes.h"

#include <stdarg.h>
#include <stdio.h>

#include "constants.h"
#include "failure.h"

/* A character takes up to six bytes as JSON. */
enum { MAX_JSON = MAX_NOTES * (MAX_NOTE * 6 + 3) };

void begin_notes(struct notes *notes) {
    *notes = (struct notes){.json = {.limit = MAX_JSON}};
}

void add_note(struct notes *notes, const char *format, ...) {
    if (!notes || notes->count >= MAX_NOTES) {
        return;
    }
    char note[MAX_NOTE + 1];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(note, sizeof note, format, arguments);
    va_end(arguments);
    size_t before = notes->json.length;
    text_put(&notes->json, notes->count++ ? "," : "");
    text_json(&notes->json, note);
    if (notes->json.is_cut && notes->json.data) { /* without half a note it is still JSON */
        notes->json.length = before;
        notes->json.data[before] = 0;
    }
}

void note_unreadable(struct notes *notes, const char *path, int number) {
    add_note(notes, "%s cannot be read: %s", path, error_name(number));
}
