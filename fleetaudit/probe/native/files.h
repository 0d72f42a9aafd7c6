/* Small files, read with bounds: `remote/files.py`. */
#ifndef FLEETAUDIT_FILES_H
#define FLEETAUDIT_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Reads up to size - 1 bytes of a file, which may be a device or a pipe by mistake: never blocks.
   Returns their number, with a zero byte behind them, or -1 with errno. */
long read_file(const char *path, char *into, size_t size);
/* The same of an open file. */
long read_all_of(int fd, char *into, size_t size);
/* Returns a descriptor that never blocks, or -1 with errno. */
int open_to_read(const char *path);
/* Returns whether an errno means that there is no such file. */
bool is_absent(int number);
/* Writes a file of /proc that exists; returns false with errno. */
bool write_file(const char *path, const char *text);
bool can_write_file(const char *path);

/* sysctls.c: the file of a sysctl, and its value with blanks between words; return false if it has
   none. */
bool sysctl_path(const char *key, char *into, size_t size);
bool sysctl_value(const char *key, char *into, size_t size);

#endif
