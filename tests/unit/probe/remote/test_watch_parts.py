"""What a watch reads from the kernel: formats, symbols, lines of a trace, and tables, also odd
ones.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetaudit.model.watch import WATCH_REASONS
from fleetaudit.probe.remote import (
    watch_format,
    watch_instance,
    watch_owners,
    watch_perf,
    watch_ports,
    watch_reasons,
    watch_rows,
    watch_tally,
    watch_tracefs,
)
from fleetaudit.probe.remote.errors import Unsupported
from fleetaudit.probe.remote.watch_owners import REST, UNKNOWN, Owner

COMMON = """name: tcp_send_reset
ID: 1480
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;
"""
OLD = (
    COMMON
    + """\tfield:int state;\toffset:24;\tsize:4;\tsigned:1;
\tfield:__u16 sport;\toffset:28;\tsize:2;\tsigned:0;
\tfield:__u16 dport;\toffset:30;\tsize:2;\tsigned:0;
\tfield:__u8 saddr[4];\toffset:34;\tsize:4;\tsigned:0;
\tfield:__u8 daddr[4];\toffset:38;\tsize:4;\tsigned:0;
\tfield:__u8 saddr_v6[16];\toffset:42;\tsize:16;\tsigned:0;
\tfield:__u8 daddr_v6[16];\toffset:58;\tsize:16;\tsigned:0;

print fmt: "sport=%hu state=%s", REC->sport, __print_symbolic(REC->state, { 1, "TCP_ESTABLISHED" })
"""
)
NEW = (
    COMMON
    + """\tfield:int state;\toffset:24;\tsize:4;\tsigned:1;
\tfield:enum sk_rst_reason reason;\toffset:28;\tsize:4;\tsigned:0;
\tfield:__u8 saddr[28];\toffset:32;\tsize:28;\tsigned:0;
\tfield:__u8 daddr[28];\toffset:60;\tsize:28;\tsigned:0;

