"""The C that reads what the kernel writes of resets and of processes, alone, under the sanitizers:
it reads what the Python probe's modules read, and any other text without a report.
"""

from __future__ import annotations

import itertools
import random
import struct
from pathlib import Path

import pytest

from fleetaudit.model import WATCH_REASONS
from fleetaudit.probe.remote.errors import Unsupported
from fleetaudit.probe.remote.owners import parse_cgroup
from fleetaudit.probe.remote.watch_format import ResetFormat
from fleetaudit.probe.remote.watch_reasons import SYMBOLS, reset_word
from tests.probe.native.test_parsers import compiled, run
from tools.native import SOURCES

pytestmark = [pytest.mark.slow, pytest.mark.probe]

COMMON = """name: tcp_send_reset
ID: 1296
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:const void * skbaddr;	offset:8;	size:8;	signed:0;
	field:const void * skaddr;	offset:16;	size:8;	signed:0;
	field:int state;	offset:24;	size:4;	signed:1;
"""
PORTS = """	field:__u16 sport;	offset:28;	size:2;	signed:0;
	field:__u16 dport;	offset:30;	size:2;	signed:0;
	field:__u8 saddr[4];	offset:32;	size:4;	signed:0;
	field:__u8 daddr[4];	offset:36;	size:4;	signed:0;
	field:__u8 saddr_v6[16];	offset:40;	size:16;	signed:0;
	field:__u8 daddr_v6[16];	offset:56;	size:16;	signed:0;

print fmt: "sport=%hu dport=%hu", REC->sport, REC->dport
"""
ADDRESSES = """	field:enum sk_rst_reason reason;	offset:28;	size:4;	signed:0;
	field:__u8 saddr[28];	offset:32;	size:28;	signed:0;
	field:__u8 daddr[28];	offset:60;	size:28;	signed:0;

print fmt: "skbaddr=%p src=%pISpc dest=%pISpc state=%s reason=%s", REC->skbaddr, REC->saddr, \
REC->daddr, REC->state ? __print_symbolic(REC->state, { 1, "TCP_ESTABLISHED" }) : "UNKNOWN", \
__print_symbolic(REC->reason, { 0, "NOT_SPECIFIED" }, { 1, "NO_SOCKET" }, { 6, "TCP_FLAGS" }\
"""
REASONS = """, { 8, "TCP_ABORT_ON_DATA" }, { 11, "TCP_ABORT_ON_CLOSE" }, { 12, \
"TCP_ABORT_ON_LINGER" }, { 13, "TCP_ABORT_ON_MEMORY" }, { 14, "TCP_STATE" }, { 15, \
"TCP_KEEPALIVE_TIMEOUT" }, { 16, "TCP_DISCONNECT_WITH_DATA" }, { 24, "ERROR" }"""
FORMATS = {
    "5.10": COMMON + PORTS,
    "6.10": COMMON + ADDRESSES + ")\n",
    "6.12": COMMON + ADDRESSES + REASONS + ")\n",
}
"""What the file `format` has in kernels of these versions."""

