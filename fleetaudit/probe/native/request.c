/* Reads the request: from the end of this program's own file, or from stdin. */
#define _GNU_SOURCE
#include "request.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verbs.h"

/* A request of 2000 scenarios with 64 steps each has 5 MB. */
enum { MAX_REQUEST = 16 * 1024 * 1024, FIRST_READ = 65536, MAX_LINE_WORDS = MAX_WORDS + 3 };
enum { MAX_REPEATED = 200 };
#define LONGEST 86400 /* seconds: a day, as for the controller */

static const char FIRST_LINE[] = "fleetaudit-request/1\n";
static const char NOT_WHOLE[] = "the request is not whole";
static const char END_LINE[] = "end 00000000\n";
enum { END_LENGTH = sizeof END_LINE - 1, END_DIGITS = 8, END_DIGITS_AT = 4 };

static const char *const FAMILY_NAMES[FAMILIES] = {"ipv4", "ipv6", "unix"};
static const char *const ACTOR_NAMES[] = {"closer",   "peer",   "both",
                                          "listener", "others", "namespace"};
static const char *const ISOLATION_NAMES[] = {"auto", "namespace", "host"};
static const char *const SIDE_NAMES[] = {"closer", "peer", "nobody"};
enum { ACTORS = 6, ISOLATIONS = 3 };

const char *family_name(enum family family) {
    return FAMILY_NAMES[family];
}

const char *side_name(enum side side) {
    return SIDE_NAMES[side];
}

enum side side_of_actor(enum actor actor) {
    return actor == BY_PEER ? PEER : CLOSER;
}

/* Returns the index of a name, -1 if it is none of them. */
static int index_of(const char *name, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        if (!strcmp(name, names[i])) {
            return i;
        }
    }
    return -1;
}

/* Returns the length of a request whose last line this is, -1 if it is no such line. */
static long length_in(const char *line) {
    char digits[END_DIGITS + 1] = "";
    if (memcmp(line, END_LINE, END_DIGITS_AT) || line[END_LENGTH - 1] != '\n') {
        return -1;
    }
    memcpy(digits, line + END_DIGITS_AT, END_DIGITS);
    if (strspn(digits, "0123456789") != END_DIGITS) {
        return -1;
    }
    return strtol(digits, NULL, 10);
}

/* Reads `size` bytes of a file at an offset into new memory, with a zero byte behind them. */
static char *read_part(int fd, off_t offset, size_t size) {
    char *text = malloc(size + 1);
    size_t length = 0;
    while (text && length < size) {
        ssize_t count = pread(fd, text + length, size - length, offset + (off_t)length);
        if (count <= 0) {
            free(text);
            return NULL;
        }
        length += (size_t)count;
    }
    if (text) {
        text[size] = 0;
    }
    return text;
}

/* Returns a descriptor of this program's own file, -1 for none. */
static int open_own_file(void) {
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const char *path = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    if (fd < 0 && path) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return fd;
}

/* Reads the request at the end of an open file. Returns false if it has none; `text` stays NULL if
   it is not whole. */
static bool read_end_of(int fd, char **text) {
    struct stat status;
    char line[END_LENGTH];
    if (fstat(fd, &status) || status.st_size < END_LENGTH) {
        return false;
    }
    if (pread(fd, line, END_LENGTH, status.st_size - END_LENGTH) != END_LENGTH) {
        return false;
    }
    long length = length_in(line);
    if (length < 0) {
        return false;
    }
    if (length <= MAX_REQUEST && length <= status.st_size) {
        *text = read_part(fd, status.st_size - length, (size_t)length);
    }
    return true;
}

/* Returns whether a text ends, from `from` on, with the last line of a request of that length; what
   follows it is cut off. */
static bool ends_whole(char *text, size_t length, size_t from) {
    char *at = text + (from > END_LENGTH ? from - END_LENGTH : 0);
    while ((at = strstr(at, "\nend "))) {
        size_t end = (size_t)(at - text) + 1 + END_LENGTH;
        if (end <= length && length_in(at + 1) == (long)end) {
            text[end] = 0;
            return true;
        }
        at++;
    }
    return false;
}

