/* The steps that drop segments: nftables rules of the private namespace, by nfnetlink. */
#define _GNU_SOURCE /* memmem */
#include "firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files.h"
#include "verb_functions.h"
#include "verbs.h"
#include "waiting.h"

enum { FLAGS_OFFSET = 13, MOST_BYTES = 2048, MAX_SYMBOLS = 64 * 1024 * 1024, LONGEST_LINE = 256 };
static const char TABLE[] = "fleetaudit", CHAIN[] = "input";

/* Functions that a kernel has in memory only if no module must be loaded for a rule; the last ones
   are conntrack's. */
static const char *const FUNCTIONS[] = {
    "nf_tables_newtable", "nft_do_chain_inet", "nft_meta_get_eval",
    "nft_ct_get_eval",    "ipv4_conntrack_in", "ipv6_conntrack_in",
};
enum { FUNCTIONS_IN_ALL = sizeof FUNCTIONS / sizeof *FUNCTIONS, OF_TABLES = 3 };

/* The messages of one transaction. All of them together have about 800 bytes. */
struct batch {
    uint8_t bytes[MOST_BYTES];
    size_t used;
    unsigned changes;
};

static void put(struct batch *batch, const void *data, size_t size) {
    if (size) {
        memcpy(batch->bytes + batch->used, data, size);
    }
    batch->used += size;
    while (batch->used % NLA_ALIGNTO) {
        batch->bytes[batch->used++] = 0;
    }
}

static void put_attribute(struct batch *batch, uint16_t type, const void *value, size_t size) {
    struct nlattr head = {.nla_len = (uint16_t)(sizeof head + size), .nla_type = type};
    put(batch, &head, sizeof head);
    put(batch, value, size);
}

static void put_text(struct batch *batch, uint16_t type, const char *text) {
    put_attribute(batch, type, text, strlen(text) + 1);
}

static void put_number(struct batch *batch, uint16_t type, uint32_t number) {
    number = htonl(number);
    put_attribute(batch, type, &number, sizeof number);
}

/* Begins an attribute that contains others; returns where it is. */
static size_t begin(struct batch *batch, uint16_t type) {
    size_t at = batch->used;
    put_attribute(batch, NLA_F_NESTED | type, NULL, 0);
    return at;
}

/* Ends what begins at `at`: an attribute. */
static void finish(struct batch *batch, size_t at) {
    uint16_t size = (uint16_t)(batch->used - at);
    memcpy(batch->bytes + at, &size, sizeof size);
}

/* Begins an expression of a rule; `at` says where its two attributes are. */
static void begin_expression(struct batch *batch, const char *name, size_t at[2]) {
    at[0] = begin(batch, NFTA_LIST_ELEM);
    put_text(batch, NFTA_EXPR_NAME, name);
    at[1] = begin(batch, NFTA_EXPR_DATA);
}

static void finish_expression(struct batch *batch, const size_t at[2]) {
    finish(batch, at[1]);
    finish(batch, at[0]);
}

static void put_data(struct batch *batch, uint16_t type, const void *value, size_t size) {
    size_t at = begin(batch, type);
    put_attribute(batch, NFTA_DATA_VALUE, value, size);
    finish(batch, at);
}

/* Goes on with the rule if the register compares so with a value. */
static void put_comparison(struct batch *batch, uint32_t operation, const void *value,
                           size_t size) {
    size_t at[2];
    begin_expression(batch, "cmp", at);
    put_number(batch, NFTA_CMP_SREG, NFT_REG_1);
    put_number(batch, NFTA_CMP_OP, operation);
    put_data(batch, NFTA_CMP_DATA, value, size);
    finish_expression(batch, at);
}

/* Goes on with the rule if the register has one of the bits of `mask`, of at most four bytes. */
static void put_bits(struct batch *batch, const void *mask, size_t size) {
    static const uint32_t NOTHING = 0;
    size_t at[2];
    begin_expression(batch, "bitwise", at);
    put_number(batch, NFTA_BITWISE_SREG, NFT_REG_1);
    put_number(batch, NFTA_BITWISE_DREG, NFT_REG_1);
    put_number(batch, NFTA_BITWISE_LEN, (uint32_t)size);
    put_data(batch, NFTA_BITWISE_MASK, mask, size);
    put_data(batch, NFTA_BITWISE_XOR, &NOTHING, size);
    finish_expression(batch, at);
    put_comparison(batch, NFT_CMP_NEQ, &NOTHING, size);
}

