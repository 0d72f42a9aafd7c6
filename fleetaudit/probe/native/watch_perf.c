/* Reads RSTs by perf_event_open(2): nothing is left when this process ends, however it ends.

   Of each RST the process is looked up first, and then is read who began a program meanwhile: so a
   process that became another one after its RST is known by what it was.

   Each CPU has a ring. What does not fit into it is lost, and counted by the kernel all the same,
   so a storm costs no more than the turns of reading, which rest in between. */
#include <errno.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "failure.h"
#include "files.h"
#include "waiting.h"
#include "watch_events.h"

enum { MAX_CPUS = 4096, ALL_RINGS = 8 * 1024 * 1024, MOST_RING = 256 * 1024, MAX_RECORD = 4096 };
enum { TASK_RING = 32 * 1024, POLL_MS = 50, COMM_EXEC = 1 << 13 };
#define LEAST_REST 0.01 /* seconds between two turns, so that each RST costs no turn of its own */

struct ring {
    int fd;
    size_t size; /* of the data, a power of two */
    struct perf_event_mmap_page *page;
    uint64_t head, tail; /* what is read now: from `tail` to `head` */
};

struct rings {
    int count;
    struct ring ring[MAX_CPUS];
};

struct perf {
    struct rings resets, tasks;
    struct pollfd ready[MAX_CPUS];
};

/* ---- opening */

/* Reads the next range of a list of CPUs, "0-3,8"; returns false at its end. */
static bool next_range(const char **list, long *first, long *last) {
    char *end;
    *first = *last = strtol(*list, &end, 10);
    if (end == *list) {
        return false;
    }
    if (*end == '-') {
        *last = strtol(end + 1, &end, 10);
    }
    *list = *end == ',' ? end + 1 : end;
    return *first >= 0 && *last >= *first && *last < MAX_CPUS;
}