/* Reads a request from stdin, which may stay open behind it. Returns NULL if it is not whole. */
static char *read_stdin(void) {
    size_t capacity = FIRST_READ, length = 0;
    char *text = malloc(capacity + 1);
    while (text) {
        ssize_t count = read(STDIN_FILENO, text + length, capacity - length);
        if (count <= 0) {
            break;
        }
        size_t from = length;
        length += (size_t)count;
        text[length] = 0;
        if (ends_whole(text, length, from)) {
            return text;
        }
        if (length == capacity && capacity >= MAX_REQUEST) {
            break;
        }
        if (length == capacity) {
            char *more = realloc(text, (capacity *= 2) + 1);
            if (!more) {
                break;
            }
            text = more;
        }
    }
    free(text);
    return NULL;
}

static char *read_text(void) {
    char *text = NULL;
    int fd = open_own_file();
    bool is_found = fd >= 0 && read_end_of(fd, &text);
    if (fd >= 0) {
        close(fd);
    }
    return is_found ? text : read_stdin();
}

/* One line, split at its tabs: what each kind of line does with its words. */
typedef bool (*line_reader)(struct request *request, char **word, int words);

/* Reads a word that the reply repeats: it has to fit there, on a host with little memory, too. */
static bool read_repeated(const char **into, char **word, int words) {
    *into = word[0];
    return words == 1 && strlen(word[0]) <= MAX_REPEATED;
}

static bool read_version(struct request *request, char **word, int words) {
    return read_repeated(&request->fleetaudit, word, words);
}

static bool read_digest(struct request *request, char **word, int words) {
    return read_repeated(&request->digest, word, words);
}

static bool read_nonce(struct request *request, char **word, int words) {
    return read_repeated(&request->nonce, word, words);
}

static bool read_isolation(struct request *request, char **word, int words) {
    int found = words == 1 ? index_of(word[0], ISOLATION_NAMES, ISOLATIONS) : -1;
    if (found >= 0) {
        request->isolation = (enum isolation)found;
    }
    return found >= 0;
}

static bool read_deadline(struct request *request, char **word, int words) {
    char *end = NULL;
    request->deadline = words == 1 ? strtod(word[0], &end) : 0;
    return end && !*end && request->deadline > 0 && request->deadline <= LONGEST;
}

/* The words are for how many seconds, and whether the networks of peers are reported. */
static bool read_watch(struct request *request, char **word, int words) {
    static const char *const PEERS[] = {"no peers", "peers"};
    char *end;
    int peers = words == 2 ? index_of(word[1], PEERS, 2) : -1;
    if (peers < 0) {
        return false;
    }
    request->watch = (struct watch_request){strtod(word[0], &end), peers == 1};
    return !*end && request->watch.seconds > 0 && request->watch.seconds <= LONGEST;
}

static bool read_pattern(struct request *request, char **word, int words) {
    if (words != 1 || request->sysctls >= MAX_SYSCTLS) {
        return false;
    }
    request->sysctl[request->sysctls++] = word[0];
    return true;
}

/* Reads a whole number into `into`; returns false if the word is none. */
static bool read_number(const char *word, long *into) {
    char *end;
    *into = strtol(word, &end, 10);
    return *word && !*end;
}

static bool read_scenario(struct request *request, char **word, int words) {
    if (words < 2 || words > 2 + FAMILIES || request->scenarios >= MAX_SCENARIOS) {
        return false;
    }
    struct scenario *scenario = &request->scenario[request->scenarios++];
    long trials;
    if (!read_number(word[1], &trials) || trials < 0 || trials > MAX_TRIALS) {
        return false;
    }
    scenario->name = word[0];
    scenario->trials = (int)trials;
    for (int i = 2; i < words; i++) {
        int family = index_of(word[i], FAMILY_NAMES, FAMILIES);
        if (family < 0) {
            return false;
        }
        scenario->family[scenario->families++] = (enum family)family;
    }
    return true;
}

static struct scenario *last_scenario(struct request *request) {
    return request->scenarios ? &request->scenario[request->scenarios - 1] : NULL;
}

