"""What the probe reads on a host: captured packets, counters, tables of sockets, sysctl files.

The host's kernel wrote it, or a file system that pretends to be one. No bytes may break the probe.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from fleetaudit.probe.remote import counters, sysctl_files
    from fleetaudit.probe.remote.constants import MAX_COUNT
    from fleetaudit.probe.remote.errors import Unsupported
    from fleetaudit.probe.remote.files import parse_count, read_file_noted
    from fleetaudit.probe.remote.host import SocketScan
    from fleetaudit.probe.remote.packets import parse_options, parse_packet, split_options
    from fleetaudit.probe.remote.proc_net import parse_entry
    from fleetaudit.probe.remote.sock_diag import parse_answer

_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
FILE = Path(_folder.name) / "file.conf"
WORDS = (
    "TcpExt:", "Tcp:", "MPTcpExt:", "TCPAbortOnClose", "OutRsts", "local_address", "0100007F:0016",
    "net.ipv4.tcp_rmem", "=", "-", "#", "*", "\n", "00000000:00000000", "0A", b"\x45\0", b"\x60",
    b"\x08\x0a", b"\x1e", "18446744073709551616",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Gives the bytes to each reader."""
    packet = parse_packet(data or b"\0", 1.0)
    assert packet is None or packet.length >= 0
    parse_options(data[:60], data[0] if data else 0)
    assert sum(len(value) + 2 for _, value in split_options(bytearray(data))) <= len(data)
    with contextlib.suppress(OSError):
        parse_answer(data)
    with contextlib.suppress(ValueError):
        assert 0 <= parse_count(data[:40]) <= MAX_COUNT
    fields = (data.split(None, 2) + [b""] * 3)[:3]
    with contextlib.suppress(ValueError):
        parse_entry(*fields)
    FILE.write_bytes(data)
    _read_counters(data)
    _read_files()


def _read_counters(data: bytes) -> None:
    """Reads the input as the kernel's counters."""
    table = counters.Counters(counters.OF_TRIALS, [])
    table.close()
    with FILE.open("rb") as file:
        table.files = [("file", os.dup(file.fileno()))]
    found = table.read()
    table.close()
    assert found.keys() <= set(counters.OF_TRIALS)
    assert all(0 <= value <= MAX_COUNT for value in found.values())
    assert not found or data


def _read_files() -> None:
    """Reads the input as a table of sockets, and as a file of sysctl.d."""
    scan = SocketScan(5.0, 10_000)
    with contextlib.suppress(ValueError, IndexError):
        scan.read_table(str(FILE))
    with contextlib.suppress(Unsupported):
        places = sysctl_files.read_assignments(str(FILE))
        sysctl_files.SysctlTable(places, True).place("net/ipv4/tcp_rmem")
    notes = list[str]()
    read_file_noted(str(FILE), notes, 1000)


def seeds() -> Iterable[bytes]:
    """Yields a packet, counters, a table of sockets, a file of sysctl.d and an answer."""
    yield bytes.fromhex("4500003c000040004006") + bytes(10) + bytes(12) + b"\xa0\x02" + bytes(26)
    yield b"TcpExt: TCPAbortOnClose OutRsts\nTcpExt: 5 6\nTcp: OutRsts\nTcp: 7\n"
    yield (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr\n"
        b"   0: 0100007F:0016 0100007F:8D2A 01 00000000:00000005 00:00000000 00000000  0  0 1\n"
    )
    yield b"# c\nnet.ipv4.tcp_rmem = 1 2 3\n-net/ipv4/tcp_*\nnet.*.x=1\n"
    yield bytes(100)
    yield b"01 00000000:00000005 00:0"


if __name__ == "__main__":
    fuzz(TestOneInput)
