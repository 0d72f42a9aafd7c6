"""What a host prints: the result line, the reply, its verdicts, and every output of that host.

A success is a host that the store keeps as it is, and that every format can show.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    import msgspec

    from fleetaudit.analysis.judge import judge_host
    from fleetaudit.errors import ReplyError
    from fleetaudit.model import Audited, AuditRun
    from fleetaudit.probe import protocol, verdict
    from fleetaudit.probe.result_line import COMPRESSED
    from fleetaudit.report.registry import render
    from tests.support import replies
    from tests.support.runs import run_of

PLAN = replies.plan()
DIGEST = protocol.request_digest(PLAN).encode()
PLACEHOLDER = b"DIGEST"
"""Stands for the digest of the call, which every change of the probe changes."""
FORMATS = ("json", "csv", "junit", "prometheus", "sarif", "text")
MAX_REASON = 2000
WORDS = (
    *Audited.__struct_fields__,
    *protocol.Reply.__struct_fields__,
    *protocol.RawTrial.__struct_fields__,
    *protocol.Times.__struct_fields__,
    "zlib:",
    protocol.REPLY_MARK,
    "DIGEST",
    "NaN",
    "1e400",
    "-9223372036854775809",
    "18446744073709551616",
    "\\ud800",
    "\\u0000",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    1e308,
    -1e308,
    float("nan"),
    "",
    "\0",
    "\ud800",
    "\u202e<script>",
    "FIN",
    "x" * 5000,
    [],
    {},
    [[]],
)


def TestOneInput(data: bytes) -> None:
    """Decodes, judges, stores and renders what a host printed."""
    stdout = data.replace(PLACEHOLDER, DIGEST)
    with contextlib.suppress(ReplyError):
        protocol.parse_reply(stdout)
    try:
        reply = protocol.decode_reply(PLAN, stdout)
        sealed = protocol.seal_reply(reply)
        assert protocol.unseal_reply(sealed) == reply
        host = verdict.result_from_output(PLAN, stdout)
    except ReplyError as e:
        assert e.stage in ("decode", "execute"), e.stage
        assert len(e.reason) < MAX_REASON
        assert e.reason.isprintable()
        return
    judged = judge_host(host, PLAN)
    assert msgspec.json.decode(msgspec.json.encode(judged), type=Audited) == judged
    run = _run_with(judged)
    for format_ in FORMATS:
        assert render(run, format_)


def _run_with(host: Audited) -> AuditRun:
    """Returns a run of this host alone."""
    return run_of([host], PLAN.scenarios)


def seeds() -> Iterable[bytes]:
    """Yields replies that were recorded, also compressed, and what else a host prints."""
    for name in replies.REPLIES:
        whole = replies.stored(name).replace(DIGEST, PLACEHOLDER)
        yield whole
        body = whole.partition(protocol.REPLY_MARK)[2]
        yield protocol.REPLY_MARK + COMPRESSED + base64.b64encode(zlib.compress(body))
        small = json.loads(body)
        small["observations"] = small["observations"][:2]
        small["times"] = {**small["times"], "trials": []}
        yield protocol.REPLY_MARK + json.dumps(small).encode() + b"\n"
    yield f"{protocol.SHELL_MARK} 0 root\n{protocol.PYTHON_MARK} 127\n".encode()
    yield b"/bin/sh: 1: python3: not found\n"
    yield f"{protocol.SHELL_MARK}0 root\nfleetaudit-native/1 mips gzip -dc\n".encode()


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Changes a value of the JSON, or, of other bytes and often, any byte."""
    import atheris

    chance = random.Random(seed)
    before, mark, line = data.partition(protocol.REPLY_MARK)
    packed = line.startswith(COMPRESSED)
    try:
        text = zlib.decompress(base64.b64decode(line[5:])) if packed else line
        body = json.loads(text)
    except (ValueError, zlib.error, RecursionError):
        body = None
    if not isinstance(body, dict) or chance.random() < 0.3:
        changed: bytes = atheris.Mutate(data, most)
        return changed
    for _ in range(chance.randint(1, 3)):
        places = [*_places(body)]
        if places:
            _change(*chance.choice(places), chance)
    text = json.dumps(body).encode()
    if packed:
        text = COMPRESSED + base64.b64encode(zlib.compress(text))
    return (before + mark + text + b"\n")[:most]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields each container in a value with each of its keys."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _change(inner: Any, key: Any, chance: random.Random) -> None:
    """Changes one value: removes it, doubles it, or puts another in its place."""
    match chance.randrange(6):
        case 0:
            del inner[key]
        case 1 if isinstance(inner, list):
            inner.insert(key, inner[key])
        case 2 if isinstance(inner[key], int | float):
            inner[key] += chance.choice((-1, 1, 255, -65536, 2**32))
        case 3:
            inner[key] = inner[chance.choice([*inner])] if isinstance(inner, dict) else inner[0]
        case _:
            inner[key] = chance.choice(VALUES)


if __name__ == "__main__":
    fuzz(TestOneInput, lambda data, most, seed: mutate(bytes(data), most, seed))
