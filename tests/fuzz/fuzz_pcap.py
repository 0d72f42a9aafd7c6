"""Headers that a host says it captured: `report.captured_headers`, `report.pcap`.

Whatever they are, the host's trace gives a file; only headers that agree with it are in there.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from msgspec.structs import replace

    from fleetaudit.report import pcap
    from tests.unit.report import test_pcap as cases

WORDS = (
    b"\x45",
    b"\x60",
    b"\x7f\0\0\1",
    b"\x06",
    b"\0" * 16,
    b"\x50\x10",
    b"\xa0\x02",
    b"\x03\x03",
)


def TestOneInput(data: bytes) -> None:
    """Renders a trace with these headers, packed as a host packs them, and as they are."""
    for headers in (cases.packed((data,)), data.decode("latin-1")):
        connection = replace(cases.CONNECTION, headers=headers)
        host = cases.host(("ipv4", cases.CHAT), connection=connection)
        file = cases.read(pcap.render(host, rows=cases.ROWS))
        assert len(file.packets) == len(cases.CHAT)


def seeds() -> Iterable[bytes]:
    """Yields headers that are right, and others."""
    yield b"".join(cases.CAPTURED)
    yield b"".join(cases.CAPTURED[:2])
    yield base64.b64encode(zlib.compress(b"".join(cases.CAPTURED)))


if __name__ == "__main__":
    fuzz(TestOneInput)
