"""From the words of a command line to a plan: inventories, playbooks, patterns and connections, read in that order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..inventory import load_inventory
from ..inventory.connection import ConnectionOptions, target_of
from ..inventory.patterns import select
from ..model import Plan, Playbook, ScenarioRow
from ..plan import make_plan
from ..playbook import load_playbook


def playbooks_of(named: Sequence[str]) -> tuple[Playbook, ...]:
    """Returns the playbooks: those named, else the default one."""
    return tuple(load_playbook(Path(name).expanduser()) for name in named) or (load_playbook(None),)


def plan_of(sources: Sequence[str], playbooks: Sequence[str], limit: str | None, options: ConnectionOptions) -> Plan:
    """Returns what is to be done: every host that `limit` selects (None: all), exactly once, in inventory order."""
    inventory = load_inventory(sources)
    selected = select(inventory, limit) if limit is not None else tuple(host.name for host in inventory.hosts)
    chosen = set(selected)
    targets = {host.name: target_of(host, options) for host in inventory.hosts if host.name in chosen}
    return make_plan(
        inventory,
        playbooks_of(playbooks),
        targets=targets,
        selected=selected,
        select=lambda pattern: select(inventory, pattern),
    )


def scenario_rows(plan: Plan) -> tuple[ScenarioRow, ...]:
    """Returns the scenarios of a plan as run.json carries them, each once, in the order they were declared."""
    rows = dict[str, ScenarioRow]()
    for host in plan.hosts:
        for s in host.scenarios:
            if s.name not in rows:
                rows[s.name] = ScenarioRow(
                    name=s.name,
                    title=s.title,
                    steps=tuple(step.text for step in s.steps),
                    expect=s.expect,
                    severity=s.severity,
                    control=s.control,
                    because=s.because,
                )
    return tuple(rows.values())
