"""The folder of a published site: which files in it publish wrote, written and removed in one step.

Rules:
- Only what the list of files `.fleetaudit-site` names is ever replaced or removed. A name is in the
  list before its file is written, so that what a killed process left is known to the next one.
- Every name is opened relative to the open folder, and no symbolic link in it is followed.
- The list and the lock are readable by their owner only, whatever the mode of the site is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fleetaudit.errors import LockedError, OutputError, UsageError
from fleetaudit.model import DECODE_ERRORS
from fleetaudit.text.json_schema import encode_json, file_name_text

from .disk import close_after_use, output_errors, write_all
from .lock import describe_holder
from .removal import entries, is_file, is_folder, open_folder

LIST_FILE = ".fleetaudit-site"
LOCK_FILE = ".fleetaudit-site.lock"
OWNER_ONLY = 0o600
"""The mode of files that only their owner reads."""
_MAX_LIST = 64 * 1024 * 1024
_PART = re.compile(r"\A\.(.+)\.[0-9]+\.part\Z")
_POLL_S = 0.2
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = 5
"""How many foreign names a message has."""

SiteName = Annotated[str, Meta(pattern=r"^(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/){0,2}[a-z]+\.[a-z]+$")]
"""The name of a file of a site, relative to its folder: no other path can be in a list."""


class SiteFile(msgspec.Struct, frozen=True):
    """A file of a site: what it was made from, and its size and time when it was written.

    `size` is -1 for a file that is about to be written.
    """

    source: str
    size: int = -1
    mtime_ns: int = 0


class SiteFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The list of the files of a site.

    `output` is the output folder whose runs it shows; `created` is whether the folder of the site
    was created for it. `notes` are texts that the publisher keeps for the next time, by its keys.
    """

    format: Literal["fleetaudit-site-files/1"] = "fleetaudit-site-files/1"
    output: str
    created: bool
    files: dict[SiteName, SiteFile] = {}
    notes: dict[str, str] = {}


_decoder = msgspec.json.Decoder(SiteFiles)


# ---- what must not become a site -----------------------------------------------------------------


def refuse_unsuitable(folder: Path, output: Path) -> None:
    """Raises an error for a folder that cannot become, or is not, the site of an output folder.

    `UsageError` if one of the two is inside the other; `OutputError` for a link, for what is not a
    folder, and for a folder that holds something else. Creates nothing.
    """
    _refuse_overlap(folder, output)
    with output_errors(folder, "cannot be read"), contextlib.suppress(FileNotFoundError):
        mode = folder.lstat().st_mode
        if stat.S_ISLNK(mode):
            _refuse_link(folder)
        if not stat.S_ISDIR(mode):
            raise OutputError(f"{folder}: not a folder; name a new or an empty folder")
        with open_folder(None, str(folder)) as fd:
            _refuse_foreign_folder(fd, folder)


def _refuse_overlap(folder: Path, output: Path) -> None:
    """Raises `UsageError` if one folder is, or is in, the other."""
    # realpath: a loop of links is no error here.
    site, runs = (Path(os.path.realpath(path)) for path in (folder, output))
    if site.is_relative_to(runs) or runs.is_relative_to(site):
        raise UsageError(
            f"{folder}: a site and the output folder {output} must not be inside each other;"
            " name a folder outside of it"
        )


def _refuse_link(folder: Path) -> None:
    """Raises `OutputError` that names the folder that a link points to."""
    target = shlex.quote(os.path.realpath(folder))
    raise OutputError(
        f"{folder}: a symbolic link, which is not followed; to name the folder itself:\n"
        f"  fleetaudit publish {target}"
    )


def _refuse_foreign_folder(fd: int, folder: Path) -> None:
    """Raises `OutputError` if an open folder holds something, and no site."""
    names = entries(fd)
    if LIST_FILE in names:
        return
    foreign = sorted(name for name in names if not _is_own_name(name))
    if not foreign:
        return
    inside = shlex.quote(str(folder / "fleetaudit"))
    raise OutputError(
        f"{folder}: not empty ({name_some(foreign)}), and not a site of fleetaudit; nothing was"
        f" changed; to use a folder in it:\n  fleetaudit publish {inside}"
    )