static bool read_expect(struct request *request, char **word, int words) {
    struct scenario *scenario = last_scenario(request);
    if (words != 1 || !scenario) {
        return false;
    }
    if (scenario->expected >= (int)(sizeof scenario->expect / sizeof *scenario->expect)) {
        return false;
    }
    scenario->expect[scenario->expected++] = word[0];
    return true;
}

static bool read_step(struct request *request, char **word, int words) {
    struct scenario *scenario = last_scenario(request);
    if (!scenario || scenario->steps >= MAX_STEPS || words < 2 || words > 2 + MAX_WORDS) {
        return false;
    }
    struct step *step = &scenario->step[scenario->steps++];
    int actor = index_of(word[0], ACTOR_NAMES, ACTORS);
    step->verb = find_verb(word[1]);
    if (actor < 0 || !step->verb) {
        return false;
    }
    step->actor = (enum actor)actor;
    step->words = words - 2;
    for (int i = 0; i < step->words; i++) {
        step->word[i] = word[i + 2];
        if (!read_number(word[i + 2], &step->number[i])) {
            step->number[i] = 0;
        }
    }
    return is_complete_step(step);
}

static const struct {
    const char *name;
    line_reader read;
} LINES[] = {
    {"fleetaudit", read_version}, {"digest", read_digest},     {"isolation", read_isolation},
    {"sysctl", read_pattern},     {"scenario", read_scenario}, {"expect", read_expect},
    {"step", read_step},          {"deadline", read_deadline}, {"nonce", read_nonce},
    {"watch", read_watch},
};

/* Reads one line, which is cut into its words; returns false if it is not understood. */
static bool read_line(struct request *request, char *line) {
    char *word[MAX_LINE_WORDS];
    int words = 0;
    while (line) {
        if (words == MAX_LINE_WORDS) {
            return false;
        }
        word[words++] = strsep(&line, "\t");
    }
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        if (!strcmp(word[0], LINES[i].name)) {
            return LINES[i].read(request, word + 1, words - 1);
        }
    }
    return false;
}

/* Returns how many lines begin with a word, at most `most`. */
static int count_lines(const char *text, const char *word, int most) {
    char start[32];
    int count = 0;
    snprintf(start, sizeof start, "\n%s\t", word);
    while (count < most && (text = strstr(text, start))) {
        text += strlen(start);
        count++;
    }
    return count;
}

static bool make_room(struct request *request) {
    int scenarios = count_lines(request->text, "scenario", MAX_SCENARIOS);
    int sysctls = count_lines(request->text, "sysctl", MAX_SYSCTLS);
    request->scenario = calloc((size_t)scenarios + 1, sizeof *request->scenario);
    request->sysctl = calloc((size_t)sysctls + 1, sizeof *request->sysctl);
    return request->scenario && request->sysctl;
}

__attribute__((format(printf, 3, 4))) static bool refuse(char *reason, int size, const char *format,
                                                         ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, (size_t)size, format, arguments);
    va_end(arguments);
    return false;
}

/* Reads all lines between the first and the last one. */
static bool read_lines(struct request *request, char *reason, int size) {
    char *rest = request->text + strlen(FIRST_LINE);
    for (int number = 2; strncmp(rest, "end ", 4); number++) {
        char *line = strsep(&rest, "\n");
        if (!rest || !read_line(request, line)) {
            return refuse(reason, size, "line %d of the request is not understood", number);
        }
    }
    if (!request->deadline) {
        return refuse(reason, size, "the request has no deadline");
    }
    return true;
}

bool read_request(struct request *request, char *reason, int size) {
    *request = (struct request){.fleetaudit = "", .digest = "", .nonce = ""};
    request->text = read_text();
    if (!request->text || strncmp(request->text, FIRST_LINE, strlen(FIRST_LINE))) {
        return refuse(reason, size, "%s", NOT_WHOLE);
    }
    if (!make_room(request)) {
        return refuse(reason, size, "this host has too little memory for the request");
    }
    return read_lines(request, reason, size);
}
