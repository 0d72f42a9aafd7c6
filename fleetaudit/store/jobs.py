"""Which job a run belongs to: runs of one command with the same inventory, playbooks, limit, shard
and tags. Pure.

Rules: options that change the selected hosts or their scenarios make another job. How hosts are
reached, what is written and what counts as a failure do not. Names count as they were typed, except
for `./` and the like, so that a job keeps its name in every checkout of the same repository.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shlex
from collections.abc import Iterable

from fleetaudit.model import RunInfo
from fleetaudit.text.json_schema import file_name_text

MAX_STEM = 32
DIGITS = 8


def job_name(info: RunInfo) -> str:
    """Returns the name of a run's job, such as "fleet-1c9e07b2": the base name of the inventory and
    eight hexadecimal digits.

    It depends on the command, inventory, playbooks, limit, shard and tags of the run only, so that
    a run of an earlier version, without the key `job`, has a job as well. The order of tags does
    not count, that of inventories and playbooks does.
    """
    identity: dict[str, object] = {
        "inventory": list(map(_normalize, info.inventory)),
        "playbooks": list(map(_normalize, info.playbooks)),
        "limit": _limit_text(info.limit),
        "shard": info.shard,
        "tags": sorted(info.tags),
        "skip_tags": sorted(info.skip_tags),
    }
    if info.command:
        identity["command"] = info.command
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{_inventory_stem(info.inventory)}-{digest[:DIGITS]}"


def jobs_named(text: str, jobs: Iterable[str]) -> list[str]:
    """Returns those of `jobs` whose name is `text`, or is it apart from the digits at its end."""
    return [job for job in jobs if text in (job, job[: -DIGITS - 1])]


def _limit_text(limit: str | None) -> str | None:
    """Returns the limit of a run as it is read back from run.json, None (or "") without one."""
    if not limit:
        return limit
    return file_name_text(limit)


def describe_job(info: RunInfo) -> str:
    """Returns the job of a run as in a command line: "fleet.yml -p unread-close.yml -l web".

    The inventories come first, without an option, after the command if that is not `run`; options
    that were not set are left out. Each word is quoted for a shell.
    """
    options = (
        *(("-p", name) for name in info.playbooks),
        ("-l", info.limit),
        ("--shard", info.shard),
        ("-t", ",".join(info.tags)),
        ("--skip-tags", ",".join(info.skip_tags)),
    )
    arguments: list[str] = [info.command] if info.command else []
    arguments += info.inventory
    for option, value in options:
        if value:
            arguments += (option, value)
    return shlex.join(arguments)


def takes_over_latest(run: RunInfo, current: RunInfo | None, before: RunInfo | None) -> bool:
    """Returns whether a finished run takes over `latest`.

    `current` is the run that it points to, `before` the last finished run of this run's job; None
    if there is none. Within a job `latest` moves to the run that finished last. Another job takes
    it over only with its first run, or with its first scheduled run, and only from a job of lower
    rank: a scheduled job ranks above one that a person runs, and a job of the whole inventory above
    one of a part.
    """
    if current is None:
        return True
    if job_name(run) == job_name(current):
        return run.sequence >= current.sequence
    if before is not None and _rank(before) >= _rank(run):
        return False
    return _rank(current) < _rank(run)


def _rank(info: RunInfo) -> int:
    """Returns the rank of a run's job: 2 scheduled, 1 the whole inventory, 0 a part of it.

    A limit, a shard or tags make a part; a command other than `run` ranks as one.
    """
    if info.scheduled:
        return 2
    parts = (info.command, info.limit, info.shard, info.tags, info.skip_tags)
    return 0 if any(parts) else 1


def _normalize(name: str) -> str:
    """Returns the normalized name of a file; a list of hosts (with a comma) as it is."""
    name = file_name_text(name)  # as it is read back
    if "," in name:
        return name
    return posixpath.normpath(name)


def _inventory_stem(inventory: tuple[str, ...]) -> str:
    """Returns the base name of the first inventory, of letters, digits, "_" and "-".

    "site/fleet.yml" becomes "fleet"; a run without an inventory, or with an odd name, is "fleet"
    too.
    """
    first = next(iter(inventory), "")
    base = posixpath.basename(_normalize(first).rstrip(","))
    stem = re.sub(r"\.(?:ya?ml|ini|json|py|sh)$", "", base)
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem)[:MAX_STEM].strip("-") or "fleet"
