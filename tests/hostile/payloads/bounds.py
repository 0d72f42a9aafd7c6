"""Ten megabytes in every field: no output grows with them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from fleetaudit.model import NotAudited
from fleetaudit.probe.reply import Reply
from fleetaudit.report import registry

from .corpus import Payload
from .fields import Filler, Placed
from .runs import make_run
from .scoreboard import Score
from .shells import run
from .ssh_hosts import hostile_hosts

LONG = 10_000_000
PAGE_MAX, OTHER_MAX = 1_500_000, 3_000_000
"""Bytes of a page, and of any other output, with all these hosts in it."""


def fields_of_a_reply() -> Score:
    """Decodes replies that have one text of ten megabytes each: each is refused, or cut."""
    score = Score({})
    paths = list[str]()

    def note(path: str, _most: int) -> str:
        paths.append(path)
        return "x"

    Filler(note).make(Reply)
    for number, path in enumerate(dict.fromkeys(paths)):
        placed = Placed(path, "bound", "x", str(number))
        score.placed[placed.tag] = placed
        score.seen.add(placed.tag)
        long = Filler(partial(_long_at, path))
        try:
            reply = long.make(Reply)
        except msgspec.ValidationError:
            continue
        if len(msgspec.json.encode(reply)) > LONG:
            score.fail(f"{path} has no bound")
    return score


def _long_at(path: str, here: str, _most: int) -> str:
    """Returns the long text for one field, and a short one for all others."""
    return "x" * LONG if here == path else "x"


def at_every_stage(folder: Path) -> Score:
    """Audits hosts that say ten megabytes at every stage, and measures what is written."""
    payload = Payload("bound", "A" * LONG)
    with hostile_hosts(folder, [payload], 1, most=LONG) as hosts:
        score = Score(hosts.placed)
        formats = ",".join(registry.NAMES)
        done = run(
            ["run", "hosts", "-p", "quick.yml", "--host-key-policy", "accept-new", "--retries", "0",
             "--format", formats, "-vv"], folder, FLEETAUDIT_LOG_PATH="log",
        )  # fmt: skip
    score.seen |= score.placed.keys()
    for name, size in _sizes(folder, done.stdout, done.stderr):
        most = PAGE_MAX if name.endswith(".html") else OTHER_MAX
        if size > most:
            score.fail(f"{name} has {size} bytes")
    if not (folder / "reports/latest/report.html").exists():
        score.fail(f"no page: {done.stderr[-300:]!r}")
    return score


def _sizes(folder: Path, stdout: bytes, stderr: bytes) -> Iterator[tuple[str, int]]:
    """Yields every output with its size in bytes."""
    yield "stdout", len(stdout)
    yield "stderr", len(stderr)
    yield "log", (folder / "log").stat().st_size
    for file in (folder / "reports").rglob("*"):
        if file.is_file() and not file.is_symlink():
            yield file.name, file.stat().st_size


def long_reasons() -> Score:
    """Renders a run with a reason of ten megabytes, as the file of a stranger may have it."""
    made = make_run(hosts=4)
    score = Score(made.placed)
    name = next(host.name for host in made.run.hosts if isinstance(host, NotAudited))
    hosts = tuple(
        msgspec.structs.replace(host, reason="x" * LONG, hint="y" * LONG)
        if host.name == name
        else host
        for host in made.run.hosts
    )
    run_ = msgspec.structs.replace(made.run, hosts=hosts)
    for format_ in registry.SINGLE_FILE_NAMES:
        size = len(registry.render(run_, format_))
        if size > OTHER_MAX and format_ != "json":
            score.fail(f"{format_} has {size} bytes")
        score.seen.add(next(iter(made.placed)))
    return score
