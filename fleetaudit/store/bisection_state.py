"""The state of a bisection: what each kernel did that was booted, so that none is booted again.

Rules: a state belongs to one list of images and one call (what is run on each kernel, and how it is
booted); it is never used for another. The file is replaced in one step after each boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from fleetaudit.errors import InputError, LockedError, NothingToDoError
from fleetaudit.model import DECODE_ERRORS, Frozen
from fleetaudit.text.json_schema import encode_json
from fleetaudit.text.phrases import count_noun

from .disk import (
    close_after_use,
    output_errors,
    read_bounded,
    remove_dead_parts,
    write_atomically,
)
from .lock import describe_holder

_MAX_BYTES = 64 * 1024 * 1024


class KernelResult(Frozen, frozen=True, kw_only=True):
    """What one kernel did.

    `endings` are the known endings by "SCENARIO/FAMILY", `unknown` says for the others why they are
    unknown. A kernel that was not audited has the stage, kind, reason and hint of its failure. One
    whose verdicts prove nothing is audited, has no endings, and `reason` says why.
    """

    status: Literal["audited", "not audited"]
    stage: str = ""
    kind: str = ""
    reason: str = ""
    hint: str = ""
    release: str = ""
    version: str = ""
    endings: dict[str, str] = {}
    unknown: dict[str, str] = {}


class BisectionState(Frozen, frozen=True, kw_only=True):
    """The results so far. `call` is a digest of the call; images are named by their SHA-256."""

    format: Literal["fleetaudit-bisect-state/1"] = "fleetaudit-bisect-state/1"
    call: str
    kernels: tuple[str, ...]
    results: dict[str, KernelResult] = {}


_decoder = msgspec.json.Decoder(BisectionState)


@contextlib.contextmanager
def hold_state(path: Path) -> Iterator[None]:
    """Holds the lock of a state file, and creates its folder if needed.

    The lock is a file next to it, because the file itself is replaced. Raises `LockedError` at once
    if another process holds it, and `OutputError`.
    """
    lock = path.parent / f".{path.name}.lock"
    with output_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with output_errors(lock, "cannot be locked"):
            _lock(fd, path)
        with output_errors(lock):  # for people only: flock holds the lock
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        remove_dead_parts(path)
        yield
    finally:
        close_after_use(fd)


def _lock(fd: int, path: Path) -> None:
    """Locks an open lock file; raises `LockedError` if another process has locked it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{path}: another bisection holds this file ({describe_holder(fd)}); wait for it, or"
            " name another file with --state"
        ) from None


def read_state(path: Path, call: str, kernels: Sequence[str]) -> BisectionState:
    """Returns the state in a file, an empty one if there is no file.

    Raises `InputError` if the file is not a state, or that of another call or list of kernels.
    """
    empty = BisectionState(call=call, kernels=tuple(kernels))
    try:
        data = read_bounded(path, _MAX_BYTES)
    except NothingToDoError:
        return empty
    state = decode_state(data, source=str(path))
    if state.kernels != empty.kernels:
        raise _another(path, f"another list of kernels: {_difference(state, empty)}")
    if state.call != empty.call:
        raise _another(
            path,
            "another call: other playbooks, tags, settings of the kernels, or another version of"
            " fleetaudit",
        )
    return state


def decode_state(data: bytes, *, source: str) -> BisectionState:
    """Returns the state in the bytes of a file; raises `InputError` for anything else."""
    try:
        return _decoder.decode(data)
    except DECODE_ERRORS as e:
        raise InputError(
            f"not the state of a bisection: {e}",
            source=source,
            hint="name another file with --state, or remove this one",
        ) from e


def write_state(path: Path, state: BisectionState) -> None:
    """Replaces the file of a state; raises `OutputError`."""
    write_atomically(path, encode_json(state) + b"\n")


def _difference(state: BisectionState, now: BisectionState) -> str:
    """Returns how a list of kernels differs from that of a state."""
    added, removed = {*now.kernels} - {*state.kernels}, {*state.kernels} - {*now.kernels}
    if not added and not removed:
        return "the same kernels in another order"
    return f"{count_noun(len(added), 'kernel')} added, {len(removed)} removed"


def _another(path: Path, what: str) -> InputError:
    """Returns the error for a state that cannot be continued."""
    return InputError(
        f"has the results of {what}",
        source=str(path),
        hint=f"name another file with --state, or begin again:  rm {shlex.quote(str(path))}",
    )
