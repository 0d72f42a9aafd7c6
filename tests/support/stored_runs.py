"""Makes of a finished run's folder what other moments, and an earlier version, leave."""

from __future__ import annotations

import os
from pathlib import Path

from fleetaudit.model import AuditRun
from fleetaudit.store.journal import JournalWriter
from fleetaudit.store.names import JOURNAL_FILE, RUN_FILE, STORE_FILE
from fleetaudit.store.run_file import encode_run, read_run


def with_export_only(folder: Path, run: AuditRun | None = None) -> Path:
    """Leaves a folder as a version before the store would: the run in run.json. Returns that file.

    `run` takes the place of the one that is there.
    """
    export = encode_run(run or read_run(folder))
    (folder / STORE_FILE).unlink(missing_ok=True)
    (folder / RUN_FILE).write_bytes(export)
    return folder / RUN_FILE


def as_killed(folder: Path, count: int) -> Path:
    """Leaves a finished run as kill -9 after `count` results; returns its journal."""
    hosts = read_run(folder).hosts[:count]
    for name in (STORE_FILE, RUN_FILE):
        (folder / name).unlink(missing_ok=True)
    journal = folder / JOURNAL_FILE
    fd = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    writer = JournalWriter(journal, fd)
    for host in hosts:
        writer.append(host)
    writer.close()
    return journal


def host_lines(journal: Path) -> list[int]:
    """Returns the indexes of the lines of a journal that are of hosts."""
    lines = journal.read_bytes().splitlines()
    return [n for n, line in enumerate(lines) if line.startswith(b'["host",')]


def replace_line(journal: Path, index: int, line: bytes) -> None:
    """Puts another line, without its line feed, in the place of one."""
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[index] = line + b"\n"
    journal.write_bytes(b"".join(lines))
