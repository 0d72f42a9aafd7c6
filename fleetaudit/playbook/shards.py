"""Divides a fleet into N parts for N controllers: every host of a plan is in exactly one. Pure.

Rules: the order of the names decides, not that of the inventory, so that two controllers agree
whose inventories list the same hosts in another order. Hosts with neighbouring names go to
different parts.
"""

from __future__ import annotations

import re

import msgspec

from fleetaudit.model import Plan

MAX_SHARDS = 10_000
"""Maximum number of parts."""


def parse_shard(text: str) -> tuple[int, int]:
    """Returns (2, 4) for "2/4", the second of four parts.

    Raises `ValueError` for other text, for a part that does not exist, and for more than
    `MAX_SHARDS` parts.
    """
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text.strip())
    number, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= parts <= MAX_SHARDS:
        raise ValueError(f"not a shard: {text!r}; write it as 1/4, the first of 4 parts")
    return number, parts


def select_shard(plan: Plan, number: int, parts: int) -> Plan:
    """Returns the plan with the hosts of part `number` (from 1) of `parts`, in the plan's order.

    Sorted by name, every host whose index has the remainder `number` - 1 belongs to the part, so
    parts differ by one host at most. A part may be empty.
    """
    names = frozenset(sorted(host.name for host in plan.hosts)[number - 1 :: parts])
    positions = tuple(n for n, host in enumerate(plan.hosts) if host.name in names)
    hosts = tuple(plan.hosts[n] for n in positions)
    return msgspec.structs.replace(plan, hosts=hosts, positions=positions)
