"""The folder of a run: created with its plan and an empty journal, finished by its store.jsonl.

Rules: a run folder that exists has its plan and its journal, so a process killed at any moment
leaves a run that can be resumed. Folders are 0700 and files 0600. Only the journal grows in place;
the store of a finished run takes its place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from fleetaudit.errors import InputError
from fleetaudit.model import AuditRun, HostResult

from .disk import (
    check_regular,
    close_after_use,
    output_errors,
    read_bounded,
    sync_folder,
    write_atomically,
)
from .journal import JournalWriter, read_journal, truncate_to_whole_lines
from .names import JOURNAL_FILE, PLAN_FILE, STORE_FILE
from .removal import remove_parts
from .store_file import encode_store, read_store

_APPEND = os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_MAX_NUMBER = 9999
"""The greatest number of a run among those that start in one second (`names.RUN_NAME`)."""


class RunFolder:
    """The folder of a run under way; a context manager that closes the journal."""

    def __init__(self, path: Path, journal: JournalWriter) -> None:
        self.output, self.path, self.id = path.parent, path, path.name
        self._journal = journal

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def append(self, result: HostResult) -> None:
        """Appends one host to the journal; raises `OutputError`."""
        self._journal.append(result)

    def write(self, name: str, data: bytes | Iterable[bytes]) -> Path:
        """Writes one whole file of the run and returns its path; raises `OutputError`.

        `data` are its bytes, whole or in chunks. `name` may start with the name of a folder, which
        is created if needed.
        """
        path = self.path / name
        with output_errors(path.parent):
            path.parent.mkdir(mode=0o700, exist_ok=True)
        return write_atomically(path, data)

    def finish(self, run: AuditRun) -> Path:
        """Writes store.jsonl, which makes this a finished run, and returns its path.

        The journal is removed, unless the run was interrupted: it is then still to be resumed.
        """
        self._journal.sync()
        path = self.write(STORE_FILE, encode_store(run))
        if not any(host.stage == "interrupted" for host in run.hosts):
            with output_errors(self._journal.path):
                self._journal.path.unlink(missing_ok=True)
        return path


class HiddenRunFolder(RunFolder):
    """The folder of a run whose hosts are audited already: it gets its name when it is whole.

    A process that is killed leaves a hidden folder, which the next one removes; there is nothing in
    it to resume. So does one that fails, and it removes the folder itself.
    """

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, e, trace)
        if self.path.name != self.id:
            shutil.rmtree(self.path, ignore_errors=True)

    def finish(self, run: AuditRun) -> Path:
        """Writes store.jsonl, gives the folder its name, and returns the path of the store."""
        super().finish(run)
        path = self.output / self.id
        with output_errors(path):
            self.path.rename(path)
            self.path = path
            sync_folder(self.output)
        return path / STORE_FILE


def create_hidden_run_folder(output: Path, started: datetime) -> RunFolder:
    """Creates the folder of a run of results that exist; as `create_run_folder` otherwise."""
    stem = _stem(started)
    with output_errors(output):
        new = _new_folder(output, stem)
        try:
            fd = _create_journal(new)
            id_ = next(path.name for path in _free_paths(output, stem))
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    folder = HiddenRunFolder(new, JournalWriter(new / JOURNAL_FILE, fd))
    folder.id = id_
    return folder


def create_run_folder(output: Path, started: datetime, plan: bytes = b"") -> RunFolder:
    """Creates the folder of a new run in `output`; the caller holds the lock of `output`.

    The folder is named after `started`, such as "2026-01-31T020000Z". It appears under its name in
    one step, with `plan` as its plan.json and an empty journal. Raises `OutputError`, and leaves
    nothing behind then.
    """
    stem = _stem(started)
    with output_errors(output):
        new = _new_folder(output, stem)
        try:
            return _fill(new, output, stem, plan)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


def _stem(started: datetime) -> str:
    """Returns the name of the first run of a second."""
    return started.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")


def _new_folder(output: Path, stem: str) -> Path:
    """Creates a hidden folder in an output folder, and that if needed."""
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = output / f".{stem}.{os.getpid()}.new"
    shutil.rmtree(new, ignore_errors=True)  # left by an earlier process with the same number
    new.mkdir(mode=0o700)
    return new


def _create_journal(folder: Path) -> int:
    """Returns the file descriptor of a new empty journal."""
    return os.open(folder / JOURNAL_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _APPEND, 0o600)


def _fill(new: Path, output: Path, stem: str, plan: bytes) -> RunFolder:
    """Writes the plan and an empty journal into a new folder and gives it its name."""
    if plan:
        write_atomically(new / PLAN_FILE, plan)
    fd = _create_journal(new)
    try:
        path = _rename_to_free_name(new, output, stem)
    except BaseException:
        close_after_use(fd)
        raise
    return RunFolder(path, JournalWriter(path / JOURNAL_FILE, fd))


def _rename_to_free_name(new: Path, output: Path, stem: str) -> Path:
    """Gives a folder the first free name of its second, and returns its path.

    The second run of a second is named STEM-2, and so on. Another process may take a name in
    between, so a name that turns out to be taken is passed over. Raises `FileExistsError` after
    9999 names.
    """
    for path in _free_paths(output, stem):
        try:
            return new.rename(path)
        except OSError as e:
            if e.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
    raise AssertionError("_free_paths raises when it has no more")


def _free_paths(output: Path, stem: str) -> Iterator[Path]:
    """Yields the free paths of the runs of a second; raises `FileExistsError` after the last one.

    rename(2) would replace an empty folder, so a name that is taken is never tried.
    """
    for number in range(1, _MAX_NUMBER + 1):
        path = output / (stem if number == 1 else f"{stem}-{number}")
        if not os.path.lexists(path):
            yield path
    raise FileExistsError(errno.EEXIST, f"all {_MAX_NUMBER} run names of this second exist already")


def reopen_run_folder(path: Path) -> RunFolder:
    """Opens the folder of a run to resume it; the caller holds the lock of the folder around it.

    A cut last line of the journal is removed, as are parts of files that a killed process left; a
    finished run gets a new journal. Raises `OutputError`, and `InputError` for a journal that is
    not a regular file.
    """
    journal = path / JOURNAL_FILE
    remove_parts(path)
    flags = os.O_RDWR | _APPEND | os.O_NONBLOCK  # which only matters for what is no journal
    if (path / STORE_FILE).exists():
        flags |= os.O_CREAT
    with output_errors(journal):
        fd = os.open(journal, flags, 0o600)
        try:
            check_regular(fd, journal)
            length = truncate_to_whole_lines(fd)
        except BaseException:
            close_after_use(fd)
            raise
    return RunFolder(path, JournalWriter(journal, fd, length))


def read_results(path: Path, note: Callable[[str], None]) -> tuple[HostResult, ...]:
    """Returns the results that a run folder has: of its store, then those of its journal.

    A host of both is in it twice, and the later result counts. `note` is as in `read_journal`; it
    also gets why a store cannot be read, whose hosts are then audited again. Raises as
    `read_journal`.
    """
    store, journal, stored = path / STORE_FILE, path / JOURNAL_FILE, tuple[HostResult, ...]()
    if not store.exists():
        return read_journal(journal, note)
    try:
        stored = read_store(store).hosts
    except InputError as e:
        note(f"{e.source}: {e.message}; hosts that are not in the journal are audited again")
    if not journal.exists():  # the run was finished
        return stored
    return (*stored, *read_journal(journal, note))


def count_results(path: Path) -> int:
    """Returns how many hosts of an unfinished run a resumed run keeps; raises as `read_results`.

    Those that were interrupted do not count, as they are audited again, and a host counts once.
    """
    results = read_results(path, lambda _: None)
    return len({host.name for host in results if host.stage != "interrupted"})


def read_plan(path: Path) -> bytes:
    """Returns the plan.json of a run folder.

    Raises `NothingToDoError` if there is no run, and `InputError` if the run has results but no
    plan, so that nobody knows what is left to do.
    """
    results = [name for name in (JOURNAL_FILE, STORE_FILE) if (path / name).exists()]
    if results and not (path / PLAN_FILE).exists():
        raise InputError(
            f"has no {PLAN_FILE} (what the run was to do), so it cannot be resumed",
            source=str(path),
            hint=f"start the run again; the results so far stay in {results[0]}",
        )
    return read_bounded(path / PLAN_FILE)
