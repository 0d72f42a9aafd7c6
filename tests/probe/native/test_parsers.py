"""The C that reads packets and that compresses their headers, alone, under the sanitizers, with
random input: it does what the Python probe's modules do.
"""

from __future__ import annotations

import base64
import json
import os
import random
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetaudit.probe.remote.packets import flag_names, parse_packet
from tests.probe.native.test_sanitizers import compile_sanitized
from tools.native import SOURCES

pytestmark = [pytest.mark.slow, pytest.mark.probe]

SNAP = 160
READ_PACKETS = r"""
#include <stdio.h>
#include "packets.h"

int main(void) {
    uint8_t size, data[SNAP];
    while (fread(&size, 1, 1, stdin) == 1 && fread(data, 1, size, stdin) == size) {
        struct packet p;
        if (!parse_packet(&p, data, size, 1.5)) {
            puts("null");
            continue;
        }
        char flags[12];
        flag_names(p.bits, flags);
        printf("[%d,%d,%u,%u,\"%s\",%d,%d,%d,\"%s\",", p.source, p.target, p.seq, p.ack, flags,
               p.window, p.urgent, p.length, p.options);
        printf("%d,[%u,%u],%d,%d]\n", p.has_timestamps, p.timestamps[0], p.timestamps[1], p.scale,
               p.headers_length);
    }
    return 0;
}
"""
PACK = r"""
#include <stdio.h>
#include "pack.h"

int main(void) {
    static uint8_t data[65536];
    struct text packed = {.limit = 200000};
    add_packed(&packed, data, fread(data, 1, sizeof data, stdin));
    puts(packed.data);
    return 0;
}
"""
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}


def compiled(folder: Path, program: str, *sources: str) -> Path:
    """Returns a program of some of the probe's sources."""
    main = folder / "main.c"
    main.write_text(program)
    for header in SOURCES.glob("*.h"):
        (folder / header.name).symlink_to(header)
    path = folder / "program"
    compile_sanitized([main, *(SOURCES / source for source in sources)], path)
    return path


def run(program: Path, data: bytes) -> str:
    done = subprocess.run(
        [program], input=data, capture_output=True, env=ENVIRONMENT, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("ascii")


def random_options(rng: random.Random) -> bytes:
    """Returns options as a kernel writes them, and now and then what none writes."""
    options = b""
    for _ in range(rng.randrange(6)):
        kind = rng.choice((0, 1, 1, 2, 3, 4, 5, 8, 8, 19, 30, 30, 34, rng.randrange(256)))
        size = {2: 4, 3: 3, 4: 2, 8: 10, 19: 18}.get(kind, rng.randrange(2, 13))
        if rng.random() < 0.1:
            size = rng.randrange(256)
        options += bytes([kind]) if kind < 2 else bytes([kind, size]) + rng.randbytes(size)[2:]
    return options[:40]


def random_packets(rng: random.Random, count: int) -> Iterator[bytes]:
    """Yields packets of IPv4 and IPv6, cut to what is captured, and random bytes."""
    for _ in range(count):
        options = random_options(rng)
        offset = (5 + (len(options) + 3) // 4) << 4
        if rng.random() < 0.1:
            offset = rng.randrange(256)
        tcp = rng.randbytes(12) + bytes([offset]) + rng.randbytes(7) + options
        size = rng.choice((0, len(tcp), len(tcp) + 7, rng.randrange(65536)))
        if rng.random() < 0.5:
            first = rng.choice((0x45, 0x45, 0x45, 0x46, 0x4F, rng.randrange(0x40, 0x50)))
            ip = struct.pack("!BBH", first, 0, size)
            packet = ip + rng.randbytes((first & 15) * 4 - 4 if first & 15 > 1 else 16) + tcp
        else:
            packet = struct.pack("!IH", 0x60000000, size) + rng.randbytes(34) + tcp
        if rng.random() < 0.1:
            packet = rng.randbytes(rng.randrange(1, SNAP))
        cut = rng.randrange(1, SNAP + 1) if rng.random() < 0.2 else SNAP
        yield packet[:cut]


def read_by_python(data: bytes) -> list[object] | None:
    """Returns what the Python probe reads in a packet, as the C program prints it."""
    packet = parse_packet(data, 1.5)
    if packet is None:
        return None
    return [
        *(packet.source, packet.target, packet.seq, packet.ack, flag_names(packet.bits)),
        *(packet.window, packet.urgent, packet.length, packet.options),
        *(int(packet.timestamps is not None), list(packet.timestamps or (0, 0))),
        *(-1 if packet.scale is None else packet.scale, len(packet.headers)),
    ]


def test_any_packet_is_read_as_by_python(tmp_path: Path) -> None:
    program = compiled(tmp_path, READ_PACKETS, "packets.c")
    packets = list(random_packets(random.Random(7), 20_000))
    output = run(program, b"".join(bytes([len(packet)]) + packet for packet in packets))
    for packet, line in zip(packets, output.splitlines(), strict=True):
        assert json.loads(line) == read_by_python(packet), packet.hex()


def test_what_is_packed_is_what_zlib_unpacks(tmp_path: Path) -> None:
    program = compiled(tmp_path, PACK, "pack.c", "text.c")
    rng = random.Random(8)
    header = rng.randbytes(52)
    samples = [
        b"",
        *(rng.randbytes(size) for size in (1, 2, 3, 257, 258, 259, 5000)),
        *(bytes(size) for size in (1, 3, 257, 258, 259, 260, 32_000)),
        *(header * times for times in (1, 2, 9, 10, 200)),
        *(bytes(rng.choices(b"ab", k=size)) for size in (10, 600, 20_000)),
        bytes(range(256)) * 5,
    ]
    for data in samples:
        packed = base64.b64decode(run(program, data).strip(), validate=True)
        assert zlib.decompress(packed) == data, data[:60]
    assert len(run(program, header * 20).strip()) < 200
