"""What the kernel tells a watch: the format of its tracepoint, its symbols, and records of events;
and how long to watch.
"""

from __future__ import annotations

import contextlib
import math
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from fleetaudit.probe.remote.errors import Unsupported
    from fleetaudit.probe.remote.watch_format import ResetFormat
    from fleetaudit.probe.remote.watch_perf import MAX_FUNCTIONS, split_records, split_sample
    from fleetaudit.probe.remote.watch_reasons import MAX_RANGES, SYMBOLS, Symbols
    from fleetaudit.text.durations import parse_duration

FIELD = "\tfield:{};\toffset:{};\tsize:{};\tsigned:0;\n"
FORMAT = (
    "name: tcp_send_reset\nID: 2280\nformat:\n"
    + FIELD.format("unsigned char common_flags", 2, 1)
    + FIELD.format("enum sk_rst_reason reason", 28, 4)
    + FIELD.format("__u8 saddr[28]", 32, 28)
    + FIELD.format("__u8 daddr[28]", 60, 28)
    + 'print fmt: "", __print_symbolic(REC->reason, { 11, "TCP_ABORT_ON_CLOSE" })\n'
)
WORDS = ("field:", "offset:", "size:", '{ 11, "', "TCP_ABORT_ON_CLOSE", " T ", "tcp_close", "5m")
CAN_FAIL = (Unsupported, ValueError, struct.error)


def TestOneInput(data: bytes) -> None:
    """Reads the bytes as each of these."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(*CAN_FAIL):
        _read_event(ResetFormat("2280", text), data)
    _read_symbols(data)
    assert sum(8 + len(body) for *_, body in split_records(data)) <= len(data)
    with contextlib.suppress(struct.error, OverflowError):
        pid, chain, _ = split_sample(data)
        assert (0 <= pid < 1 << 32, len(chain) <= MAX_FUNCTIONS) == (True, True)
    with contextlib.suppress(ValueError):
        assert math.isfinite(parse_duration(text))


def _read_event(event: ResetFormat, data: bytes) -> None:
    """Reads the fields of an event that the format describes; raises `struct.error`."""
    assert set(event.filter()) <= set("reason=|0123456789")
    assert 0 <= event.integer(data, "reason") < 1 << 32
    assert event.is_interrupt(data) in (True, False)
    assert 0 <= event.port(data) < 1 << 32


def _read_symbols(data: bytes) -> None:
    """Reads the bytes as /proc/kallsyms."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kallsyms"
        path.write_bytes(data)
        symbols = Symbols(str(path))
        symbols.read_all()
    assert len(symbols.ranges) <= MAX_RANGES
    assert all(start < end and name in SYMBOLS for start, end, name in symbols.ranges)


def seeds() -> Iterable[bytes]:
    """Yields one of each."""
    yield FORMAT.encode()
    yield b"ffffffff81a00000 T tcp_close\nffffffff81a00100 t tcp_close.cold\n"
    sample = struct.pack("=IIQQI", 7, 7, 1, 0xFFFFFFFF81A00010, 88) + bytes(88)
    yield struct.pack("=IHH", 9, 2, 8 + len(sample)) + sample
    yield sample
    yield b"5m"


if __name__ == "__main__":
    fuzz(TestOneInput)
