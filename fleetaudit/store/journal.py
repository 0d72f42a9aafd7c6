"""The journal of a run under way: the lines of a store without head and index, appended as results
arrive.

A last line that was cut does not count. A damaged line loses the hosts that need it: its own, or
those that refer to its part. Journals of earlier versions have one whole host per line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from fleetaudit.model import DECODE_ERRORS, Audited, HostResult

from .deduplication import evidence_owners, restore_evidence
from .disk import close_after_use, open_regular, output_errors, write_all
from .part_reader import PartReader
from .part_types import MAX_LINE, AnyPart, HostLine, Part, UnknownPartError
from .part_writer import PartWriter

_line_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyPart | HostLine)
_host_decoder: msgspec.json.Decoder[HostResult] = msgspec.json.Decoder(HostResult)


class JournalWriter:
    """The open journal of a run. `fd` is at the end of its `length` bytes."""

    def __init__(self, path: Path, fd: int, length: int = 0) -> None:
        self.path = path
        self._fd, self._length = fd, length
        # A file of so many bytes has fewer lines: no number of its parts is used again.
        self._writer = PartWriter(length)

    def append(self, result: HostResult) -> None:
        """Appends one host, so that a process killed now keeps it; raises `OutputError`.

        If the disk is full, the journal is as before.
        """
        lines = memoryview(b"".join(self._writer.lines(result)))
        with output_errors(self.path):
            try:
                write_all(self._fd, lines)
            except OSError:
                os.ftruncate(self._fd, self._length)  # remove the partial lines
                raise
        self._writer.written()
        self._length += len(lines)

    def sync(self) -> None:
        """Syncs the journal to the disk; raises `OutputError`."""
        with output_errors(self.path):
            os.fsync(self._fd)

    def close(self) -> None:
        """Closes the file."""
        close_after_use(self._fd)


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
    """Returns the hosts of a journal in the order of their arrival; raises as `open_regular`.

    A host is left out if a line that it needs is damaged, which is reported to `note`, or if it
    shares the evidence of a host that is not in the journal. Both are audited again when the run
    resumes.
    """
    reading = _Reading(path, note)
    for line in _whole_lines_of(path):
        reading.take(line)
    return reading.hosts_with_evidence()


class _Reading:
    """What was read of a journal so far."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self._path, self._note = path, note
        self._number = 0
        self._parts = PartReader()
        self._hosts = list[HostResult]()
        self._is_of_earlier_version = False

    def take(self, line: bytes) -> None:
        """Takes the next line."""
        self._number += 1
        try:
            self._add(line)
        except (*DECODE_ERRORS, UnknownPartError) as e:
            self._note(f"{self._path}:{self._number}: not a valid result; {self._loss(line)}: {e}")

    def _add(self, line: bytes) -> None:
        """Adds the part or the host of a line; raises one of its errors."""
        if line.startswith(b"{"):
            self._hosts.append(_host_decoder.decode(line))
            self._is_of_earlier_version = True
            return
        decoded = _line_decoder.decode(line)
        if isinstance(decoded, Part):
            self._parts.add(decoded)
        else:
            self._hosts.append(self._parts.host(decoded))

    @staticmethod
    def _loss(line: bytes) -> str:
        """Returns what a damaged line means for the run."""
        is_part = line.startswith(b'["') and not line.startswith(b'["host"')
        return "hosts that need it are audited again" if is_part else "that host is audited again"

    def hosts_with_evidence(self) -> tuple[HostResult, ...]:
        """Returns the hosts whose evidence is in the journal."""
        audited = {host.name for host in self._hosts if isinstance(host, Audited)}
        hosts = tuple(host for host in self._hosts if evidence_owners(host) <= audited)
        if self._is_of_earlier_version:
            return restore_evidence(hosts)
        return hosts


def _whole_lines_of(path: Path) -> Iterator[bytes]:
    """Yields the whole lines of a file; one that is too long comes in pieces, which are damaged."""
    with open_regular(path) as file:
        while line := file.readline(MAX_LINE):
            if line.endswith(b"\n") or len(line) == MAX_LINE:
                yield line
