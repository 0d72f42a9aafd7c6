/* Makes the N-th call of the C library below a folder fail, write short, or kill the process; and
 * moves the clock. Loaded with LD_PRELOAD; Python's own calls go through the C library.
 *
 * Nothing happens before `faults_arm` (library.py calls it in the process that is to fail).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { KILL = -1, SHORT = -2, JUMP = -3, STOP = -4 };

static char under[PATH_MAX], calls[512];
static long at, count, clock_shift, jump_to;
static int action, sticky, armed;
static int log_fd = -1;
static pid_t owner;

/* Arms the library. `under`: only calls on paths that begin so. `at`: the number of the call, from
 * 1; 0 for none. `calls`: the names of the calls that count, each between spaces; "" for all.
 * `action`: an errno, or KILL before the call, SHORT for half a write, STOP (SIGSTOP) before the
 * call, JUMP to move the clock by `shift` seconds from then on. With `sticky` every later call has the same fate. `log`: a file
 * descriptor that gets a line for each call that counts; -1 for none.
 */
void faults_arm(const char *under_, long at_, const char *calls_, int action_, int sticky_,
                long shift, int log) {
  snprintf(under, sizeof under, "%s", under_);
  snprintf(calls, sizeof calls, "%s", calls_);
  at = at_, action = action_, sticky = sticky_, log_fd = log, count = 0;
  jump_to = shift;
  clock_shift = action == JUMP && at > 0 ? 0 : shift;
  owner = getpid();
  armed = 1;
}

long faults_count(void) { return count; }

/* Returns 0 to go on, 1 for half a write, -1 with errno set. */
static int fate(const char *name, const char *path) {
  char word[64];
  snprintf(word, sizeof word, " %s ", name);
  if (calls[0] && !strstr(calls, word)) return 0;
  long number = __sync_add_and_fetch(&count, 1);
  if (log_fd >= 0) {
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path);
    syscall(SYS_write, log_fd, line, (size_t)n);
  }
  if (at <= 0 || !(number == at || (sticky && number > at))) return 0;
  if (action == KILL) {
    syscall(SYS_kill, owner, SIGKILL);
    pause();
  }
  if (action == STOP) {
    syscall(SYS_kill, owner, SIGSTOP);
    return 0;
  }
  if (action == JUMP) {
    clock_shift = jump_to;
    return 0;
  }
  if (action == SHORT) return 1;
  errno = action;
  return -1;
}

static int is_below(const char *path) {
  return strncmp(path, under, strlen(under)) == 0;
}

static int fd_path(int fd, char *out) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
  if (n <= 0) return 0;
  out[n] = 0;
  return 1;
}

