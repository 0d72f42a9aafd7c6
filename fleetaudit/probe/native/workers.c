/* Runs scenarios in two processes at once, each in a network namespace of its own. */
#define _GNU_SOURCE
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "verbs.h"
#include "waiting.h"

enum {
    MIN_PAIRS = 40,   /* below, a worker costs more than it saves */
    MAX_PAIRS = 1000, /* their numbers must fit into a pipe of one page */
    SPARE_FILES = 40, /* what the laboratory and the pipes need */
    PIPE_SIZE = 1 << 18,
    MAX_WAITING = 64 * 1024 * 1024, /* bytes that a worker sent, an observation and more */
    MAX_KEPT = 16 * 1024 * 1024,    /* bytes of all observations: more than a reply may have */
};

static const char NO_MEMORY[] = "this host gives the probe too few resources (ENOMEM)";
static const char NO_ROOM[] = "the reply has no room for more";

/* What stands before an observation in the pipe. */
struct heading {
    uint32_t number, connections, repeats, size[OBSERVED];
};

bool begin_workers(struct workers *workers, const struct request *request) {
    *workers = (struct workers){.queue = -1, .alive = -1, .from_worker = -1};
    workers->data.limit = MAX_WAITING;
    for (int i = 0; i < request->scenarios; i++) {
        workers->pairs += request->scenario[i].families;
    }
    workers->pair = calloc((size_t)workers->pairs + 1, sizeof *workers->pair);
    struct pair *pair = workers->pair;
    for (int i = 0; pair && i < request->scenarios; i++) {
        const struct scenario *scenario = &request->scenario[i];
        for (int f = 0; f < scenario->families; f++, pair++) {
            pair->scenario = scenario;
            pair->family = scenario->family[f];
            begin_observation(&pair->observation);
        }
    }
    return workers->pair != NULL;
}

/* Takes the number of the next scenario to run in this process; returns -1 for none. `last` is the
   one before. */
static int next_number(const struct workers *workers, int last) {
    uint16_t number;
    if (time_is_up) {
        return -1;
    }
    if (workers->queue < 0) {
        return last + 1 < workers->pairs ? last + 1 : -1;
    }
    if (read(workers->queue, &number, sizeof number) != sizeof number) {
        return -1;
    }
    return number;
}

/* Returns how long a scenario lasts at least, as its steps say: the longest begin first. */
static double least_seconds(const struct scenario *scenario) {
    double seconds = 0;
    for (int i = 0; i < scenario->steps; i++) {
        const struct step *step = &scenario->step[i];
        if (is_verb(step, "wait") && step->words) {
            seconds += (double)step->number[0] / 1000;
        }
        if (is_verb(step, "set") && step->words && !strcmp(step->word[0], "SO_LINGER")) {
            seconds += (double)step->number[step->words - 1];
        }
    }
    return seconds * scenario->trials;
}

/* A scenario's number with its time. */
struct ranked {
    double seconds;
    int number;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *one = a, *other = b;
    if (one->seconds != other->seconds) {
        return one->seconds > other->seconds ? -1 : 1;
    }
    return one->number - other->number;
}

/* Writes the numbers of all scenarios into a pipe; returns false if they find no room. */
static bool fill_queue(const struct workers *workers, int into) {
    static struct ranked ranked[MAX_PAIRS];
    uint16_t numbers[MAX_PAIRS];
    for (int i = 0; i < workers->pairs; i++) {
        ranked[i] = (struct ranked){least_seconds(workers->pair[i].scenario), i};
    }
    qsort(ranked, (size_t)workers->pairs, sizeof *ranked, compare_ranked);
    for (int i = 0; i < workers->pairs; i++) {
        numbers[i] = (uint16_t)ranked[i].number;
    }
    size_t size = (size_t)workers->pairs * sizeof *numbers;
    return write(into, numbers, size) == (ssize_t)size;
}

/* Returns whether this process may open SPARE_FILES more files. */
static bool has_spare_files(void) {
    int spare[SPARE_FILES], count = 0;
    while (count < SPARE_FILES && (spare[count] = dup(STDOUT_FILENO)) >= 0) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        close(spare[i]);
    }
    return count == SPARE_FILES;
}

