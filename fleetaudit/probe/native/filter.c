/* Assembles and attaches the packet filter, in classic BPF: `remote/bpf.py`. */
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdint.h>
#include <sys/socket.h>

#include "capture.h"
#include "constants.h"

enum { MAX_LINES = 64 + 4 * MAX_PORTS };
/* Where the fields are: in the packet for IPv4 and IPv6, behind the IP header for a port. */
enum { IPV4_FRAGMENT = 6, IPV4_PROTOCOL = 9, IPV4_SOURCE = 12, IPV4_TARGET = 16 };
enum { IPV6_PROTOCOL = 6, IPV6_SOURCE = 8, IPV6_PORTS = 40, ADDRESS_WORDS = 8 };
enum { TCP_PROTOCOL = 6, LOOPBACK = 0x7F000001, TARGET_PORT = 2 };
enum { LOAD_BYTE = BPF_LD | BPF_B | BPF_ABS, LOAD_HALF = BPF_LD | BPF_H | BPF_ABS };
enum { LOAD_WORD = BPF_LD | BPF_W | BPF_ABS, LOAD_HALF_BEHIND_IP = BPF_LD | BPF_H | BPF_IND };

/* Where a comparison jumps to: the next line, or one of the two at the end. */
enum target { NEXT, REJECT, PASS };

/* Jumps to the end are filled in by `finish`, which knows where it is. */
struct program {
    struct sock_filter line[MAX_LINES];
    enum target if_true[MAX_LINES], if_false[MAX_LINES];
    int length;
};

static void add(struct program *p, int code, uint32_t operand) {
    p->line[p->length++] = (struct sock_filter){.code = (uint16_t)code, .k = operand};
}

static void compare(struct program *p, uint32_t value, enum target if_true, enum target if_false) {
    p->if_true[p->length] = if_true;
    p->if_false[p->length] = if_false;
    add(p, BPF_JMP | BPF_JEQ | BPF_K, value);
}

static void require(struct program *p, int load, uint32_t offset, uint32_t value) {
    add(p, load, offset);
    compare(p, value, NEXT, REJECT);
}

/* Passes a packet whose source or target port is one of `ports`, and rejects any other. */
static void pass_ports(struct program *p, int load, uint32_t offset, const int *ports, int count) {
    for (int end = 0; end < 2; end++) {
        add(p, load, offset + (uint32_t)end * TARGET_PORT);
        for (int i = 0; i < count; i++) {
            compare(p, (uint32_t)ports[i], PASS, NEXT);
        }
    }
    add(p, BPF_RET | BPF_K, 0);
}

static void pass_ipv4(struct program *p, const int *ports, int count) {
    require(p, LOAD_BYTE, IPV4_PROTOCOL, TCP_PROTOCOL);
    require(p, LOAD_WORD, IPV4_SOURCE, LOOPBACK);
    require(p, LOAD_WORD, IPV4_TARGET, LOOPBACK);
    add(p, LOAD_HALF, IPV4_FRAGMENT);
    add(p, BPF_ALU | BPF_AND | BPF_K, 0x1FFF);
    compare(p, 0, NEXT, REJECT);
    add(p, BPF_LDX | BPF_B | BPF_MSH, 0); /* the length of the IP header */
    pass_ports(p, LOAD_HALF_BEHIND_IP, 0, ports, count);
}

static void pass_ipv6(struct program *p, const int *ports, int count) {
    require(p, LOAD_BYTE, IPV6_PROTOCOL, TCP_PROTOCOL);
    for (uint32_t word = 0; word < ADDRESS_WORDS; word++) { /* ::1 twice */
        require(p, LOAD_WORD, IPV6_SOURCE + 4 * word, word % 4 == 3);
    }
    pass_ports(p, LOAD_HALF, IPV6_PORTS, ports, count);
}

/* Returns how many lines a jump from a line skips; PASS is the line after `reject`. */
static uint8_t skipped(enum target target, int from, int reject) {
    if (target == NEXT) {
        return 0;
    }
    return (uint8_t)(reject + (target == PASS) - from - 1);
}

/* Adds the two last lines, and fills in the jumps to them. */
static void finish(struct program *p) {
    int reject = p->length;
    add(p, BPF_RET | BPF_K, 0);
    add(p, BPF_RET | BPF_K, SNAP);
    for (int i = 0; i < reject; i++) {
        if (p->if_true[i] != NEXT || p->if_false[i] != NEXT) {
            p->line[i].jt = skipped(p->if_true[i], i, reject);
            p->line[i].jf = skipped(p->if_false[i], i, reject);
        }
    }
}

/* Passes TCP from or to `ports` between 127.0.0.1 and itself, or ::1 and itself. Each packet passes
   `lo` twice; the outgoing one is rejected. */
static void assemble(struct program *p, const int *ports, int count) {
    add(p, LOAD_WORD, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
    compare(p, PACKET_OUTGOING, REJECT, NEXT);
    add(p, LOAD_BYTE, 0);
    add(p, BPF_ALU | BPF_AND | BPF_K, 0xF0);
    int branch = p->length;
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 0x60);
    compare(p, 0x40, NEXT, REJECT);
    pass_ipv4(p, ports, count);
    p->line[branch].jt = (uint8_t)(p->length - branch - 1);
    pass_ipv6(p, ports, count);
    finish(p);
}

static bool attach(int fd, struct sock_filter *lines, int length) {
    struct sock_fprog program = {.len = (unsigned short)length, .filter = lines};
    return !setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

bool attach_loopback_filter(int fd, const int *ports, int count) {
    struct program p = {.length = 0};
    assemble(&p, ports, count);
    return attach(fd, p.line, p.length);
}

bool reject_all(int fd) {
    struct sock_filter line = {.code = BPF_RET | BPF_K};
    return attach(fd, &line, 1);
}
