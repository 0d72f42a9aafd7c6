"""Files with the output of a probe, each named after its host: finds and reads them.

Rules: no reply is lost. A reply of a host that is not selected, and a second reply of one host, are
errors that name the files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.inventory.host_names import InvalidNameError, check_host_name
from fleetaudit.model import DECODE_ERRORS
from fleetaudit.probe.protocol import REPLY_MARK
from fleetaudit.store.names import JOURNAL_FILE, RUN_FILE, STORE_FILE
from fleetaudit.transport import Output

SUFFIXES = (".reply", ".txt", ".json")
"""Suffixes that may follow the name of the host in the name of a reply's file."""


def split_runs_and_replies(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the runs and the files of replies among some paths.

    A run is the folder of a run, its store.jsonl, or a file named *.json. In any other folder every
    file that is not hidden is a reply; such files come sorted by name. Raises `NothingToDoError`
    for a path that does not exist and for an empty folder, and `InputError` for a folder that has
    folders or symbolic links in it or cannot be read.
    """
    runs, replies = list[Path](), list[Path]()
    for path in paths:
        if _is_run(path):
            runs.append(path)
        elif path.is_dir():
            replies += _replies_in(path)
        else:
            replies.append(path)
    return runs, replies


def _is_run(path: Path) -> bool:
    """Returns whether a path is a run; raises `NothingToDoError` if nothing is there."""
    if path.is_dir():
        return any((path / name).exists() for name in (STORE_FILE, RUN_FILE, JOURNAL_FILE))
    if path.suffix == ".json" or path.name == STORE_FILE:
        return True
    if not path.exists():
        folder = shlex.quote(str(path.parent))
        raise NothingToDoError(
            f"{path}: no such run, and no such file of a reply; to list the folder:  ls {folder}"
        )
    return False


def _replies_in(folder: Path) -> list[Path]:
    """Returns the files of a folder of replies, sorted by name."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", source=str(folder)) from e
    if not entries:
        raise NothingToDoError(f"{folder}: this folder has neither a run nor a reply")
    if folders := [path.name for path in entries if path.is_dir()]:
        raise InputError(
            f"neither a run nor a folder of replies: it contains the folder {folders[0]}",
            source=str(folder),
            hint="name each run, and each folder of replies",
        )
    _refuse_links(entries)
    return entries


def _refuse_links(entries: Iterable[Path]) -> None:
    """Raises `InputError` for a symbolic link: who fills the folder chose what it points to.

    The beginning of a reply that is refused is shown, and any file could be shown so.
    """
    for path in filter(Path.is_symlink, entries):
        raise InputError(
            "a symbolic link, and in a folder of replies no link is followed",
            source=str(path),
            hint="replace it with the file, or name that file itself",
        )


def replies_by_host(files: Iterable[Path], known: Iterable[str] | None) -> dict[str, Path]:
    """Returns the file of each host.

    `known` are the selected hosts that a play matches, None without an inventory. Raises
    `InputError` for a second file of one host, and for a file that is named after no host.
    """
    names = None if known is None else frozenset(known)
    by_host = dict[str, Path]()
    for path in files:
        name = _host_name(path) if names is None else _known_host_name(path, names)
        if name in by_host:
            raise InputError(
                f"a second reply of {name}; the first is {by_host[name]}",
                source=str(path),
                hint="leave one of them out",
            )
        by_host[name] = path
    return by_host


def _without_suffix(path: Path) -> str:
    """Returns the name of a file without the suffix of a reply."""
    if path.suffix in SUFFIXES:
        return path.stem
    return path.name


def _known_host_name(path: Path, known: Collection[str]) -> str:
    """Returns the host of `known` that a file is named after; raises `InputError`."""
    without_suffix = _without_suffix(path)
    for candidate in (path.name, without_suffix):
        if candidate in known:
            return candidate
    raise InputError(
        f"{without_suffix} is not a selected host that a play matches",
        source=str(path),
        hint="name the file after its host as the inventory has it, or leave it out",
    )


def _host_name(path: Path) -> str:
    """Returns the host that a file is named after; raises `InputError` if no host can have the
    name.
    """
    name = _without_suffix(path)
    try:
        check_host_name(name)
    except InvalidNameError as e:
        raise InputError(
            e.message, source=str(path), hint="name the file after its host, such as web7.reply"
        ) from e
    return name


class _AnsibleResult(msgspec.Struct):
    """The result of a task as `ansible` prints it, and as --tree writes it."""

    stdout: str = ""
    stderr: str = ""
    msg: object = ""


_decoder = msgspec.json.Decoder(_AnsibleResult)
_HEADING = re.compile(rb"\s*[^\n|]{1,1024} \| [A-Z!]+ => (?=\{)")
"""What `ansible` prints before a result: "web7 | CHANGED => "."""


_LOG_PREFIX = re.compile(
    rb"^(?:\[pod/[^\]\s]{1,600}\] )?(?:\d{4}-\d\d-\d\dT[\d:.]{8,24}(?:Z|[+-]\d\d:\d\d) )?"
    + re.escape(REPLY_MARK),
    re.MULTILINE,
)
"""The beginning of a result line in what `kubectl logs --prefix --timestamps` prints."""


def parse_reply_file(data: bytes) -> Output:
    """Returns the output of the probe in a file: plain, in the log of a container, or in the JSON
    of one result of Ansible.

    Ansible's message about a failed task goes to `stderr`, which only explains why there is no
    result line. The exit status is unknown, None. Nothing is raised: what is not valid JSON is the
    plain output, in which `probe.protocol` looks for the result line.
    """
    plain = Output(stdout=_LOG_PREFIX.sub(REPLY_MARK, data), stderr=b"", exit_status=None)
    heading = _HEADING.match(data)
    text = data[heading.end() :] if heading else data
    if text.lstrip()[:1] != b"{":
        return plain
    try:
        result = _decoder.decode(text)
    except DECODE_ERRORS:
        return plain
    stderr = f"{result.msg} {result.stderr}"
    return Output(stdout=_encode(result.stdout), stderr=_encode(stderr), exit_status=None)


def _encode(text: str) -> bytes:
    """Returns text in UTF-8, with "?" for what cannot be encoded."""
    return text.encode("utf-8", "replace")
