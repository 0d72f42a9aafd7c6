"""What a host is sent, as text: a fake host reads the digest of its call in it."""

from __future__ import annotations

import functools
from typing import Any

LAST_LINE = "exec(compile(TEXT, 'fleetaudit-call', 'exec'))"


@functools.lru_cache(maxsize=64)
def expand_request(sent: bytes) -> str:
    """Returns the text that a request runs, with its first two lines before it."""
    program, last = sent.decode("utf-8", "surrogateescape").rstrip("\n").rsplit("\n", 1)
    assert last == LAST_LINE
    names: dict[str, Any] = {}
    exec(program.partition("\n")[2], names)
    return "".join([*program.splitlines(keepends=True)[:2], names["TEXT"]])
