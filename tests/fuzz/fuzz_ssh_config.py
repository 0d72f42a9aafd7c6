"""ssh_config: which names its files tell apart, and what `ssh -G` prints.

A success puts two names into one class only if every Host pattern treats them as one.
"""

from __future__ import annotations

import atexit
import fnmatch
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import as_text, fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.transport.ssh_config import _parse
    from fleetaudit.transport.ssh_config_names import ConfigFile, is_about_names, read_classes

_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
FILE = Path(_folder.name) / "config"
NAMES = ("web1", "web2", "db", "a.example", "b.example", "10.0.0.1", "10.0.0.2")
SEED = """
Host web1 *.example !b.example
  User audit
  Port 22
Host 10.0.0.?
  HostName = 192.0.2.1
Match all
  IdentityFile ~/.ssh/%h
Host db
  ControlPath ~/.ssh/%C
Include conf.d/*
"""
WORDS = (*words_of(SEED), "\t", '"', "#", "CanonicalizeHostname", "ProxyJump", "%%", "Match exec")


def TestOneInput(data: bytes) -> None:
    """Reads a file, and the same text as what `ssh -G` printed."""
    text = as_text(data)
    _parse(text)
    is_about_names(text.split())
    FILE.write_bytes(data)
    classes = read_classes([ConfigFile(str(FILE), _folder.name, _folder.name)])
    if classes is None:
        return
    found = {name: classes.class_of(name) for name in NAMES}
    patterns = _host_patterns(data.decode("utf-8", "replace"))
    for one in NAMES:
        for other in NAMES:
            if found[one] is None or found[one] != found[other]:
                continue
            for pattern in patterns:
                assert _matches(one, pattern) == _matches(other, pattern), (one, other, pattern)


def _host_patterns(text: str) -> list[str]:
    """Returns the patterns of plain Host lines, read without the code that is tested."""
    words = [line.split() for line in text.replace("\r\n", "\n").split("\n")]
    lines = [line[1:] for line in words if line and line[0].lower() == "host"]
    return [
        w.lstrip("!") for line in lines for w in line if w.isascii() and "[" not in w and w != "="
    ]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.strip('"'))


def seeds() -> Iterable[bytes]:
    """Yields files, with and without what only ssh can expand."""
    yield SEED.encode()
    yield SEED.replace("Match all", "Match exec true").encode()
    yield SEED.partition("Match")[0].encode()
    yield b"hostname 10.0.0.1\nport 22\nidentityfile ~/.ssh/a\nidentityfile ~/.ssh/b\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
