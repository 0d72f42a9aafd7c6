"""Real full and read-only disks, and a limit of the size of files."""

from __future__ import annotations

import contextlib
import errno
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from tests.hostile.table import Case, Seen
from tests.support.probe_runs import need_root

from .server import Done
from .worlds import JOBS, READERS, SUMMARY, Job, Worlds, bad_ending, differences, tree, unreadable

KIB = 1024


@contextlib.contextmanager
def _mounted(folder: Path, spare: int) -> Iterator[Callable[[str], None]]:
    """Makes a folder a small disk with so many bytes free; yields a function that remounts it."""
    need_root()
    content = folder.with_name(".content")
    folder.rename(content)
    folder.mkdir()

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words, str(folder)], check=True)

    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs")
    try:
        subprocess.run(["cp", "-a", f"{content}/.", str(folder)], check=True)
        shutil.rmtree(content)
        mount("-o", f"remount,size={shutil.disk_usage(folder).used + spare}")
        yield lambda options: mount("-o", f"remount,{options}")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _full(worlds: Worlds, job: Job, share: int) -> Seen:
    """Runs a command on disks that are full sooner or later."""
    clean, statuses, wrong = worlds.clean(job), Counter[object](), list[str]()
    for spare in range(0, 240 * KIB, 12 * KIB * min(share, 5)):
        with worlds.world() as world, _mounted(world / job.folder, spare) as remount:
            done = worlds.server.run(world, *job.arguments)
            statuses[done.status] += 1
            found = _problems(done, {clean.done.status, 73}, errno.ENOSPC) + unreadable(world)
            remount("size=64m")
            found += bad_ending(
                worlds.recover(job, world, clean.before), {0, clean.done.status or 0}
            )
            found += differences(tree(world), clean.after)
            wrong += [f"{spare // KIB} KiB free: {text}" for text in found]
    return _seen(job, statuses, wrong)


def _problems(done: Done, allowed: Collection[int | None], error: int) -> list[str]:
    """Returns what is wrong with how a command ended."""
    wrong = bad_ending(done, {status or 0 for status in allowed}, error)
    if done.contacted and SUMMARY not in done.out:
        wrong.append(f"no summary on stdout: {done.err[-300:]}")
    return wrong


def _read_only(worlds: Worlds, job: Job) -> Seen:
    """Runs a command on a read-only disk: one that writes is refused before it contacts a host."""
    clean = worlds.clean(job)
    with worlds.world() as world, _mounted(world / job.folder, 64 * KIB) as remount:
        before = tree(world)
        remount("ro")
        done = worlds.server.run(world, *job.arguments)
        allowed: Collection[int | None] = {73} if job in JOBS else {clean.done.status}
        wrong = _problems(done, allowed, errno.EROFS) + differences(tree(world), before)
        if done.contacted:
            wrong.append("hosts were contacted")
    return _seen(job, Counter([done.status]), wrong)


def _file_size(worlds: Worlds, job: Job, share: int) -> Seen:
    """Runs a command with a limit of the size of files (RLIMIT_FSIZE, SIGXFSZ)."""
    clean, statuses, wrong = worlds.clean(job), Counter[object](), list[str]()
    for size in range(0, 60 * KIB, 2 * KIB * min(share, 5)):
        with worlds.world() as world:
            limits = {resource.RLIMIT_FSIZE: size}
            done = worlds.server.run(world, *job.arguments, limits=limits)
            statuses[done.status] += 1
            if size < KIB:  # not even what it prints
                continue
            found = _problems(done, {clean.done.status, 73}, errno.EFBIG) + unreadable(world)
            worlds.recover(job, world, clean.before)
            found += differences(tree(world), clean.after)
            wrong += [f"at most {size} bytes: {text}" for text in found]
    return _seen(job, statuses, wrong)


def _seen(job: Job, statuses: Counter[object], wrong: list[str]) -> Seen:
    text = " ".join(f"{status}:{count}" for status, count in statuses.items())
    cells = {"command": job.name, "tried": statuses.total(), "statuses": text}
    return Seen(tuple(wrong[:12]), cells)


def cases(worlds: Worlds, share: int) -> Iterator[Case]:
    """Yields the cases."""
    for job in JOBS:
        yield Case(f"{job.name}: a full disk", partial(_full, worlds, job, share))
        yield Case(
            f"{job.name}: a limit of the size of files", partial(_file_size, worlds, job, share)
        )
    for job in (*JOBS, *READERS):
        yield Case(f"{job.name}: a read-only disk", partial(_read_only, worlds, job))