/* Has the kernel kill this process once a pipe has no writer, or an alarm, if it is late. */
static void end_with_writer(int fd) {
    double seconds = timeout_remaining() + 2 * MERCY;
    struct itimerval alarm = {.it_value = {.tv_sec = (time_t)seconds, .tv_usec = 1}};
    struct pollfd writer = {.fd = fd};
    signal(SIGALRM, SIG_DFL);
    setitimer(ITIMER_REAL, &alarm, NULL);
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETSIG, SIGKILL);
    fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
    if (poll(&writer, 1, 0) > 0) { /* it was gone before */
        _exit(1);
    }
}

static void write_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t count = write(fd, at, size);
        if (count < 0) {
            _exit(1);
        }
        at += count;
        size -= (size_t)count;
    }
}

static void send_observation(int fd, int number, const struct observation *observation) {
    struct heading heading = {.number = (uint32_t)number,
                              .connections = (uint32_t)observation->connections,
                              .repeats = (uint32_t)observation->repeats};
    for (int i = 0; i < OBSERVED; i++) {
        heading.size[i] = (uint32_t)observation->text[i].length;
    }
    write_all(fd, &heading, sizeof heading);
    for (int i = 0; i < OBSERVED; i++) {
        if (heading.size[i]) {
            write_all(fd, observation->text[i].data, heading.size[i]);
        }
    }
}

/* Keeps what was observed, if that is whole, and not too much for a reply. */
static void keep(struct workers *workers, struct pair *pair) {
    size_t size = 0;
    bool is_cut = false;
    for (int i = 0; i < OBSERVED; i++) {
        size += pair->observation.text[i].length;
        is_cut |= pair->observation.text[i].is_cut;
    }
    pair->is_found = !is_cut && size <= MAX_KEPT - workers->kept;
    if (pair->is_found) {
        workers->kept += size;
        return;
    }
    free_observation(&pair->observation);
    snprintf(workers->problem, sizeof workers->problem, "%s", is_cut ? NO_MEMORY : NO_ROOM);
}

/* Runs one scenario, and notes which of its trials were repeated. */
static bool observe_pair(const struct workers *workers, struct lab *lab, int number) {
    struct pair *pair = &workers->pair[number];
    text_free(&lab->repeated);
    lab->repeats = 0;
    if (!observe(lab, pair->scenario, pair->family, &pair->observation)) {
        return false;
    }
    if (lab->repeated.length) {
        text_put(&pair->observation.text[REPEATED], lab->repeated.data);
    }
    pair->observation.repeats = lab->repeats;
    return true;
}

/* Runs scenarios in a worker until there is none left. */
static void live(const struct workers *workers, struct lab *lab, struct move move, int into) {
    if (!move.call(lab, move.argument)) {
        return;
    }
    int number = -1;
    while ((number = next_number(workers, number)) >= 0) {
        struct observation *observation = &workers->pair[number].observation;
        if (observe_pair(workers, lab, number)) {
            send_observation(into, number, observation);
        }
        free_observation(observation);
    }
}

static void close_pipe(const int ends[2]) {
    close(ends[0]);
    close(ends[1]);
}

/* Starts the worker with its three pipes. */
static void start_process(struct workers *workers, struct lab *lab, struct move move,
                          const int alive[2], const int answers[2]) {
    workers->worker = fork();
    if (workers->worker == 0) {
        close(alive[1]);
        close(answers[0]);
        end_with_writer(alive[0]);
        live(workers, lab, move, answers[1]);
        _exit(0);
    }
    close(alive[0]);
    close(answers[1]);
    workers->alive = alive[1];
    workers->from_worker = answers[0];
    if (workers->worker > 0) {
        fcntl(answers[0], F_SETPIPE_SZ, PIPE_SIZE);
        fcntl(answers[0], F_SETFL, O_NONBLOCK);
    }
}

