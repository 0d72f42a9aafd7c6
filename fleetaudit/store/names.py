"""The names in an output folder: run folders and their files. Pure."""

from __future__ import annotations

import re

JOURNAL_FILE = "hosts.jsonl"
RUN_FILE = "run.json"
STORE_FILE = "store.jsonl"
PLAN_FILE = "plan.json"
OUTLINE_FILE = "outline.json"
LATEST_LINK = "latest"
LOCK_FILE = "lock"
RUN_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z)(?:-([1-9][0-9]{0,3}))?")
"""The name of a run folder: its start time in UTC, and a number if a second has several runs."""


def name_order(name: str) -> tuple[str, int]:
    """Returns the sort key of a run's name: the start time, then the number within that second.

    That of "2026-01-31T020000Z-2" is ("2026-01-31T020000Z", 2). What is no name of a run comes
    first, with ("", 0).
    """
    match = RUN_NAME.fullmatch(name)
    if match is None:
        return "", 0
    start, number = match.groups("1")
    return start, int(number)