READ = r"""
#include <stdio.h>
#include <string.h>
#include "watch_owners.h"
#include "watch_stack.h"

volatile int time_is_up;
static const char *const NAMES[] = {NAMES_OF_REASONS, "caller", "not reported", "none"};

/* Each input is a letter, its size in four digits, and its bytes. */
int main(void) {
    static char data[10000];
    static struct tracepoint point;
    static struct symbols symbols;
    char kind, unit[OWNER_TEXT];
    int size;
    while (scanf("%c%4d", &kind, &size) == 2 && fread(data, 1, size, stdin) == (size_t)size) {
        data[size] = 0;
        if (kind == 'f') {
            memset(&point, 0, sizeof point);
            printf("%d %s\n", parse_format(&point, data), point.filter);
        } else if (kind == 'r') {
            struct reset reset = {0};
            bool is_of_process = read_record(&point, (const uint8_t *)data, (size_t)size, &reset);
            printf("%d %d %s", is_of_process, reset.port, NAMES[reset.reason]);
            for (int i = 0; i < ADDRESS_SIZE && reset.has_peer; i++) {
                printf("%s%02x", i ? "" : " ", reset.peer[i]);
            }
            puts("");
        } else if (kind == 'u') {
            unit_of(data, unit, sizeof unit);
            puts(unit);
        } else if (kind == 'k') {
            add_symbol(&symbols, data);
            printf("%d\n", symbols.count);
        } else if (kind == 's') {
            enum part frame[MAX_FRAMES];
            int frames = 0;
            for (char *name = strtok(data + 1, " "); name; name = strtok(NULL, " ")) {
                frame[frames++] = part_of_name(name, strlen(name));
            }
            enum watch_reason reported = BY_THE_CALLER;
            reported = data[0] == 'u' ? NOT_REPORTED : BY_THE_CALLER;
            puts(NAMES[reason_of_stack(reported, frame, frames)]);
        }
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ", ".join(f'"{reason}"' for reason in WATCH_REASONS)
    sources = ("watch_point", "watch_owners", "watch_stack", "failure", "errno_table", "files")
    return compiled(
        tmp_path_factory.mktemp("watch"),
        READ.replace("NAMES_OF_REASONS", names).replace("volatile int time_is_up;\n", ""),
        *(f"{source}.c" for source in (*sources, "text", "waiting")),
    )


def results(program: Path, *inputs: tuple[str, bytes]) -> list[str]:
    """Returns the line that the program prints for each input."""
    text = b"".join(kind.encode() + b"%04d" % len(data) + data for kind, data in inputs)
    return run(program, text).split("\n")[:-1]


def record_of(name: str, *, port: int, reason: int = 11, flags: int = 0, family: int = 2) -> bytes:
    """Returns a record of a kernel: a connection from a local port to 192.0.2.7 or 2001:db8::7."""
    head = struct.pack("=HBBiQQi", 1296, flags, 0, 4711, 1, 2, 1)
    far6 = bytes.fromhex("20010db8000000000000000000000007")
    far4 = bytes([192, 0, 2, 7])
    if name == "5.10":
        mapped = bytes(10) + b"\xff\xff" + far4
        far = far6 if family == 10 else mapped
        return head + struct.pack("=HH4s4s16s16s", port, 5, bytes(4), far4, bytes(16), far)
    ends = []
    for place, v4, v6 in ((port, bytes(4), bytes(16)), (5, far4, far6)):
        address = struct.pack("!H", place) + (v4 if family == 2 else bytes(4) + v6)
        ends.append((struct.pack("=H", family) + address).ljust(28, b"\0"))
    return head + struct.pack("=I", reason) + b"".join(ends)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("family", [2, 10])
@pytest.mark.parametrize("flags", [0, 0x08, 0x10, 0x20])
def test_a_record_is_read_as_by_python(program: Path, name: str, family: int, flags: int) -> None:
    event = ResetFormat("1296", FORMATS[name])
    raws = [
        record_of(name, port=port, reason=reason, flags=flags, family=family)
        for port, reason in itertools.product((1, 443, 65535), (0, 1, 6, 8, 11, 14, 15, 16, 99))
    ]
    form, *lines = results(program, ("f", FORMATS[name].encode()), *(("r", raw) for raw in raws))
    assert form.split() == ["1", event.filter()] if event.filter() else ["1"]
    for raw, line in zip(raws, lines, strict=True):
        is_of_process, port, *reason, peer = line.split()
        assert is_of_process == str(int(not event.is_interrupt(raw)))
        assert int(port) == event.port(raw)
        assert bytes.fromhex(peer)[-len(event.peer(raw)) :] == event.peer(raw)
        if event.told_by == "stack":
            assert reason == ["not", "reported"]
        else:
            word = reset_word(event.reason(raw), ())
            expected = "caller" if event.reason(raw) == "TCP_STATE" else word or "none"
            assert " ".join(reason) == expected


def test_a_record_that_was_cut_gives_no_report(program: Path) -> None:
    for name, form in FORMATS.items():
        raw = record_of(name, port=1)
        cuts = [("r", raw[:size]) for size in range(len(raw))]
        assert len(results(program, ("f", form.encode()), *cuts)) == len(cuts) + 1


def test_any_other_format_is_refused_or_read_without_a_report(program: Path) -> None:
    rng = random.Random(3)
    inputs = []
    for _ in range(2000):
        text = bytearray(rng.choice([*FORMATS.values()]).encode())
        for _ in range(rng.randrange(1, 20)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(3)] = bytes(
                rng.choice(b"{}\"'%;:[],0123456789\n\t -x") for _ in range(rng.randrange(4))
            )
        inputs += [("f", bytes(text[:9000])), ("r", record_of("6.12", port=1))]
    assert len(results(program, *inputs)) == len(inputs)


def test_a_format_without_addresses_is_refused_by_both(program: Path) -> None:
    with pytest.raises(Unsupported):
        ResetFormat("1", COMMON)
    assert results(program, ("f", COMMON.encode())) == ["0 "]


ID = "6fe0a1b2c3d4" + "e5f60718" * 6 + "9abc"
CGROUPS = (
    "",
    "0::/\n",
    "0::/system.slice/nginx.service\n",
    "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-vim.scope\n",
    "12:pids:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n0::/\n",
    f"0::/system.slice/docker-{ID}.scope\n",
    f"12:cpu:/docker/{ID}\n0::/docker/{ID}\n",
    f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n",
    f"0::/kubepods/burstable/pod12345678-1234-1234-1234-123456789012/{ID}\n",
    f"0::/machine.slice/libpod-{ID}.scope/container\n",
    f"0::/kubepods.slice/crio-{ID}.scope\n",
    "0::/docker/short\n",
    "0::/system.slice/docker.service\n",
    "0::/a.service/b\n0::/c.mount\n",
    "no colon at all",
    "0::/" + "x" * 2000 + ".service\n",
    "::::\n\n::",
)


@pytest.mark.parametrize("text", CGROUPS, ids=range(len(CGROUPS)))
def test_the_unit_of_a_control_group_is_the_one_of_python(program: Path, text: str) -> None:
    (found,) = results(program, ("u", text.encode()))
    assert found == parse_cgroup(text)


@pytest.mark.parametrize("callers", [1, 2, 3])
def test_a_stack_means_what_python_takes_it_for(program: Path, callers: int) -> None:
    names = [*SYMBOLS, "inet_release"]
    stacks = [
        (*before, *rest)
        for before in ((), ("tcp_send_active_reset",), ("x", "tcp_send_active_reset"))
        for rest in itertools.product(names, repeat=callers)
    ][:4000]
    given = [*(("u", "") for _ in stacks), *(("c", "TCP_STATE") for _ in stacks)]
    inputs = [
        ("s", (letter + " ".join(stack)).encode())
        for (letter, _), stack in zip(given, stacks * 2, strict=True)
    ]
    found = results(program, *inputs)
    for (_, reason), stack, word in zip(given, stacks * 2, found, strict=True):
        known = [name if name in SYMBOLS else "" for name in stack]
        assert word == (reset_word(reason, known) or "none"), (reason, stack)


def test_lines_of_symbols_give_no_report(program: Path) -> None:
    lines = [
        "ffffffff81000000 T tcp_send_active_reset\n",
        "ffffffff81000100 t tcp_close.part.0\n",
        "ffffffff81000200 d tcp_close\n",
        "0000000000000000 T tcp_close\n",
        *("", "x", "ffff", "ffffffff81000000", "ffffffff81000000 ", "ffffffff81000000 T"),
        *("ffffffffffffffffffffffff T tcp_close", "-1 T tcp_close", " T tcp_close", "0 T "),
    ]
    counts = results(program, *(("k", line.encode()) for line in lines))
    assert counts[:4] == ["1", "2", "2", "2"]
    assert len(results(program, *[("k", b"1 T tcp_close\n")] * 500)) == 500


READ_LINES = r"""
volatile sig_atomic_t time_is_up;
static const char *const NAMES[] = {NAMES_OF_REASONS, "caller", "not reported", "none"};