/* Goes on with the rule if conntrack calls the packet invalid. */
static void put_is_invalid(struct batch *batch) {
    uint32_t invalid = NF_CT_STATE_INVALID_BIT; /* in the host's order */
    size_t at[2];
    begin_expression(batch, "ct", at);
    put_number(batch, NFTA_CT_DREG, NFT_REG_1);
    put_number(batch, NFTA_CT_KEY, NFT_CT_STATE);
    finish_expression(batch, at);
    put_bits(batch, &invalid, sizeof invalid);
}

/* Goes on with the rule if the packet is a TCP segment with RST. */
static void put_is_reset(struct batch *batch) {
    uint8_t protocol = IPPROTO_TCP, reset = TCP_RST;
    size_t at[2];
    begin_expression(batch, "meta", at);
    put_number(batch, NFTA_META_DREG, NFT_REG_1);
    put_number(batch, NFTA_META_KEY, NFT_META_L4PROTO);
    finish_expression(batch, at);
    put_comparison(batch, NFT_CMP_EQ, &protocol, sizeof protocol);
    begin_expression(batch, "payload", at);
    put_number(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
    put_number(batch, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
    put_number(batch, NFTA_PAYLOAD_OFFSET, FLAGS_OFFSET);
    put_number(batch, NFTA_PAYLOAD_LEN, sizeof reset);
    finish_expression(batch, at);
    put_bits(batch, &reset, sizeof reset);
}

static void put_verdict(struct batch *batch) {
    size_t at[2];
    begin_expression(batch, "immediate", at);
    put_number(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = begin(batch, NFTA_IMMEDIATE_DATA), verdict = begin(batch, NFTA_DATA_VERDICT);
    put_number(batch, NFTA_VERDICT_CODE, NF_DROP);
    finish(batch, verdict);
    finish(batch, data);
    finish_expression(batch, at);
}

/* Begins a message; returns where it is. */
static size_t begin_message(struct batch *batch, int type, int flags, int family, int subsystem) {
    struct nlmsghdr head = {.nlmsg_type = (uint16_t)type,
                            .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
    struct nfgenmsg message = {.nfgen_family = (uint8_t)family,
                               .res_id = htons((uint16_t)subsystem)};
    size_t at = batch->used;
    head.nlmsg_seq = batch->changes;
    put(batch, &head, sizeof head);
    put(batch, &message, sizeof message);
    return at;
}

static void finish_message(struct batch *batch, size_t at) {
    uint32_t size = (uint32_t)(batch->used - at);
    memcpy(batch->bytes + at, &size, sizeof size);
}

/* Begins a change of the rules, which the kernel acknowledges. */
static size_t begin_change(struct batch *batch, int type) {
    batch->changes++;
    return begin_message(batch, NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_ACK | NLM_F_CREATE,
                         NFPROTO_INET, 0);
}

static void put_border(struct batch *batch, int type) {
    finish_message(batch, begin_message(batch, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

static void put_table(struct batch *batch, int type) {
    size_t at = begin_change(batch, type);
    put_text(batch, NFTA_TABLE_NAME, TABLE);
    finish_message(batch, at);
}

/* Puts a chain at the input of the namespace. */
static void put_chain(struct batch *batch) {
    size_t at = begin_change(batch, NFT_MSG_NEWCHAIN);
    put_text(batch, NFTA_CHAIN_TABLE, TABLE);
    put_text(batch, NFTA_CHAIN_NAME, CHAIN);
    size_t hook = begin(batch, NFTA_CHAIN_HOOK);
    put_number(batch, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_IN);
    put_number(batch, NFTA_HOOK_PRIORITY, 0);
    finish(batch, hook);
    put_number(batch, NFTA_CHAIN_POLICY, NF_ACCEPT);
    put_text(batch, NFTA_CHAIN_TYPE, "filter");
    finish_message(batch, at);
}

/* Puts the rule `tcp flags rst drop`, or `ct state invalid drop`. */
static void put_rule(struct batch *batch, bool is_invalid) {
    size_t at = begin_change(batch, NFT_MSG_NEWRULE);
    put_text(batch, NFTA_RULE_TABLE, TABLE);
    put_text(batch, NFTA_RULE_CHAIN, CHAIN);
    size_t expressions = begin(batch, NFTA_RULE_EXPRESSIONS);
    if (is_invalid) {
        put_is_invalid(batch);
    } else {
        put_is_reset(batch);
    }
    put_verdict(batch);
    finish(batch, expressions);
    finish_message(batch, at);
}

/* Returns the errno of the next answer, 0 if it is an acknowledgment. */
static int receive_error(int fd) {
    union {
        struct {
            struct nlmsghdr header;
            struct nlmsgerr error;
        } answer;
        char room[4096];
    } received;
    if (!wait_for_events(fd, POLLIN)) {
        return ETIMEDOUT;
    }
    ssize_t size = recv(fd, &received, sizeof received, MSG_DONTWAIT);
    if (size < (ssize_t)(sizeof received.answer.header + sizeof received.answer.error.error) ||
        received.answer.header.nlmsg_type != NLMSG_ERROR) {
        return EBADMSG;
    }
    return -received.answer.error.error;
}

/* Sends one transaction over an open socket; returns the first error of the kernel, or 0. */
static int send_batch(int fd, const struct batch *batch) {
    if (send(fd, batch->bytes, batch->used, 0) < 0) {
        return errno;
    }
    for (unsigned i = 0; i < batch->changes; i++) {
        int refused = receive_error(fd);
        if (refused) {
            return refused;
        }
    }
    return 0;
}

/* Sends one transaction; returns false with errno. */
static bool change_rules(const struct batch *batch) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0) {
        return false;
    }
    int refused = send_batch(fd, batch);
    close(fd);
    errno = refused;
    return !refused;
}

static void delete_table(struct connection *c, struct cleanup *cleanup) {
    struct batch batch = {.used = 0};
    (void)c, (void)cleanup;
    put_border(&batch, NFNL_MSG_BATCH_BEGIN);
    put_table(&batch, NFT_MSG_DELTABLE);
    put_border(&batch, NFNL_MSG_BATCH_END);
    change_rules(&batch);
}

bool drop_segments(struct connection *c, const struct step *step, struct failure *failure) {
    struct batch batch = {.used = 0};
    const char *what = first_word(step);
    bool is_invalid = !strcmp(what, "invalid");
    if (!is_invalid && strcmp(what, "rst") != 0) {
        return fail_with(failure, STEP_FAILED, "the probe knows no rule for %s", what);
    }
    put_border(&batch, NFNL_MSG_BATCH_BEGIN);
    put_table(&batch, NFT_MSG_NEWTABLE);
    put_chain(&batch);
    put_rule(&batch, is_invalid);
    put_border(&batch, NFNL_MSG_BATCH_END);
    if (!change_rules(&batch)) {
        return fail_unsupported(failure, "this kernel refuses the nftables rule");
    }
    c->drops_invalid = c->drops_invalid || is_invalid;
    return add_cleanup(c, delete_table, failure) != NULL;
}

/* Notes which functions a part of /proc/kallsyms names: those that are not among `missing` any
   more are NULL there. */
static void find_functions(const char *text, size_t size, const char *missing[], int count) {
    char line[64];
    for (int i = 0; i < count; i++) {
        int length = missing[i] ? snprintf(line, sizeof line, " %s\n", missing[i]) : 0;
        if (length && memmem(text, size, line, (size_t)length)) {
            missing[i] = NULL;
        }
    }
}

/* Reads a part of the list behind what is kept of the part before; returns the bytes read. */
static size_t read_symbols(int fd, char *text, size_t used, size_t size) {
    ssize_t length = read(fd, text + used, size - used);
    for (ssize_t i = 0; i < length; i++) {
        if (text[used + (size_t)i] == '\t') { /* before the name of a module */
            text[used + (size_t)i] = '\n';
        }
    }
    return length > 0 ? (size_t)length : 0;
}

const char *missing_function(bool with_conntrack) {
    char text[LONGEST_LINE + 16384];
    const char *missing[FUNCTIONS_IN_ALL];
    int count = with_conntrack ? FUNCTIONS_IN_ALL : OF_TABLES;
    size_t kept = 0, total = 0, length;
    memcpy(missing, FUNCTIONS, sizeof missing);
    int fd = open_to_read("/proc/kallsyms");
    while (fd >= 0 && total < MAX_SYMBOLS && (length = read_symbols(fd, text, kept, sizeof text))) {
        size_t used = kept + length;
        find_functions(text, used, missing, count);
        kept = used < LONGEST_LINE ? used : LONGEST_LINE;
        memmove(text, text + used - kept, kept);
        total += length;
    }
    if (fd >= 0) {
        close(fd);
    }
    for (int i = 0; i < count; i++) {
        if (missing[i]) {
            return missing[i];
        }
    }
    return NULL;
}