static int open_event(struct perf_event_attr *attributes, int cpu) {
    attributes->size = sizeof *attributes;
    attributes->disabled = 1;
    return (int)syscall(SYS_perf_event_open, attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Opens the ring of an event on one CPU; returns false with errno. */
static bool open_ring(struct rings *rings, struct perf_event_attr *attributes, int cpu,
                      size_t size) {
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    int fd = rings->count < MAX_CPUS ? open_event(attributes, cpu) : -1;
    if (fd < 0) {
        return errno == ENODEV; /* the CPU went offline */
    }
    size = size < page_size ? page_size : size;
    void *page = mmap(NULL, page_size + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        int number = errno;
        close(fd);
        errno = number;
        return false;
    }
    rings->ring[rings->count++] = (struct ring){fd, size, page, 0, 0};
    return true;
}

/* The rings of all CPUs together have a bound. */
static size_t ring_size_for(int cpus) {
    size_t size = 4096;
    while (size * 2 <= MOST_RING && size * 2 * (size_t)cpus <= ALL_RINGS) {
        size *= 2;
    }
    return size;
}

static int count_cpus(const char *list) {
    long first, last, count = 0;
    while (next_range(&list, &first, &last)) {
        count += last - first + 1;
    }
    return count > 0 ? (int)count : 1;
}

/* Opens an event on every CPU of a list; returns false with errno. */
static bool open_rings(struct rings *rings, struct perf_event_attr *attributes, const char *list,
                       size_t size) {
    long first, last;
    while (next_range(&list, &first, &last)) {
        for (long cpu = first; cpu <= last; cpu++) {
            if (!open_ring(rings, attributes, (int)cpu, size)) {
                return false;
            }
        }
    }
    errno = ENODEV;
    return rings->count > 0;
}

static bool open_resets(struct perf *perf, const struct watching *watching, const char *list) {
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_TRACEPOINT,
        .config = watching->point.id,
        .sample_period = 1,
        .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_RAW,
        .exclude_callchain_user = 1,
        .wakeup_events = 1,
    };
    if (!open_rings(&perf->resets, &attributes, list, ring_size_for(count_cpus(list)))) {
        return false;
    }
    for (int i = 0; i < perf->resets.count; i++) {
        int fd = perf->resets.ring[i].fd;
        if (*watching->point.filter) { /* without it all are read */
            ioctl(fd, PERF_EVENT_IOC_SET_FILTER, watching->point.filter);
        }
        perf->ready[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return true;
}

/* Opens the events of new processes. Without them some programs that end soon have no name. */
static void open_tasks(struct perf *perf, const char *list) {
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE,
        .config = PERF_COUNT_SW_DUMMY,
        .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
        .sample_id_all = 1,
        .comm = 1,
        .task = 1,
        .comm_exec = 1,
    };
    open_rings(&perf->tasks, &attributes, list, TASK_RING);
}

struct perf *open_perf(const struct watching *watching, struct watch_problem *problem) {
    char list[4096];
    if (!watching->has_symbols && !watching->point.codes) {
        watch_fails(problem, "", "the kernel hides the addresses of its functions");
        return NULL;
    }
    struct perf *perf = calloc(1, sizeof *perf);
    if (read_file("/sys/devices/system/cpu/online", list, sizeof list) <= 0) {
        snprintf(list, sizeof list, "0");
    }
    if (perf && open_resets(perf, watching, list)) {
        open_tasks(perf, list);
        return perf;
    }
    watch_fails(problem, "", "perf_event_open is refused (%s)", error_name(errno));
    close_perf(perf);
    return NULL;
}

static void close_rings(const struct rings *rings) {
    for (int i = 0; i < rings->count; i++) {
        munmap(rings->ring[i].page, rings->ring[i].size + (size_t)sysconf(_SC_PAGESIZE));
        close(rings->ring[i].fd);
    }
}

void close_perf(struct perf *perf) {
    if (perf) {
        close_rings(&perf->resets);
        close_rings(&perf->tasks);
    }
    free(perf);
}

/* ---- reading */

/* What is left of a record. */
struct record {
    const uint8_t *at;
    size_t size;
};

/* Takes the next bytes of a record; returns false if it ends before. */
static bool take(struct record *record, void *into, size_t size) {
    if (record->size < size) {
        return false;
    }
    memcpy(into, record->at, size);
    record->at += size;
    record->size -= size;
    return true;
}

/* Reads the addresses of a stack; returns how many frames it has, -1 if it is not whole. What the
   kernel marks with is none. */
static int take_stack(struct record *record, const struct symbols *symbols,
                      enum part frame[MAX_FRAMES]) {
    uint64_t count, address;
    int frames = 0;
    if (!take(record, &count, sizeof count) || count > record->size / sizeof address) {
        return -1;
    }
    for (uint64_t i = 0; i < count; i++) {
        take(record, &address, sizeof address);
        if (address < (uint64_t)PERF_CONTEXT_MAX && frames < MAX_FRAMES) {
            frame[frames++] = part_at(symbols, address - 1); /* of the call, not behind it */
        }
    }
    return frames;
}

static void read_tasks(struct perf *perf, struct watching *watching);

static void take_sample(struct record record, struct watching *watching) {
    enum part frame[MAX_FRAMES];
    struct reset reset = {0};
    uint32_t process[2], size;
    if (!take(&record, process, sizeof process) || !take(&record, &reset.time, sizeof reset.time)) {
        return;
    }
    uint64_t time = reset.time;
    int frames = take_stack(&record, &watching->symbols, frame);
    if (frames < 0 || !take(&record, &size, sizeof size) || size > record.size) {
        return;
    }
    bool has_process = read_record(&watching->point, record.at, size, &reset);
    reset.process = has_process ? process[0] : 0;
    reset.time = time;
    if (has_process && look_at_process(watching->owners, reset.process)) {
        read_tasks(watching->perf, watching);
    }
    take_reset(watching, &reset, frame, frames);
}

static void take_lost(struct record record, struct watching *watching) {
    uint64_t id_and_count[2];
    if (take(&record, id_and_count, sizeof id_and_count)) {
        watching->lost += (long long)id_and_count[1];
    }
}

/* Takes note of a process that begins, or of its new name. */
static void take_task_record(const struct perf_event_header *header, struct record record,
                             uint64_t time, struct watching *watching) {
    struct owners *owners = watching->owners;
    uint32_t word[4] = {0};
    char command[COMMAND_TEXT] = "";
    if (header->type == PERF_RECORD_LOST) {
        forget_processes(owners);
    }
    if (header->type == PERF_RECORD_FORK && take(&record, word, sizeof word) &&
        word[0] == word[2]) { /* else it is a thread */
        note_fork(owners, word[0], word[1], time);
    }
    if (header->type == PERF_RECORD_COMM && take(&record, word, 2 * sizeof *word) &&
        word[0] == word[1]) {
        memcpy(command, record.at,
               record.size < sizeof command - 1 ? record.size : sizeof command - 1);
        note_command(owners, word[0], command, header->misc & COMM_EXEC, time);
    }
}

/* Copies bytes of a ring, which may go around its end. */
static void copy_ring(const struct ring *ring, uint64_t from, void *into, size_t size) {
    const uint8_t *data = (const uint8_t *)ring->page + sysconf(_SC_PAGESIZE);
    size_t at = (size_t)(from & (ring->size - 1)), first = ring->size - at;
    first = first < size ? first : size;
    memcpy(into, data + at, first);
    memcpy((uint8_t *)into + first, data, size - first);
}

static void take_reset_record(const struct perf_event_header *header, struct record record,
                              struct watching *watching) {
    if (header->type == PERF_RECORD_SAMPLE) {
        take_sample(record, watching);
    } else if (header->type == PERF_RECORD_LOST) {
        take_lost(record, watching);
    }
}

/* Begins to read what rings have now; what comes later is read the next time. */
static void begin_reading(struct rings *rings) {
    for (int i = 0; i < rings->count; i++) {
        struct ring *ring = &rings->ring[i];
        ring->head = ring->page->data_head;
        ring->tail = ring->page->data_tail;
    }
    atomic_thread_fence(memory_order_acquire);
}

/* Makes room for what comes next. */
static void end_reading(const struct rings *rings) {
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < rings->count; i++) {
        rings->ring[i].page->data_tail = rings->ring[i].head;
    }
}

/* Reads the header of the next record; returns false at the end, and for what no kernel writes. */
static bool next_header(const struct ring *ring, struct perf_event_header *header) {
    uint64_t left = ring->head - ring->tail;
    if (left < sizeof *header || time_is_up) {
        return false;
    }
    copy_ring(ring, ring->tail, header, sizeof *header);
    return header->size >= sizeof *header && header->size <= left;
}

/* Takes the next record, whose header was read; a longer one than any that is asked for is empty.
 */
static struct record next_record(struct ring *ring, const struct perf_event_header *header,
                                 uint8_t data[MAX_RECORD]) {
    size_t size = header->size <= MAX_RECORD ? header->size : sizeof *header;
    copy_ring(ring, ring->tail, data, size);
    ring->tail += header->size;
    return (struct record){data + sizeof *header, size - sizeof *header};
}

/* Returns the ring whose next record is the oldest, with its header and time: NULL at the end. */
static struct ring *oldest(struct rings *rings, struct perf_event_header *header, uint64_t *time) {
    struct ring *found = NULL;
    for (int i = 0; i < rings->count; i++) {
        struct ring *ring = &rings->ring[i];
        struct perf_event_header next;
        uint64_t at = 0;
        if (!next_header(ring, &next)) {
            continue;
        }
        if (next.size >= sizeof next + sizeof at) { /* the time is at its end */
            copy_ring(ring, ring->tail + next.size - sizeof at, &at, sizeof at);
        }
        if (!found || at < *time) {
            found = ring;
            *header = next;
            *time = at;
        }
    }
    return found;
}

/* Reads who began a program, in the order of time: a process may begin on one CPU and execute a
   program on another. */
static void read_tasks(struct perf *perf, struct watching *watching) {
    uint8_t data[MAX_RECORD];
    struct perf_event_header header;
    struct ring *ring;
    uint64_t time = 0;
    begin_reading(&perf->tasks);
    while ((ring = oldest(&perf->tasks, &header, &time))) {
        struct record record = next_record(ring, &header, data);
        take_task_record(&header, record, time, watching);
    }
    end_reading(&perf->tasks);
}

/* Reads what a ring has. */
static void read_resets(struct ring *ring, struct watching *watching) {
    uint8_t data[MAX_RECORD];
    struct perf_event_header header;
    while (next_header(ring, &header)) {
        struct record record = next_record(ring, &header, data);
        take_reset_record(&header, record, watching);
    }
}

static void read_rings(struct perf *perf, struct watching *watching) {
    watching->perf = perf;
    begin_reading(&perf->resets);
    read_tasks(perf, watching);
    for (int i = 0; i < perf->resets.count; i++) {
        if (may_read_more(watching)) {
            read_resets(&perf->resets.ring[i], watching);
        }
    }
    end_reading(&perf->resets);
}

static void control(const struct rings *rings, unsigned long request) {
    for (int i = 0; i < rings->count; i++) {
        ioctl(rings->ring[i].fd, request, 0);
    }
}

void start_perf(struct perf *perf) {
    control(&perf->tasks, PERF_EVENT_IOC_ENABLE);
    control(&perf->resets, PERF_EVENT_IOC_ENABLE);
}

void read_perf(struct perf *perf, struct watching *watching) {
    double remaining = watching->began + watching->seconds - now();
    int most = remaining * 1000 < POLL_MS ? (int)(remaining * 1000) : POLL_MS;
    poll(perf->ready, (nfds_t)perf->resets.count, most > 0 ? most : 0);
    read_rings(perf, watching);
    pause_for(LEAST_REST);
}

void stop_perf(struct perf *perf, struct watching *watching) {
    control(&perf->resets, PERF_EVENT_IOC_DISABLE);
    control(&perf->tasks, PERF_EVENT_IOC_DISABLE);
    read_rings(perf, watching);
    for (int i = 0; i < perf->resets.count; i++) {
        uint64_t count;
        if (read(perf->resets.ring[i].fd, &count, sizeof count) == (ssize_t)sizeof count) {
            watching->counted += (long long)count;
        }
    }
}