double now(void) { return 0; }
void pause_for(double seconds) { (void)seconds; }
bool may_read_more(struct watching *watching) { return watching != NULL; }

void take_reset(struct watching *watching, struct reset *reset, const enum part *frame,
                int frames) {
    enum watch_reason reason = reason_of_stack(reset->reason, frame, frames);
    (void)watching;
    printf("%u %d %s", reset->process, reset->port, NAMES[reason]);
    for (int i = 0; i < ADDRESS_SIZE && reset->has_peer; i++) {
        printf("%s%02x", i ? "" : " ", reset->peer[i]);
    }
    puts("");
}

int main(void) {
    static struct watching watching = {.point.codes = 1};
    static struct instance instance;
    while ((instance.used += fread(instance.buffer + instance.used, 1, 1000, stdin)) > 0) {
        size_t used = instance.used;
        take_lines(&instance, &watching);
        if (feof(stdin) && instance.used == used) {
            break;
        }
    }
    end_current(&instance, &watching);
    printf("lost %lld\n", watching.lost);
    return 0;
}
"""


@pytest.fixture(scope="module")
def line_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ", ".join(f'"{reason}"' for reason in WATCH_REASONS)
    source = (SOURCES / "watch_instance.c").read_text()
    sources = ("watch_point", "watch_stack", "failure", "errno_table", "files")
    return compiled(
        tmp_path_factory.mktemp("lines"),
        source + READ_LINES.replace("NAMES_OF_REASONS", names),
        *(f"{name}.c" for name in sources),
    )


def traced(pid: int, cpu: int, words: str, *, name: str = "nginx", flags: str = ".....") -> str:
    return f"{name:>16}-{pid:<7} [{cpu:03}] {flags} 42.042: {words}\n"


def test_the_lines_of_a_tracing_instance_are_read(line_program: Path) -> None:
    sent = "tcp_send_reset: skbaddr=0 skaddr=1"
    old = f"{sent} sport=80 dport=5 saddr=127.0.0.1 daddr=192.0.2.7 saddrv6=::1"
    close = " => tcp_send_active_reset\n => __tcp_close\n => tcp_close\n"
    state = "src=[::1]:80 dest=[2001:db8::7]:5 state=TCP_CLOSE reason"
    text = (
        traced(7, 0, f"{sent} src=127.0.0.1:80 dest=192.0.2.7:5 state=TCP_CLOSE reason=TCP_STATE")
        + traced(8, 1, f"{sent} {state}=TCP_ABORT_ON_CLOSE", name="a b-1 [003]")
        + traced(7, 0, "<stack trace>")
        + " => tcp_send_active_reset+0x1/0x2\n => tcp_disconnect\n => __tcp_close.part.0\n"
        + traced(8, 1, "<stack trace>", name="a b-1 [003]")
        + close
        + "CPU:1 [LOST 14 EVENTS]\n"
        + traced(9, 0, f"{old} daddrv6=::ffff:192.0.2.7 state=TCP_CLOSE", flags="..s..")
        + traced(9, 0, "<stack trace>", flags="..s..")
        + close
    )
    v4 = "00000000000000000000ffffc0000207"
    assert run(line_program, text.encode()).splitlines() == [
        f"7 80 linger 0 {v4}",
        "8 80 unread data 20010db8000000000000000000000007",
        f"0 80 unread data {v4}",
        "lost 7",
    ]


def test_any_other_lines_give_no_report(line_program: Path) -> None:
    rng = random.Random(11)
    words = ["tcp_send_reset:", ": tcp_send_reset: ", "<stack trace>", ": <stack trace>", " => "]
    words += [" [", "[001]", "]", "-", "src=", " src=[", " dest=[::1", "dest=:", " reason=", "\n"]
    words += [" sport=99999999999", " daddrv6=", "tcp_close", "x" * 5000, "\0", " [LOST ", "9" * 30]
    for _ in range(30):
        text = "".join(rng.choices(words, k=3000))
        assert run(line_program, text.encode()).splitlines()[-1].startswith("lost ")