print fmt: "%s %s", __print_symbolic(REC->state, { 1, "TCP_ESTABLISHED" }), \
__print_symbolic(REC->reason, { 0, "NOT_SPECIFIED" }, { 1, "NO_SOCKET" }%s)
"""
)
REASONS_612 = ', { 11, "TCP_ABORT_ON_CLOSE" }, { 14, "TCP_STATE" }'


def event(text: str) -> watch_format.ResetFormat:
    return watch_format.ResetFormat("1480\n", text)


def sockaddr(address: str, port: int) -> bytes:
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + packed
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address)


def test_the_format_before_6_10_has_a_port_and_no_reason() -> None:
    old = event(OLD)
    raw = bytearray(74)
    raw[2] = 0x10
    struct.pack_into("=H", raw, 28, 8443)
    raw[38:42] = bytes((192, 0, 2, 9))
    raw[58:74] = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 9))
    assert (old.number, old.told_by, old.filter()) == (1480, "stack", "")
    assert old.reason(bytes(raw)) == ""
    assert old.port(bytes(raw)) == 8443
    assert old.is_interrupt(bytes(raw))
    assert watch_format.peer_network(old.peer(bytes(raw))) == "192.0.2.0/24"


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.9", "192.0.2.0/24"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64")],
)
def test_the_format_of_6_12_has_addresses_and_a_reason(address: str, network: str) -> None:
    new = event(NEW.replace("%s)\n", f"{REASONS_612})\n"))
    raw = bytearray(88)
    struct.pack_into("=I", raw, 28, 11)
    raw[32 : 32 + len(sockaddr(address, 8443))] = sockaddr(address, 8443)
    raw[60 : 60 + len(sockaddr(address, 4711))] = sockaddr(address, 4711)
    assert (new.told_by, new.filter()) == ("reason", "reason==11||reason==14")
    assert new.reason(bytes(raw)) == "TCP_ABORT_ON_CLOSE"
    assert new.port(bytes(raw)) == 8443
    assert not new.is_interrupt(bytes(raw))
    assert watch_format.peer_network(new.peer(bytes(raw))) == network


def test_the_format_of_6_10_names_no_reason_of_a_program() -> None:
    new = event(NEW.replace("%s)\n", ")\n"))
    assert (new.told_by, new.filter()) == ("stack", "reason==0")


@pytest.mark.parametrize("text", ["", "\0" * 100, "field:" * 5000, COMMON, "x" * 65536, NEW[:400]])
def test_another_format_is_refused(text: str) -> None:
    with pytest.raises(Unsupported):
        event(text)


@pytest.mark.parametrize("number", ["", "-1", "x", "9" * 30])
def test_a_number_that_is_not_one_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"is not from 0|invalid literal"):
        watch_format.ResetFormat(number, OLD)


CHAINS = [
    ("", ("tcp_send_active_reset", "__tcp_close", "tcp_close"), "unread data"),
    ("", ("", "tcp_send_active_reset", "tcp_close", ""), "unread data"),
    ("", ("tcp_send_active_reset", "tcp_disconnect", "__tcp_close", "tcp_close"), "linger 0"),
    ("", ("tcp_send_active_reset", "tcp_disconnect", ""), "disconnect"),
    ("", ("tcp_send_active_reset", "tcp_disconnect"), "disconnect"),
    (
        "",
        ("tcp_send_active_reset", "tcp_disconnect", "inet_child_forget", "inet_csk_listen_stop"),
        "exit of a child socket",
    ),
    ("", ("tcp_send_active_reset", "tcp_keepalive_timer"), "keepalive"),
    ("", ("tcp_send_active_reset", "tcp_out_of_resources"), "memory"),
    ("", ("tcp_send_active_reset", "", "tcp_close"), "other"),
    ("", ("tcp_send_active_reset",), "other"),
    ("", (), None),
    ("", ("", "", ""), None),
    ("NO_SOCKET", (), None),
    ("TCP_FLAGS", ("",), None),
    ("NOT_SPECIFIED", ("tcp_send_active_reset", "__tcp_close"), "unread data"),
    ("TCP_ABORT_ON_CLOSE", (), "unread data"),
    ("TCP_ABORT_ON_CLOSE", ("tcp_send_active_reset", "mptcp_do_fastclose"), "other"),
    ("TCP_ABORT_ON_LINGER", (), "linger 0"),
    ("TCP_ABORT_ON_MEMORY", (), "memory"),
    ("TCP_ABORT_ON_DATA", (), "data after close"),
    ("TCP_KEEPALIVE_TIMEOUT", (), "keepalive"),
    ("TCP_DISCONNECT_WITH_DATA", (), "disconnect"),
    ("TCP_STATE", ("tcp_send_active_reset", "tcp_disconnect", "__tcp_close"), "linger 0"),
    ("TCP_STATE", (), "other"),
]


@pytest.mark.parametrize(("reason", "callers", "word"), CHAINS)
def test_a_reset_has_a_word_by_its_reason_and_callers(
    reason: str, callers: Sequence[str], word: str | None
) -> None:
    assert watch_reasons.reset_word(reason, callers) == word
    assert word is None or word in WATCH_REASONS


KALLSYMS = """ffffffff81000000 T _stext
ffffffff82013890 t __pfx_tcp_close
ffffffff820138c0 T __tcp_close
ffffffff820138c0 T alias
ffffffff82013ce0 T tcp_close
ffffffff82013d70 t tcp_closed
ffffffff8202c6e0 T tcp_send_active_reset
ffffffff8202c890 T tcp_other
ffffffff8202d000 t tcp_probe_timer.part.0
ffffffff8202e000 t last
"""


def symbols(tmp_path: Path, text: str) -> watch_reasons.Symbols:
    path = tmp_path / "kallsyms"
    path.write_text(text)
    return watch_reasons.Symbols(str(path))


def test_functions_are_found_by_their_addresses(tmp_path: Path) -> None:
    found = symbols(tmp_path, KALLSYMS)
    assert not found.are_hidden()
    assert found.name(0xFFFFFFFF820138C5) == "__tcp_close"
    assert found.name(0xFFFFFFFF82013CDF) == "__tcp_close"
    assert found.name(0xFFFFFFFF82013CE0) == "tcp_close"
    assert found.name(0xFFFFFFFF82013D70) == ""
    assert found.name(0xFFFFFFFF8202D001) == "tcp_probe_timer"
    assert found.name(0) == ""


@pytest.mark.parametrize("lines", [0, 1, 7, 6000, 6543])
def test_a_function_is_found_wherever_a_chunk_ends(tmp_path: Path, lines: int) -> None:
    filler = "".join(f"ffffffff80{n:06x} t f{n}\n" for n in range(lines * 3))
    found = symbols(tmp_path, filler + KALLSYMS + filler.replace("ffffffff80", "ffffffff83"))
    assert len({name for _, _, name in _read(found)}) == 4
    assert found.name(0xFFFFFFFF82013CE0) == "tcp_close"


def _read(found: watch_reasons.Symbols) -> list[tuple[int, int, str]]:
    found.read()
    return found.ranges


@pytest.mark.parametrize(
    "text",
    [
        "",
        "".join(f"{0:016x} T {name}\n" for name in watch_reasons.SYMBOLS),
        "zzzz\n" * 1000,
        "ffffffff81000000 T tcp_send_active_reset",
    ],
)
def test_symbols_without_addresses_are_hidden(tmp_path: Path, text: str) -> None:
    assert symbols(tmp_path, text).are_hidden()


def test_symbols_that_repeat_without_end_are_bounded(tmp_path: Path) -> None:
    found = symbols(tmp_path, "ffffffff81000000 T tcp_close\n" * 50000)
    assert len(_read(found)) <= watch_reasons.MAX_RANGES


def test_a_file_that_is_not_there_hides_the_symbols(tmp_path: Path) -> None:
    assert watch_reasons.Symbols(str(tmp_path / "none")).are_hidden()


def sample(pid: int, chain: Sequence[int], raw: bytes) -> bytes:
    head = struct.pack("=IIQQ", pid, pid, 42, len(chain)) + struct.pack(f"={len(chain)}Q", *chain)
    return head + struct.pack("=I", len(raw)) + raw


def test_records_of_a_ring_buffer_are_split() -> None:
    body = sample(7, [1, 2, 3], b"abcd")
    data = struct.pack("=IHH", 9, 0, 8 + len(body)) + body + struct.pack("=IHH", 2, 1, 8)
    assert list(watch_perf.split_records(data)) == [(9, 0, body), (2, 1, b"")]
    assert watch_perf.split_sample(body) == (7, [1, 2, 3], b"abcd")
    assert watch_perf.record_time(9, body) == 42


def test_a_process_changes_when_it_begins_or_executes_a_program_but_not_by_a_thread() -> None:
    times = [struct.pack("=Q", time) for time in range(10)]
    name = struct.pack("=II", 8, 8) + b"sh".ljust(8, b"\0")
    forks = [struct.pack("=IIIIQ", pid, 1, tid, 1, 0) for pid, tid in ((7, 7), (9, 10))]
    records = [(7, 0, forks[0] + times[3]), (7, 0, forks[1] + times[4])]
    records += [(3, 0, name + times[5]), (3, 1 << 13, name + times[6])]
    packed = [
        struct.pack("=IHH", kind, flags, 8 + len(body)) + body for kind, flags, body in records
    ]
    timed = watch_perf.timed_records([b"".join(packed)], True)
    changed = watch_perf.changes_of(timed)
    assert {pid: time for pid, time in changed.items() if time} == {7: 3, 8: 6}


def test_a_process_is_known_by_what_it_was_when_it_reset() -> None:
    owners = watch_owners.Owners()
    before, after = Owner("/usr/bin/old", "old", "", ""), Owner("/usr/bin/new", "new", "", "")
    owners.remember(7, before)
    owners.changed = {7: 100}
    assert owners.find(7, after, time=99) == before
    assert owners.find(8, after, time=99) == after
    assert owners.find(7, after, time=100) == after
    assert owners.find(7, after, "name") == after


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\xff" * 7, struct.pack("=IHH", 9, 0, 4)])
def test_odd_records_end_the_buffer(data: bytes) -> None:
    assert list(watch_perf.split_records(data)) == []


@pytest.mark.parametrize(
    ("cpus", "pages"), [(1, 64), (32, 64), (33, 32), (256, 8), (1024, 4), (8192, 4)]
)
def test_many_cpus_have_small_buffers(cpus: int, pages: int) -> None:
    assert watch_perf.ring_pages(cpus) == pages


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", [0]), ("0-3,6", [0, 1, 2, 3, 6]), ("0-1,4-5\n", [0, 1, 4, 5]), ("0-255", [*range(256)])],
)
def test_cpus_are_listed(tmp_path: Path, text: str, cpus: list[int]) -> None:
    path = tmp_path / "online"
    path.write_text(text)
    assert watch_tracefs.online_cpus(str(path)) == cpus


def test_absurdly_many_cpus_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "online"
    path.write_text("0-999999999")
    assert len(watch_tracefs.online_cpus(str(path))) <= 8192


LINE = "  ngi nx-1-812   [001] {flags} 4242.042424: tcp_send_reset: {fields}"
FIELDS = "skbaddr=1 skaddr=2 src={src} dest={dest} state=TCP_CLOSE reason=TCP_ABORT_ON_CLOSE"


@pytest.mark.parametrize("flags", ["...1", "..s1.", ".....", "d.h1."])
def test_a_line_of_a_trace_is_read(flags: str) -> None:
    fields = FIELDS.format(src="127.0.0.1:80", dest="192.0.2.9:4711")
    match = watch_instance.TRACE_LINE.match(LINE.format(flags=flags, fields=fields))
    assert match
    assert (match["name"], match["pid"], match["cpu"]) == ("ngi nx-1", "812", "001")
    assert match["flags"] == flags
    found = dict(watch_instance.TRACE_FIELD.findall(match["fields"]))
    assert watch_instance.traced_addresses(found) == (80, bytes((192, 0, 2, 9)))


@pytest.mark.parametrize(
    ("fields", "port", "peer"),
    [
        ({"src": "[::1]:80", "dest": "[2001:db8::1]:9"}, 80, "2001:db8::/64"),
        ({"sport": "80", "daddr": "192.0.2.9"}, 80, "192.0.2.0/24"),
        ({"sport": "80", "daddr": "x", "daddrv6": "::ffff:192.0.2.9"}, 80, "192.0.2.0/24"),
        ({"sport": "80", "daddr": "x"}, 80, None),
        ({"sport": "99999", "daddr": "192.0.2.9"}, 0, None),
        ({}, 0, None),
    ],
)
def test_addresses_of_a_trace_are_read(fields: dict[str, str], port: int, peer: str | None) -> None:
    found, address = watch_instance.traced_addresses(fields)
    assert found == port
    assert (address and watch_format.peer_network(address)) == peer


@pytest.mark.parametrize(
    "line",
    [
        "",
        "CPU:1 [LOST 12 EVENTS]",
        "x" * 5000,
        "a-1 [0] . 1.1: tcp_receive_reset: sport=1",
        "-" * 4096,
        " " * 4096 + "-1 [",
    ],
)
def test_other_lines_of_a_trace_are_skipped(line: str) -> None:
    assert not watch_instance.TRACE_LINE.match(line[: watch_instance.MAX_LINE])


def test_all_entries_of_a_buffer_are_counted() -> None:
    text = (
        "entries: 5\noverrun: 7\ncommit overrun: 100\nbytes: 9\ndropped events: 1\nread events: 3\n"
    )
    assert watch_instance.sum_of_entries(text) == 16
    assert watch_instance.sum_of_entries("entries: x\n") == 0


def test_rows_that_are_too_many_share_the_last_one() -> None:
    rows = watch_rows.BoundedRows()
    owner = Owner("/usr/bin/x", "x", "", "")
    for port in range(3000):
        rows.add((owner, port, "unread data"), [1])
    found = rows.sorted()
    assert len(found) == watch_rows.MAX_ROWS
    assert found[0] == ((REST, 0, "other"), [3000 - watch_rows.MAX_ROWS + 1])
    assert sum(numbers[0] for _, numbers in found) == 3000


def test_networks_that_are_too_many_share_the_last_one() -> None:
    networks: dict[str, int] = {}
    for number in range(100):
        watch_tally.add_bounded(networks, f"192.0.{number}.0/24")
    assert len(networks) == watch_tally.MAX_PEERS
    assert networks["other"] == 100 - watch_tally.MAX_PEERS + 1


TABLE = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    "   0: 0100007F:EDFF 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 534 1 0\n"
    "   1: 0100007F:EDFE 0100007F:0016 01 00000000:00000007 00:00000000 00000000 0 0 535 1 0\n"
    "   2: 0100007F:1111 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 536 1 0\n"
)


def test_listening_ports_come_first_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "tcp"
    path.write_text(TABLE)
    assert watch_ports.listening_in(str(path)) == {0xEDFF}
    assert list(watch_ports.table_rows(str(path)))[1] == (1, 0xEDFE, 7, 535)


@pytest.mark.parametrize("text", ["", "x\ny\n", "x\n" + "9" * 70000, TABLE[:200]])
def test_an_odd_table_has_no_listeners(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tcp"
    path.write_text(text)
    assert watch_ports.listening_in(str(path)) == set()


def test_a_process_of_an_unknown_namespace_may_listen_in_any() -> None:
    ports = watch_ports.ListeningPorts()
    ports.low, ports.high = 1000, 2000
    ports.ports["net:[7]"] = {1500}
    gone = Owner("", "x", "", UNKNOWN)
    assert ports.service(gone, 0, 1500) == 1500
    assert ports.service(gone, 0, 1501) == 0
    assert ports.service(gone, 0, 80) == 80
