/* Small files, read with bounds. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

long read_all_of(int fd, char *into, size_t size) {
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t count = read(fd, into + length, size - 1 - length);
        if (count < 0) {
            return -1;
        }
        if (!count) {
            break;
        }
        length += (size_t)count;
    }
    into[length] = 0;
    return (long)length;
}

static void close_keeping_errno(int fd) {
    int number = errno;
    close(fd);
    errno = number;
}

int open_to_read(const char *path) {
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

long read_file(const char *path, char *into, size_t size) {
    into[0] = 0;
    int fd = open_to_read(path);
    if (fd < 0) {
        return -1;
    }
    long length = read_all_of(fd, into, size);
    close_keeping_errno(fd);
    return length;
}

/* Returns a descriptor of a file of /proc, -1 with errno. Something else may be in its place, which
   must stay as it is: only file systems without storage have no blocks. */
static int open_to_write(const char *path) {
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    struct statvfs system;
    if (fd < 0) {
        return -1;
    }
    bool is_known = !fstatvfs(fd, &system);
    if (is_known && !system.f_blocks) {
        return fd;
    }
    if (is_known) {
        errno = EINVAL;
    }
    close_keeping_errno(fd);
    return -1;
}

bool write_file(const char *path, const char *text) {
    int fd = open_to_write(path);
    if (fd < 0) {
        return false;
    }
    bool is_written = write(fd, text, strlen(text)) >= 0;
    close_keeping_errno(fd);
    return is_written;
}

bool can_write_file(const char *path) {
    int fd = open_to_write(path);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

bool is_absent(int number) {
    return number == ENOENT || number == ENOTDIR;
}