def _is_own_name(name: str) -> bool:
    """Returns whether a name is that of the lock, or of a list that was being written."""
    return name == LOCK_FILE or _PART.sub(r"\1", name) == LIST_FILE


def name_some(names: Collection[str]) -> str:
    """Returns the first names, and how many more there are."""
    some = ", ".join(map(file_name_text, [*names][:_NAMED]))
    if len(names) <= _NAMED:
        return some
    return f"{some} and {len(names) - _NAMED} more"


# ---- the open folder -----------------------------------------------------------------------------


@contextlib.contextmanager
def open_site(
    folder: Path, output: Path, *, mode: int = OWNER_ONLY, wait_s: float = 0.0
) -> Iterator[SiteFolder]:
    """Opens the folder of a site for a `with` block, and holds its lock; creates it if needed.

    `mode` is that of its files; its folders may be entered by whoever may read them. `wait_s` is
    how long to wait for another process that publishes there. Raises as `refuse_unsuitable`,
    `LockedError` if that process is still there, and `OutputError`.
    """
    refuse_unsuitable(folder, output)
    with contextlib.ExitStack() as stack:
        with _errors(folder):
            created = _create(folder, folder_mode(mode))
            fd = stack.enter_context(open_folder(None, str(folder)))
        with _errors(folder / LOCK_FILE):
            stack.enter_context(_locked(fd, folder, wait_s))
        with _errors(folder / LIST_FILE, "cannot be read"):
            _refuse_foreign_folder(fd, folder)
            files = _read_list(fd, folder, output)
        files = files or SiteFiles(output=file_name_text(output.resolve()), created=created)
        site = SiteFolder(folder, fd, mode, files.created, files.output)
        site.files |= files.files
        site.notes |= files.notes
        yield site


@contextlib.contextmanager
def _errors(path: Path, problem: str = "cannot be written") -> Iterator[None]:
    """Raises `OutputError` that names `path` for an `OSError`, which has a name without folders."""
    try:
        yield
    except OSError as e:
        raise OutputError(f"{path}: {problem}: {e.strerror or e}") from e


def folder_mode(mode: int) -> int:
    """Returns the mode of a folder whose files have `mode`: who may read them may enter it."""
    return mode | (mode & 0o444) >> 2


