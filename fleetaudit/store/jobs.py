"""Which job a run belongs to: the same inventory and playbooks, limit, shard and tags, run again
and again. Pure.

Rules: options that change the selected hosts or their scenarios make another job. How hosts are
reached, what is written and what counts as a failure do not. Names count as they were typed, but
for `./` and the like, so that a job keeps its name in every checkout of the same repository.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shlex

from fleetaudit.model import RunInfo
from fleetaudit.text.json_schema import file_name_text

LONGEST_NAME = 32
DIGITS = 8


def job_name(info: RunInfo) -> str:
    """Returns the name of a run's job: the inventory's base name and eight hexadecimal digits,
    "fleet-1c9e07b2".

    It depends on the run only, so that a run of an earlier version, without the key `job`, has a
    job as well.
    """
    question = {
        "inventory": [_normal(name) for name in info.inventory],
        "playbooks": [_normal(name) for name in info.playbooks],
        "limit": info.limit and file_name_text(info.limit),
        "shard": info.shard,
        "tags": sorted(info.tags),
        "skip_tags": sorted(info.skip_tags),
    }
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    return f"{_readable(info.inventory)}-{digest[:DIGITS]}"


def describe_job(info: RunInfo) -> str:
    """Returns the job of a run as the words of a command line: "fleet.yml -p unread-close.yml -l
    web".
    """
    words = [*info.inventory, *(word for name in info.playbooks for word in ("-p", name))]
    options = (("-l", info.limit), ("--shard", info.shard))
    tags = (("-t", info.tags), ("--skip-tags", info.skip_tags))
    words += [word for option, value in options if value for word in (option, value)]
    words += [word for option, values in tags if values for word in (option, ",".join(values))]
    return shlex.join(words)


def takes_over_latest(run: RunInfo, held: RunInfo | None, before: RunInfo | None) -> bool:
    """Returns whether a finished run takes over `latest`.

    `held` is the run that it points to, `before` the last finished run of this run's job; None
    where there is none. Within a job `latest` moves to the run that finished last. Another job
    takes it over only with its first run, or with its first scheduled run, and only from a job of
    lower rank: a scheduled job ranks above one that a person runs, and a job of the whole inventory
    above one of a part.
    """
    if held is None:
        return True
    if job_name(run) == job_name(held):
        return run.sequence >= held.sequence
    risen = before is None or _weight(before) < _weight(run)
    return risen and _weight(held) < _weight(run)


def _weight(info: RunInfo) -> int:
    if info.scheduled:
        return 2
    part = info.limit or info.shard or info.tags or info.skip_tags
    return 0 if part else 1


def _normal(name: str) -> str:
    """Returns the normalized name of a file; a list of hosts (with a comma) is returned unchanged."""
    name = file_name_text(name)  # as it is read back
    return name if "," in name else posixpath.normpath(name)


def _readable(inventory: tuple[str, ...]) -> str:
    first = inventory[0] if inventory else ""
    base = posixpath.basename(_normal(first).rstrip(","))
    stem = re.sub(r"\.(?:ya?ml|ini|json|py|sh)$", "", base)
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem)[:LONGEST_NAME].strip("-") or "fleet"