/* Starts the worker if there is room for it. */
static void start(struct workers *workers, struct lab *lab, struct move move) {
    int numbers[2], alive[2], answers[2];
    if (!has_spare_files() || pipe2(numbers, O_CLOEXEC)) {
        return;
    }
    if (pipe2(alive, O_CLOEXEC)) {
        close_pipe(numbers);
        return;
    }
    if (!fill_queue(workers, numbers[1]) || pipe2(answers, O_CLOEXEC)) {
        close_pipe(numbers);
        close_pipe(alive);
        return;
    }
    close(numbers[1]);
    workers->queue = numbers[0];
    start_process(workers, lab, move, alive, answers);
    if (workers->worker < 0) {
        workers->worker = 0;
    }
}

/* Takes one observation from what has come; returns false if none is there as a whole. */
static bool take_one(struct workers *workers) {
    struct heading heading;
    struct text *data = &workers->data;
    size_t size = sizeof heading;
    if (data->length < size) {
        return false;
    }
    memcpy(&heading, data->data, sizeof heading);
    for (int i = 0; i < OBSERVED; i++) {
        size += heading.size[i];
    }
    if (data->length < size || heading.number >= (uint32_t)workers->pairs) {
        return false;
    }
    struct pair *pair = &workers->pair[heading.number];
    const char *at = data->data + sizeof heading;
    for (int i = 0; i < OBSERVED; at += heading.size[i++]) {
        text_add(&pair->observation.text[i], at, heading.size[i]);
    }
    pair->observation.connections = (int)heading.connections;
    pair->observation.repeats = (int)heading.repeats;
    keep(workers, pair);
    data->length -= size;
    memmove(data->data, data->data + size, data->length + 1);
    return true;
}

/* Takes what has come; returns whether more may come. */
static bool receive_answers(struct workers *workers) {
    static char data[PIPE_SIZE];
    ssize_t count = read(workers->from_worker, data, sizeof data);
    if (count > 0) {
        text_add(&workers->data, data, (size_t)count);
    }
    while (take_one(workers)) {
        continue;
    }
    if (workers->data.is_cut) {
        snprintf(workers->problem, sizeof workers->problem, "%s", NO_MEMORY);
    }
    return count > 0;
}

/* A process that ends, and how it has ended. */
struct ending {
    pid_t process;
    int status;
};

static bool is_gone(void *argument) {
    struct ending *ending = argument;
    return waitpid(ending->process, &ending->status, WNOHANG) != 0;
}

/* Waits until the worker is gone; returns its status, 0 also if it does not end in time. */
static int wait_for_end(struct workers *workers) {
    struct ending ending = {.process = workers->worker};
    workers->worker = 0;
    return wait_until(is_gone, &ending, 2.0) ? ending.status : 0;
}

/* Notes why the worker ended early. */
static void note_end(struct workers *workers, int status) {
    char how[32];
    if (WIFSIGNALED(status)) {
        snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
    } else {
        snprintf(how, sizeof how, "status %d", WEXITSTATUS(status));
    }
    snprintf(workers->problem, sizeof workers->problem, "the process that ran it ended early (%s)",
             how);
}

/* Takes what the worker sent within at most some milliseconds. */
static void receive_within(struct workers *workers, int milliseconds) {
    struct pollfd answers = {.fd = workers->from_worker, .events = POLLIN};
    if (workers->worker <= 0 || poll(&answers, 1, milliseconds) <= 0 || receive_answers(workers)) {
        return;
    }
    int status = wait_for_end(workers);
    if (status) {
        note_end(workers, status);
    }
}

void run_workers(struct workers *workers, struct lab *lab, struct move move) {
    if (move.call && workers->pairs >= MIN_PAIRS && workers->pairs <= MAX_PAIRS) {
        start(workers, lab, move);
    }
    int number = -1;
    while ((number = next_number(workers, number)) >= 0) {
        if (observe_pair(workers, lab, number)) {
            keep(workers, &workers->pair[number]);
        }
        receive_within(workers, 0);
    }
    while (workers->worker > 0 && !time_is_up) {
        receive_within(workers, 1000);
    }
}

void end_workers(struct workers *workers) {
    if (workers->worker <= 0) {
        return;
    }
    kill(workers->worker, SIGKILL);
    wait_for_end(workers);
    while (receive_answers(workers)) {
        continue;
    }
}
