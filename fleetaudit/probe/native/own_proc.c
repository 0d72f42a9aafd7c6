/* Mounts /proc once more, for this process alone.

   The runtime of a container mounts /proc/sys read-only, so that it cannot change the host. The
   settings that are copied are those of the probe's own network namespace; without them the
   experiment would run under the kernel's defaults. Nobody else sees the mount, and it ends with
   the process. */
#define _GNU_SOURCE
#include "own_proc.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

static bool is_read_only(const char *folder) {
    struct statvfs status;
    return !statvfs(folder, &status) && status.f_flag & ST_RDONLY;
}

void make_sysctls_writable(void) {
    if (!is_read_only("/proc/sys") || unshare(CLONE_NEWNS)) {
        return;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        return;
    }
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}