def _create(folder: Path, mode: int) -> bool:
    """Creates the folder of a site; returns whether it is new."""
    try:
        folder.mkdir(mode=mode, parents=True)
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _locked(folder: int, path: Path, wait_s: float) -> Iterator[None]:
    """Holds the lock of an open site; the kernel releases that of a process that dies."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(LOCK_FILE, flags, 0o600, dir_fd=folder)
    try:
        _lock(fd, path, time.monotonic() + wait_s)
        os.ftruncate(fd, 0)  # for people only: flock holds the lock
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        close_after_use(fd)


def _lock(fd: int, path: Path, end: float) -> None:
    """Locks an open file; raises `LockedError` if another process has it until `end`."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise LockedError(
                    f"{path}: {describe_holder(fd)} publishes there now; wait for it"
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _read_list(folder: int, path: Path, output: Path) -> SiteFiles | None:
    """Returns the list of an open site, None if it has none yet.

    Raises `OutputError` if it is not a list, or is of another output folder that still exists.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(LIST_FILE, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_LIST)
    try:
        files = _decoder.decode(data)
    except DECODE_ERRORS as e:
        raise OutputError(
            f"{path / LIST_FILE}: not the list of files of a site ({e}); move {path} away, then"
            " publish again"
        ) from e
    other = Path(files.output)
    if files.output != file_name_text(output.resolve()) and other.is_dir():
        raise OutputError(
            f"{path}: the site of the runs in {other}, not of those in {output}; name another"
            " folder"
        )
    return files


@dataclass(slots=True)
class SiteFolder:
    """The open and locked folder of a site. Names of files are relative to it."""

    path: Path
    _fd: int
    _mode: int
    _created: bool
    _output: str
    files: dict[str, SiteFile] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    written: int = 0

    def announce(self, names: Iterable[str]) -> None:
        """Adds names to the list before their files are written; raises `OutputError`.

        What stands in their places and was not written by publish is refused.
        """
        new = [name for name in names if name not in self.files]
        for name in new:
            self._refuse_foreign_file(name)
        self.files |= {name: SiteFile("") for name in new}
        self._save()

    def is_current(self, name: str, source: str) -> bool:
        """Returns whether a file was made from `source`, and is still as it was written.

        Its mode is corrected if it is; raises `OutputError`.
        """
        known = self.files.get(name)
        with self._folder_of(name) as (folder, base):
            if not is_file(folder, base):
                return False
            info = os.stat(base, dir_fd=folder, follow_symlinks=False)
            if stat.S_IMODE(info.st_mode) != self._mode:
                os.chmod(base, self._mode, dir_fd=folder)
        return known == SiteFile(source, info.st_size, info.st_mtime_ns)

    def write(self, name: str, source: str, data: bytes) -> None:
        """Writes one whole file in one step; raises `OutputError`."""
        with self._folder_of(name) as (folder, base):
            info = _replace(folder, base, data, self._mode)
        self.files[name] = SiteFile(source, info.st_size, info.st_mtime_ns)
        self.written += 1

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file of the site; raises `OutputError`."""
        with self._folder_of(name) as (folder, base):
            fd = os.open(base, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
            with os.fdopen(fd, "rb") as file:
                return file.read()

    def finish(self, names: Collection[str]) -> int:
        """Removes every file but the named ones, and returns how many; raises `OutputError`.

        Files that publish did not write stay.
        """
        old = sorted(self.files.keys() - {*names})
        for name in old:
            self._remove(name)
            del self.files[name]
        self._save()
        self._remove_parts()
        return len(old)

    def foreign_names(self) -> list[str]:
        """Returns what is in the site and was not written by publish, in order.

        Raises `OutputError`.
        """
        known = {*self.files, *self._own_folders(), LIST_FILE, LOCK_FILE}
        with _errors(self.path, "cannot be read"):
            return sorted(name for name in self._names() if name not in known)

    def _names(self) -> Iterator[str]:
        """Yields everything in the folders that have files of the site, the folders included."""
        for folder in ("", *self._own_folders()):
            yield from (_join(folder, name) for name in self._entries(folder))

    def _entries(self, folder: str) -> list[str]:
        """Returns the names in a folder of the site, none if it is missing or a link."""
        with self._opened(folder) as fds:
            return entries(fds[-1]) if fds else []

    def _own_folders(self) -> frozenset[str]:
        """Returns the folders that have files of the site: "JOB" and "JOB/RUN"."""
        folders = {name.rpartition("/")[0] for name in self.files}
        folders |= {folder.rpartition("/")[0] for folder in folders}
        return frozenset(filter(None, folders))

    @contextlib.contextmanager
    def _opened(self, folder: str) -> Iterator[list[int]]:
        """Opens a folder of the site, "" for the site itself, and gives the block each on the way.

        The list is empty if one of them is missing, or is a link.
        """
        with contextlib.ExitStack() as stack:
            fds = [self._fd]
            try:
                for name in filter(None, folder.split("/")):
                    fds.append(stack.enter_context(open_folder(fds[-1], name)))
            except (FileNotFoundError, NotADirectoryError):
                fds.clear()
            yield fds

    def _refuse_foreign_file(self, name: str) -> None:
        """Raises `OutputError` if something is in the place of a file that is to be written."""
        if os.path.lexists(self.path / name):
            raise OutputError(
                f"{self.path / name}: was not written by fleetaudit publish, and a page belongs"
                " there; move it away, then publish again"
            )

    @contextlib.contextmanager
    def _folder_of(self, name: str) -> Iterator[tuple[int, str]]:
        """Opens the folder of a file, and creates it; gives the block it and the base name.

        Raises `OutputError` for an error of the disk, in the block as well.
        """
        *folders, base = name.split("/")
        with contextlib.ExitStack() as stack:
            fd, path = self._fd, self.path
            for folder in folders:
                path /= folder
                fd = stack.enter_context(self._open_inside(fd, folder, path))
            with _errors(path / base):
                yield fd, base

    @contextlib.contextmanager
    def _open_inside(self, at: int, folder: str, path: Path) -> Iterator[int]:
        """Opens one folder of the site, creates it if needed, and gives it its mode."""
        mode = folder_mode(self._mode)
        with _errors(path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, mode, dir_fd=at)
            if not is_folder(at, folder):
                raise OutputError(
                    f"{path}: a link or a file is where a folder of the site belongs; it was not"
                    " followed; move it away, then publish again"
                )
            with open_folder(at, folder) as fd:
                _set_folder_mode(fd, mode)
                yield fd

    def _remove(self, name: str) -> None:
        """Removes one file of the site, and its folders if nothing is left in them.

        What is no regular file any more stays.
        """
        folder, _, base = name.rpartition("/")
        with _errors(self.path / name, "cannot be removed"), self._opened(folder) as fds:
            if fds and is_file(fds[-1], base):
                os.unlink(base, dir_fd=fds[-1])
            with contextlib.suppress(OSError):  # not empty
                for at, inside in reversed([*zip(fds, folder.split("/"), strict=False)]):
                    os.rmdir(inside, dir_fd=at)

    def _remove_parts(self) -> None:
        """Removes the parts of files that a killed process left: nobody else holds the lock."""
        own = {*self.files, LIST_FILE}
        for folder in ("", *self._own_folders()):
            with contextlib.suppress(OSError), self._opened(folder) as fds:
                for name in _parts_of(fds[-1], folder, own):
                    os.unlink(name, dir_fd=fds[-1])

    def _save(self) -> None:
        """Writes the list of files; raises `OutputError`."""
        files = SiteFiles(
            output=self._output, created=self._created, files=self.files, notes=self.notes
        )
        with _errors(self.path / LIST_FILE):
            if self._created:
                _set_folder_mode(self._fd, folder_mode(self._mode))
            _replace(self._fd, LIST_FILE, encode_json(files), OWNER_ONLY)


def _parts_of(fd: int, folder: str, own: Collection[str]) -> Iterator[str]:
    """Yields the parts of files of the site in an open folder, which is `folder` of the site."""
    for name in entries(fd):
        match = _PART.fullmatch(name)
        if match and _join(folder, match[1]) in own and is_file(fd, name):
            yield name


def _join(folder: str, name: str) -> str:
    """Returns the name of a file in a folder of a site, "" for the site itself."""
    return f"{folder}/{name}".lstrip("/")


def _set_folder_mode(fd: int, mode: int) -> None:
    """Gives an open folder its mode, and keeps bits such as setgid."""
    now = stat.S_IMODE(os.fstat(fd).st_mode)
    if now & 0o777 != mode:
        os.fchmod(fd, now & 0o7000 | mode)


def _replace(folder: int, name: str, data: bytes, mode: int) -> os.stat_result:
    """Writes a file of an open folder under another name, and renames it; returns its status."""
    part = f".{name}.{os.getpid()}.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    try:
        fd = os.open(part, _NEW_FILE, 0o600, dir_fd=folder)
        try:
            os.fchmod(fd, mode)
            write_all(fd, memoryview(data))
            os.fsync(fd)
            info = os.fstat(fd)
        finally:
            close_after_use(fd)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong before says more
            os.unlink(part, dir_fd=folder)
        raise
    os.fsync(folder)
    return info


def parse_mode(text: str) -> int:
    """Returns the mode of "0644"; raises `ValueError` for one that a site must not have."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is not a mode such as 0644")
    mode = int(text, 8)
    if mode & 0o600 != 0o600:
        raise ValueError(f"{text}: the owner must be able to read and write the files: 0644")
    if mode & 0o113:
        raise ValueError(
            f"{text}: files that everybody may write, or that are executed, are refused: use 0644"
        )
    return mode
