"""Removes run folders, and only what fleetaudit wrote itself.

Rules: a run folder with a file that fleetaudit did not write is kept. No symbolic link is followed:
every name is opened and removed relative to the open output folder. A run is renamed before its
files are removed, so that nobody reads half of it; if a foreign file appears in it meanwhile, the
run gets its old name back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from .disk import close_after_use
from .names import JOURNAL_FILE, LATEST_LINK, RUN_FILE, RUN_NAME, STORE_FILE

_LEFTOVER = re.compile(r"\.(?:" + RUN_NAME.pattern + r")\.\d+\.(?:new|gone)")
_LEFTOVER_LINK = re.compile(re.escape(f".{LATEST_LINK}.") + r"\d+")
_PART = re.compile(r"\A\.(.+)\.\d+\.part\Z")
_TRACES = "traces"
ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM))
"""Errors of a name that does not exist, or not for this user. After any other error it is unknown
what a run is, and no run must be removed.
"""


def remove_leftovers(output: int, known: Collection[str]) -> None:
    """Removes from an open output folder what killed processes left: the folder of a run that was
    being created or removed, and a link that was to become `latest`.

    The caller holds the lock of the output folder, so no process that still runs has made them.
    `known` is as in `remove_run`. One that cannot be removed stays, without a message.
    """
    with contextlib.suppress(OSError):
        for name in sorted(entries(output)):
            if _LEFTOVER.fullmatch(name):
                _remove(output, name, name, known)
            elif _LEFTOVER_LINK.fullmatch(name) and stat.S_ISLNK(_mode(output, name)):
                os.unlink(name, dir_fd=output)


def remove_parts(folder: Path) -> None:
    """Removes the parts of files that a killed process left in a run folder; raises nothing.

    The caller holds the lock of the output folder.
    """
    for place in (folder, folder / _TRACES):
        with contextlib.suppress(OSError):
            for part in place.iterdir():
                if _PART.fullmatch(part.name):
                    part.unlink()


def remove_run(output: int, name: str, known: Collection[str]) -> str:
    """Removes one run of an open output folder and returns "", or returns why it stays.

    `output` is the file descriptor of the folder, and `name` one that a run can have. `known` are
    the names of the files that a run folder may have. The reason is such as "notes.txt was not
    written by fleetaudit". Raises `OSError` if the folder cannot be renamed.
    """
    return _remove(output, name, f".{name}.{os.getpid()}.gone", known)


def _remove(output: int, name: str, new_name: str, known: Collection[str]) -> str:
    """Removes a folder under a new name; returns "", or why the folder stays under its own name.

    If a file cannot be removed, or a new one appeared in the folder, the folder gets its old name
    back with the remaining files. Both names are the same for a leftover, which is renamed already.
    """
    if problem := _find_problem(output, name, known):
        return problem
    # Renaming a folder to its own name does nothing (rename(2)).
    os.rename(name, new_name, src_dir_fd=output, dst_dir_fd=output)
    try:
        _remove_files(output, new_name, known)
        os.rmdir(new_name, dir_fd=output)
    except OSError as e:
        os.rename(new_name, name, src_dir_fd=output, dst_dir_fd=output)
        if e.errno == errno.ENOTEMPTY:
            return "a new file appeared in it"
        return f"it cannot be removed: {e.strerror}"
    return ""


def _find_problem(output: int, name: str, known: Collection[str]) -> str:
    """Returns why a folder must not be removed, "" if it may be."""
    try:
        with open_folder(output, name) as fd:
            for foreign in _foreign_files(fd, known):
                return f"{foreign} was not written by fleetaudit"
    except OSError as e:
        return f"it cannot be read: {e.strerror}"
    return ""


def _foreign_files(fd: int, known: Collection[str]) -> Iterator[str]:
    """Yields the entries of an open run folder that fleetaudit did not write.

    Known are the files of the store, those of the formats, parts of them that a killed process left
    (".run.json.4242.part"), and traces/ with nothing but .pcap files and parts of them. A link is
    always foreign.
    """
    for entry in entries(fd):
        if _is_folder_of_traces(fd, entry):
            yield from _foreign_traces(fd)
        elif not _is_known(entry, known) or not is_file(fd, entry):
            yield entry


def _is_folder_of_traces(fd: int, entry: str) -> bool:
    """Returns whether an entry of an open run folder is its folder of traces, and no link."""
    return entry == _TRACES and is_folder(fd, entry)


def _foreign_traces(fd: int) -> Iterator[str]:
    """Yields the entries of the traces of an open run folder that are not traces."""
    with open_folder(fd, _TRACES) as traces:
        for file in entries(traces):
            if not _is_trace(traces, file):
                yield f"{_TRACES}/{file}"


def _is_trace(traces: int, file: str) -> bool:
    """Returns whether an entry of an open folder of traces is a regular file that is a trace."""
    return _is_name_of_trace(file) and is_file(traces, file)


def _is_name_of_trace(file: str) -> bool:
    """Returns whether a file is named HOST.pcap, or .HOST.pcap.4242.part: a partly written one."""
    return _PART.sub(r"\1", file).endswith(".pcap")


def _is_known(entry: str, known: Collection[str]) -> bool:
    """Returns whether an entry is a known file of a run, or a partly written one."""
    return _PART.sub(r"\1", entry) in known


def _remove_files(output: int, name: str, known: Collection[str]) -> None:
    """Removes the known files of a run folder; raises `OSError`.

    The store, run.json and the journal are removed last, so that a run that can be removed only in
    part is still recognized as a run.
    """
    last = STORE_FILE, RUN_FILE, JOURNAL_FILE
    with open_folder(output, name) as fd:
        for entry in sorted(entries(fd), key=lambda entry: entry in last):
            if _is_folder_of_traces(fd, entry):
                _remove_traces(fd)
            elif _is_known(entry, known):
                os.unlink(entry, dir_fd=fd)


def _remove_traces(fd: int) -> None:
    """Removes the folder of traces of an open run folder; raises `OSError`."""
    with open_folder(fd, _TRACES) as traces:
        for file in entries(traces):
            if _is_name_of_trace(file):
                os.unlink(file, dir_fd=traces)
    os.rmdir(_TRACES, dir_fd=fd)


def entries(fd: int) -> list[str]:
    """Returns the names in an open folder, unsorted; raises `OSError`."""
    return os.listdir(fd)


def is_folder(at: int, name: str) -> bool:
    """Returns whether a name in an open folder is a folder, and no link to one."""
    return stat.S_ISDIR(_mode(at, name))


def is_file(at: int, name: str) -> bool:
    """Returns whether a name in an open folder is a regular file, and no link to one."""
    return stat.S_ISREG(_mode(at, name))


def _mode(at: int, name: str) -> int:
    """Returns the type and mode of a name in an open folder, 0 if this user cannot see the name.

    Raises `OSError` if that is unknown, such as on a disk that fails.
    """
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
    except OSError as e:
        if e.errno in ABSENT:
            return 0
        raise


@contextlib.contextmanager
def open_folder(at: int | None, name: str) -> Iterator[int]:
    """Opens a folder in an open folder for a `with` block; follows no link; raises `OSError`.

    `at` is the file descriptor of the folder that has `name`, None for a path; the block gets that
    of `name`.
    """
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        yield fd
    finally:
        close_after_use(fd)
