/* Calls of the operating system that several files need. */
#define _GNU_SOURCE
#include "system.h"

#include <sched.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

void close_quietly(int fd) {
    if (fd >= 0) {
        close(fd);
    }
}

void close_by_reset(int fd) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
}

/* An ACK that comes late for a closed socket is answered by a RST of its own, and loopback does not
   deliver in order between two CPUs. */
void stay_on_this_cpu(void) {
    int cpu = sched_getcpu();
    cpu_set_t *mask = cpu < 0 ? NULL : CPU_ALLOC(cpu + 1);
    if (!mask) {
        return;
    }
    size_t size = CPU_ALLOC_SIZE(cpu + 1);
    CPU_ZERO_S(size, mask);
    CPU_SET_S(cpu, size, mask);
    sched_setaffinity(0, size, mask);
    CPU_FREE(mask);
}
