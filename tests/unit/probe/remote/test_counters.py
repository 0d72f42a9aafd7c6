"""The kernel's counters, and the sockets with unread data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fleetaudit.probe.remote import counters, host
from fleetaudit.probe.remote.files import parse_count

NETSTAT = """TcpExt: SyncookiesSent TCPAbortOnClose
TcpExt: 1 7
IpExt: InNoRoutes
IpExt: 0
"""


def read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> tuple[Mapping[str, int], list[str]]:
    path = tmp_path / "netstat"
    path.write_text(text)
    monkeypatch.setattr(counters, "COUNTER_FILES", (str(path),))
    notes: list[str] = []
    found = counters.Counters(("TCPAbortOnClose", "OutRsts"), notes)
    first, second = found.read(), found.read()
    assert first == second
    found.close()
    return first, [note.replace(str(path), "FILE") for note in notes[: len(notes) // 2]]


@pytest.mark.parametrize(
    ("text", "values", "notes"),
    [
        (NETSTAT, {"TCPAbortOnClose": 7}, []),
        (NETSTAT + "Tcp: OutRsts\nTcp: 3\n", {"TCPAbortOnClose": 7, "OutRsts": 3}, []),
        (NETSTAT.replace(" 7", ""), {}, ["FILE has no number for: TCPAbortOnClose"]),
        (NETSTAT.replace(" 7", " -7"), {}, ["FILE has no number for: TCPAbortOnClose"]),
        (NETSTAT.replace(" 7", " x"), {}, ["FILE has no number for: TCPAbortOnClose"]),
        (NETSTAT[:-20], {"TCPAbortOnClose": 7}, []),  # cut in a later line
        ("TcpExt: TCPAbortOnClose\nIpExt: 5\n", {}, ["FILE has no number for: TCPAbortOnClose"]),
        ("", {}, ["FILE has no number for: any counter"]),
        ("nothing\n", {}, ["FILE has no number for: any counter"]),
    ],
)
def test_counters_are_found_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    values: Mapping[str, int],
    notes: list[str],
) -> None:
    assert read(tmp_path, monkeypatch, text) == (values, notes)


def test_lines_of_values_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netstat"
    monkeypatch.setattr(counters, "COUNTER_FILES", (str(path),))
    path.write_text(NETSTAT)
    found = counters.Counters(("TCPAbortOnClose",), [])
    for value in range(5):
        path.write_text(NETSTAT.replace(" 7", f" {value}"))
        assert found.read() == {"TCPAbortOnClose": value}
    assert len(found.columns) == 1
    found.close()


@pytest.mark.parametrize(
    ("text", "base"), [("", 10), ("x", 10), ("-1", 10), (str(2**63), 10), ("1_", 16)]
)
def test_what_is_no_count_is_refused(text: str, base: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_count(text, base)


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0
   1: 0100007F:1F91 0100007F:1F92 01 00000000:00000005 00:00000000 00000000     0
   2: 0100007F:1F93 0100007F:1F94 08 00000000:00000000 00:00000000 00000000     0
   3: 0100007F:1F95 0100007F:1F96 08 00000000:00000007 00:00000000 00000000     0
"""


def scan(tmp_path: Path, text: str, seconds: float = 10, lines: int = 100) -> host.SocketScan:
    path = tmp_path / "tcp"
    path.write_text(text)
    found = host.SocketScan(seconds, lines)
    found.result["partial"] = not found.read_table(str(path))
    return found


def test_unread_bytes_of_connections_are_counted_and_not_those_of_listeners(
    tmp_path: Path,
) -> None:
    result = scan(tmp_path, TABLE).result
    assert result == {"sockets": 2, "bytes": 12, "scanned": 3, "partial": False}


def test_a_scan_is_bounded_in_lines_and_in_time(tmp_path: Path) -> None:
    assert scan(tmp_path, TABLE, lines=1).result["partial"]
    assert scan(tmp_path, TABLE, seconds=-1).result == {
        "sockets": 0,
        "bytes": 0,
        "scanned": 0,
        "partial": True,
    }


@pytest.mark.parametrize(
    "text", ["", "  sl  local_address\n   0: short\n", TABLE.replace("05", "x")]
)
def test_a_table_in_an_unknown_format_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        scan(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "plain"), [('"a b"', "a b"), ("'a'", "a"), ("a", "a"), ("'a\"", "'a\""), ('"', '"')]
)
def test_quotes_around_a_value_are_dropped(text: str, plain: str) -> None:
    assert host.unquote(text) == plain
