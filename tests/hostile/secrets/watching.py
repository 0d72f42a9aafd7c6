"""Looks at every process of this machine while a run lasts: its command line and its environment,
as `ps` or anybody with /proc could.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PAUSE_S = 0.003
_YOUNG_S = 1.0
"""A process may become another program (execve) for so long, and is looked at again and again."""


class Processes:
    """What was seen of other processes: `command_lines`, `environments`, and how many `looks`."""

    def __init__(self) -> None:
        self.command_lines, self.environments = set[bytes](), set[bytes]()
        self.looks = 0
        self._first_seen = dict[str, float]()
        self._stop = threading.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Looks all the time inside the block."""
        # Before the thread begins: on a busy machine that may take longer than a program's start.
        thread = threading.Thread(target=self._watch, args=(_pids(),), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self, known: set[str]) -> None:
        while not self._stop.is_set():
            self._look(known)
            time.sleep(_PAUSE_S)

    def _look(self, known: set[str]) -> None:
        """Looks at the processes that began after the watch did."""
        self.looks += 1
        now = time.monotonic()
        for pid in _pids() - known:
            if now - self._first_seen.setdefault(pid, now) > _YOUNG_S:
                continue
            folder = Path("/proc", pid)
            with contextlib.suppress(OSError):
                self.command_lines.add((folder / "cmdline").read_bytes())
                self.environments.add((folder / "environ").read_bytes())


def _pids() -> set[str]:
    return set(filter(str.isdigit, os.listdir("/proc")))  # noqa: PTH208 — thousands of times


def traced(trace: Path) -> dict[str, bytes]:
    """Returns what a run wrote into files, and what it and its children started, with arguments
    and environment, from a trace of `TRACE`.

    Pipes, sockets, terminals and the kernel's own files do not count.
    """
    lines = trace.read_bytes().splitlines()
    return {
        "every write to a file": b"\n".join(line for line in lines if _is_to_a_file(line)),
        "every program started": b"\n".join(line for line in lines if b"execve(" in line),
    }


def _is_to_a_file(line: bytes) -> bool:
    """Returns whether a line of a trace is a write to a file: strace -y names the path."""
    _, angle, rest = line.partition(b"<")
    return bool(angle) and rest.startswith(b"/") and not rest.startswith((b"/dev/", b"/proc/"))


TRACE = (
    *("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-v", "-s", "1000000"),
    *("-e", "trace=execve,write,writev,pwrite64"),
)
