"""The journal of a run: one line of JSON per host, appended as results arrive.

A last line that was cut does not count. A damaged line loses only its own host.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from fleetaudit.model import DECODE_ERRORS, Audited, HostResult
from fleetaudit.text.json_schema import encode_json

from .deduplication import evidence_owners, restore_evidence, strip_shared_evidence
from .disk import output_errors, read_bounded, write_all

_host_decoder: msgspec.json.Decoder[HostResult] = msgspec.json.Decoder(HostResult)


class _JournalLine(msgspec.Struct, frozen=True):
    """One line of a journal: the host, and the stage at which its audit failed."""

    name: str
    stage: str | None = None


_line_decoder = msgspec.json.Decoder(_JournalLine)


class JournalWriter:
    """The open journal of a run. `fd` is at the end of its `length` bytes."""

    def __init__(self, path: Path, fd: int, length: int = 0) -> None:
        self.path = path
        self._fd, self._length = fd, length

    def append(self, result: HostResult) -> None:
        """Appends one host, so that a process killed now keeps it; raises `OutputError`.

        Evidence of another host is only named. If the disk is full, the journal is as before.
        """
        line = memoryview(encode_json(strip_shared_evidence(result)) + b"\n")
        with output_errors(self.path):
            try:
                write_all(self._fd, line)
            except OSError:
                os.ftruncate(self._fd, self._length)  # remove the partial line
                raise
        self._length += len(line)

    def sync(self) -> None:
        """Syncs the journal to the disk; raises `OutputError`."""
        with output_errors(self.path):
            os.fsync(self._fd)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)


def truncate_to_whole_lines(fd: int) -> int:
    """Removes a cut last line from an open journal; returns its length in bytes.

    `fd` is open for reading and writing. Raises `OSError`.
    """
    length = _whole_lines(fd)
    os.ftruncate(fd, length)
    return length


def _whole_lines(fd: int) -> int:
    """Returns how many bytes of a file are whole lines."""
    size = os.fstat(fd).st_size
    while size:
        start = max(0, size - 65536)
        newline = os.pread(fd, size - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        size = start
    return 0


def read_journal(
    path: Path, note: Callable[[str], None] = lambda _: None
) -> tuple[HostResult, ...]:
    """Returns the hosts of a journal in the order of their arrival; raises as `read_bounded`.

    A host is left out if its line is damaged, which is reported to `note`, or if it shares the
    evidence of a host that is not in the journal. Both are audited again when the run resumes.
    """
    hosts = list[HostResult]()
    for number, line in enumerate(_lines(path), 1):
        try:
            hosts.append(_host_decoder.decode(line))
        except DECODE_ERRORS as e:
            note(f"{path}:{number}: not a valid result; that host is audited again: {e}")
    audited = {host.name for host in hosts if isinstance(host, Audited)}
    return restore_evidence(host for host in hosts if evidence_owners(host) <= audited)


def count_results(path: Path) -> int:
    """Returns how many hosts of a journal a resumed run keeps; raises as `read_bounded`.

    Those that were interrupted and those with a damaged line do not count, as they are audited
    again. A host that is in the journal twice counts once.
    """
    names = set[str]()
    for line in _lines(path):
        with contextlib.suppress(*DECODE_ERRORS):  # a host with a damaged line is audited again
            host = _line_decoder.decode(line)
            if host.stage != "interrupted":
                names.add(host.name)
    return len(names)


def _lines(path: Path) -> list[bytes]:
    """Returns the whole lines of a file."""
    return read_bounded(path).split(b"\n")[:-1]