static int on_path(const char *name, int dirfd, const char *path) {
  if (!armed || getpid() != owner || !path) return 0;
  int before = errno;
  char whole[2 * PATH_MAX], base[PATH_MAX];
  if (path[0] == '/') {
    snprintf(whole, sizeof whole, "%s", path);
  } else {
    if (dirfd == AT_FDCWD) {
      if (syscall(SYS_getcwd, base, sizeof base) <= 0) return 0;
    } else if (!fd_path(dirfd, base)) {
      return 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", base, path);
  }
  errno = before;
  return is_below(whole) ? fate(name, whole) : 0;
}

static int on_fd(const char *name, int fd) {
  if (!armed || fd == log_fd || getpid() != owner) return 0;
  int before = errno;
  char path[PATH_MAX];
  int known = fd_path(fd, path);
  errno = before;
  return known && is_below(path) ? fate(name, path) : 0;
}

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static mode_t mode_of(int flags, va_list list) {
  return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(list, int) : 0;
}

#define OPEN(name)                                                      \
  int name(const char *path, int flags, ...) {                          \
    va_list list;                                                       \
    va_start(list, flags);                                              \
    mode_t mode = mode_of(flags, list);                                 \
    va_end(list);                                                       \
    if (on_path("open", AT_FDCWD, path) < 0) return -1;                 \
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);       \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                    \
  int name(int at_, const char *path, int flags, ...) {                 \
    va_list list;                                                       \
    va_start(list, flags);                                              \
    mode_t mode = mode_of(flags, list);                                 \
    va_end(list);                                                       \
    if (on_path("open", at_, path) < 0) return -1;                      \
    return (int)syscall(SYS_openat, at_, path, flags, mode);            \
  }
OPENAT(openat)
OPENAT(openat64)

DIR *opendir(const char *path) {
  if (on_path("opendir", AT_FDCWD, path) < 0) return NULL;
  return REAL(DIR *, "opendir", const char *)(path);
}

DIR *fdopendir(int fd) {
  if (on_fd("opendir", fd) < 0) return NULL;
  return REAL(DIR *, "fdopendir", int)(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
  int what = on_fd("write", fd);
  if (what < 0) return -1;
  if (what > 0 && size > 1) size /= 2;
  return syscall(SYS_write, fd, data, size);
}

#define PWRITE(name)                                                    \
  ssize_t name(int fd, const void *data, size_t size, off_t offset) {   \
    int what = on_fd("write", fd);                                      \
    if (what < 0) return -1;                                            \
    if (what > 0 && size > 1) size /= 2;                                \
    return syscall(SYS_pwrite64, fd, data, size, offset);               \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int number) {
  if (on_fd("write", fd) < 0) return -1;
  return syscall(SYS_writev, fd, parts, number);
}

ssize_t read(int fd, void *data, size_t size) {
  if (on_fd("read", fd) < 0) return -1;
  return syscall(SYS_read, fd, data, size);
}

#define PREAD(name)                                                     \
  ssize_t name(int fd, void *data, size_t size, off_t offset) {         \
    if (on_fd("read", fd) < 0) return -1;                               \
    return syscall(SYS_pread64, fd, data, size, offset);                \
  }
PREAD(pread)
PREAD(pread64)

int fsync(int fd) {
  if (on_fd("fsync", fd) < 0) return -1;
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  if (on_fd("fsync", fd) < 0) return -1;
  return (int)syscall(SYS_fdatasync, fd);
}

#define TRUNCATE(name)                                                  \
  int name(int fd, off_t size) {                                        \
    if (on_fd("ftruncate", fd) < 0) return -1;                          \
    return (int)syscall(SYS_ftruncate, fd, size);                       \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int fchmod(int fd, mode_t mode) {
  if (on_fd("fchmod", fd) < 0) return -1;
  return (int)syscall(SYS_fchmod, fd, mode);
}

int flock(int fd, int how) {
  if (on_fd("flock", fd) < 0) return -1;
  return (int)syscall(SYS_flock, fd, how);
}

int close(int fd) {
  int what = on_fd("close", fd);
  int error = errno;
  long done = syscall(SYS_close, fd); /* Linux closes it, whatever it returns (close(2)) */
  if (what < 0) {
    errno = error;
    return -1;
  }
  return (int)done;
}

int rename(const char *from, const char *to) {
  if (on_path("rename", AT_FDCWD, to) < 0) return -1;
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int at_, const char *from, int to_at, const char *to) {
  if (on_path("rename", to_at, to) < 0) return -1;
  return (int)syscall(SYS_renameat2, at_, from, to_at, to, 0);
}

int mkdir(const char *path, mode_t mode) {
  if (on_path("mkdir", AT_FDCWD, path) < 0) return -1;
  return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int mkdirat(int at_, const char *path, mode_t mode) {
  if (on_path("mkdir", at_, path) < 0) return -1;
  return (int)syscall(SYS_mkdirat, at_, path, mode);
}

int unlink(const char *path) {
  if (on_path("unlink", AT_FDCWD, path) < 0) return -1;
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int at_, const char *path, int flags) {
  if (on_path("unlink", at_, path) < 0) return -1;
  return (int)syscall(SYS_unlinkat, at_, path, flags);
}

int rmdir(const char *path) {
  if (on_path("unlink", AT_FDCWD, path) < 0) return -1;
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int symlink(const char *to, const char *path) {
  if (on_path("symlink", AT_FDCWD, path) < 0) return -1;
  return (int)syscall(SYS_symlinkat, to, AT_FDCWD, path);
}

ssize_t readlink(const char *path, char *out, size_t size) {
  if (on_path("readlink", AT_FDCWD, path) < 0) return -1;
  return syscall(SYS_readlinkat, AT_FDCWD, path, out, size);
}

#define STAT(name)                                                      \
  int name(const char *path, struct stat *out) {                        \
    if (on_path("stat", AT_FDCWD, path) < 0) return -1;                 \
    return REAL(int, #name, const char *, struct stat *)(path, out);    \
  }
STAT(stat)
STAT(lstat)
int stat64(const char *path, struct stat64 *out) {
  if (on_path("stat", AT_FDCWD, path) < 0) return -1;
  return REAL(int, "stat64", const char *, struct stat64 *)(path, out);
}
int lstat64(const char *path, struct stat64 *out) {
  if (on_path("stat", AT_FDCWD, path) < 0) return -1;
  return REAL(int, "lstat64", const char *, struct stat64 *)(path, out);
}
int fstat64(int fd, struct stat64 *out) {
  if (on_fd("stat", fd) < 0) return -1;
  return REAL(int, "fstat64", int, struct stat64 *)(fd, out);
}
int fstatat64(int at_, const char *path, struct stat64 *out, int flags) {
  if (on_path("stat", at_, path) < 0) return -1;
  return REAL(int, "fstatat64", int, const char *, struct stat64 *, int)(at_, path, out, flags);
}

/* Python's time.time() and datetime.now() ask clock_gettime. */
int clock_gettime(clockid_t which, struct timespec *out) {
  int done = (int)syscall(SYS_clock_gettime, which, out);
  if (done == 0 && which == CLOCK_REALTIME && armed) out->tv_sec += clock_shift;
  return done;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
