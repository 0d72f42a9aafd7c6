/* Checks that the host has what a scenario needs, before a step of it runs. */
#include "needs.h"

#include <string.h>
#include <sys/socket.h>

#include "files.h"
#include "firewall.h"
#include "namespace.h"
#include "options.h"
#include "system.h"
#include "sysctls.h"
#include "verbs.h"

/* Checks one step; returns false with a failure. */
typedef bool (*need)(struct lab *lab, enum family family, const struct step *step,
                     struct failure *failure);

static bool need_capture(struct lab *lab, struct failure *failure) {
    if (lab->capture.fd < 0) {
        return fail_with(failure, UNSUPPORTED, "needs a capture (%s)", lab->no_capture);
    }
    return true;
}

static bool need_any_capture(struct lab *lab, enum family family, const struct step *step,
                             struct failure *failure) {
    (void)family, (void)step;
    return need_capture(lab, failure);
}

static bool need_namespace(struct lab *lab, enum family family, const struct step *step,
                           struct failure *failure) {
    (void)family, (void)step;
    if (!lab->is_private) {
        return fail_with(failure, UNSUPPORTED, "needs a private network namespace");
    }
    return true;
}

static bool need_own_settings(struct lab *lab, enum family family, const struct step *step,
                              struct failure *failure) {
    char id[64], path[SYSCTL_PATH], value[SYSCTL_VALUE], state[SYSCTL_STATE];
    const char *key = step->words ? step->word[0] : "";
    (void)family;
    if (!lab->is_private || !namespace_id(id, sizeof id)) {
        return fail_with(failure, UNSUPPORTED,
                         "needs a private network namespace: the probe changes no setting of the "
                         "host");
    }
    if (!read_sysctl(key, value, sizeof value, state)) {
        return fail_with(failure, UNSUPPORTED, "%s cannot be read in a network namespace (%s)", key,
                         state);
    }
    if (!sysctl_path(key, path, sizeof path) || !can_write_file(path)) {
        return fail_unsupported(failure, "%s cannot be set in a network namespace", key);
    }
    return true;
}

static bool need_raw_segment(struct lab *lab, enum family family, const struct step *step,
                             struct failure *failure) {
    (void)family, (void)step;
    if (!lab->is_private && lab->capture.fd >= 0) {
        return fail_with(failure, UNSUPPORTED,
                         "a raw segment is sent in a private network namespace only");
    }
    return need_capture(lab, failure);
}

/* Checks that a rule concerns nobody else, and that the kernel loads no module for it. */
static bool need_rules(struct lab *lab, enum family family, const struct step *step,
                       struct failure *failure) {
    char id[64];
    bool is_invalid = !strcmp(first_word(step), "invalid");
    (void)family;
    if (!lab->is_private || !namespace_id(id, sizeof id)) {
        return fail_with(
            failure, UNSUPPORTED,
            "needs a private network namespace: the probe changes no rule of the host");
    }
    const char *missing = missing_function(is_invalid);
    if (missing) {
        return fail_with(failure, UNSUPPORTED,
                         "needs nftables%s in the kernel, which is not loaded, and the probe loads "
                         "none (no %s)",
                         is_invalid ? " and conntrack" : "", missing);
    }
    return need_capture(lab, failure);
}

/* Checks the right to use repair mode on a socket without a peer, which nobody notices. */
static bool need_option(struct lab *lab, enum family family, const struct step *step,
                        struct failure *failure) {
    (void)lab;
    if (!step->words || strcmp(step->word[0], "TCP_REPAIR")) {
        return true;
    }
    int fd = socket(family == IPV6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail_by_errno(failure);
    }
    bool is_set = set_socket_option(fd, step, failure);
    close_quietly(fd);
    return is_set;
}

static bool need_kind(struct lab *lab, enum family family, const struct step *step,
                      struct failure *failure) {
    if (!step->words || strcmp(step->word[0], "mptcp")) {
        return true;
    }
    return shared_listener(lab, family, KIND_MPTCP, failure) >= 0;
}

static bool has_word(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length) {
        bool begins = at == text || at[-1] == ' ';
        if (begins && strchr(" ", at[length])) {
            return true;
        }
    }
    return false;
}

static bool need_tls(struct lab *lab, enum family family, const struct step *step,
                     struct failure *failure) {
    (void)family, (void)step;
    if (has_word(lab->available_ulp, "tls")) {
        return true;
    }
    return fail_with(failure, UNSUPPORTED,
                     "the kernel's tls module is not loaded, and the probe loads none");
}

static const struct {
    const char *verb;
    need check;
} NEEDS[] = {
    {"connect", need_kind},
    {"destroy", need_namespace},
    {"drop", need_rules},
    {"ktls", need_tls},
    {"resend", need_raw_segment},
    {"resend-fin", need_raw_segment},
    {"send-out-of-order", need_raw_segment},
    {"set", need_option},
    {"sysctl", need_own_settings},
    {"vanish", need_any_capture},
};

static bool check_step(struct lab *lab, enum family family, const struct step *step,
                       struct failure *failure) {
    for (size_t i = 0; i < sizeof NEEDS / sizeof *NEEDS; i++) {
        if (is_verb(step, NEEDS[i].verb)) {
            return NEEDS[i].check(lab, family, step, failure);
        }
    }
    return true;
}

static bool is_peer_closed(const struct scenario *scenario) {
    for (int i = 0; i < scenario->steps; i++) {
        const struct step *step = &scenario->step[i];
        bool is_end = is_verb(step, "close") || is_verb(step, "end");
        if (step->actor == BY_PEER && is_end) {
            return true;
        }
    }
    return false;
}

/* Returns whether a shutdown of the peer closes a direction, "read" or "write". */
static bool shuts(const struct step *step, const char *direction) {
    if (step->actor != BY_PEER || !is_verb(step, "shutdown") || !step->words) {
        return false;
    }
    return !strcmp(step->word[0], direction) || !strcmp(step->word[0], "both");
}

/* Returns whether the peer resets the connection itself, with data for which it has shut both
   directions: its socket then shows only that (tcp_rcv_state_process(), FIN_WAIT1 and
   FIN_WAIT2). */
static bool resets_itself(const struct scenario *scenario) {
    bool reading_shut = false, writing_shut = false;
    for (int i = 0; i < scenario->steps; i++) {
        const struct step *step = &scenario->step[i];
        reading_shut |= shuts(step, "read");
        writing_shut |= shuts(step, "write");
        bool sends = step->actor == BY_CLOSER && !strncmp(step->verb->name, "send", 4);
        if (sends && reading_shut && writing_shut) {
            return true;
        }
    }
    return false;
}

bool check_needs(struct lab *lab, enum family family, const struct scenario *scenario,
                 struct failure *failure) {
    for (int i = 0; i < scenario->steps; i++) {
        if (!check_step(lab, family, &scenario->step[i], failure)) {
            return false;
        }
    }
    bool is_closed = is_peer_closed(scenario);
    if (family == UNIX && is_closed) {
        return fail_with(failure, UNSUPPORTED,
                         "over AF_UNIX only the peer's socket shows the ending, and here it is "
                         "closed");
    }
    if (family != UNIX && (is_closed || resets_itself(scenario))) {
        return need_capture(lab, failure);
    }
    return true;
}
