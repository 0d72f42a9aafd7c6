"""From the words of a command line to a plan: inventories, playbooks, patterns and connections,
read in that order.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from msgspec.structs import replace as replace_fields

from fleetaudit.connection.ansible_cfg import AnsibleSettings, load_ansible_settings
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.connection.settings_check import check_connection_settings
from fleetaudit.connection.target import resolve_target
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.layered_mapping import overlay
from fleetaudit.inventory.patterns import select_hosts
from fleetaudit.inventory.vault import Vault, load_vault
from fleetaudit.model import (
    Inventory,
    LocalTarget,
    NotAudited,
    NotSelected,
    Plan,
    Playbook,
    ScenarioRow,
    Secret,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.plan import make_plan
from fleetaudit.text.files import expand_home

from .passwords import read_password_file

Report = Callable[[str], None]


def _nobody(_note: str) -> None:
    """Ignores a note."""


def read_playbooks(named: Sequence[str]) -> tuple[Playbook, ...]:
    """Returns the playbooks: those named, else the default one."""
    return tuple(load_playbook(expand_home(name)) for name in named) or (load_playbook(None),)


class LoadedInventory(NamedTuple):
    """What the inventories say, Ansible's own settings, and the vault that both are read with."""

    inventory: Inventory
    settings: AnsibleSettings
    vault: Vault


def read_inventory(
    sources: Sequence[str],
    vault_password_file: str | None,
    extra: Mapping[str, str] | None = None,
    *,
    tell: Report = _nobody,
) -> LoadedInventory:
    """Returns what the inventories say, Ansible's own settings, and the vault that both read with.

    `extra` are variables that every host has, above its own. `tell` gets the notes: what Ansible
    would read or follow, and was not read or followed.
    """
    settings = load_ansible_settings(sources)
    vault = load_vault(vault_password_file or settings.vault_password_file)
    inventory = load_inventory(sources, vault=vault, unsupported=settings.unsupported)
    for note in (*settings.notes, *inventory.notes):
        tell(f"fleetaudit: note: {note}")
    return LoadedInventory(_with_extra(inventory, extra) if extra else inventory, settings, vault)


def _with_extra(inventory: Inventory, extra: Mapping[str, str]) -> Inventory:
    origins = dict.fromkeys(extra, "-e")
    hosts = (
        replace_fields(
            host,
            variables=overlay(extra, host.variables),
            variable_origins=overlay(origins, host.variable_origins),
        )
        for host in inventory.hosts
    )
    return replace_fields(inventory, hosts=tuple(hosts))


def build_plan(
    loaded: LoadedInventory,
    playbooks: Sequence[str],
    limit: str | None,
    options: ConnectionOptions,
    tags: Sequence[str] = (),
    skip_tags: Sequence[str] = (),
    *,
    connects: bool = True,
    tell: Report = _nobody,
) -> Plan:
    """Returns what is to be done: every host that `limit` selects (None: all), exactly once, in
    inventory order.

    `options` are the command line's; Ansible's settings and the vault are added here, and where
    somebody `connects` the passwords in the files that ansible.cfg names. `tell` gets notes about
    settings that are not followed; one that would change how a host is reached raises `InputError`.
    """
    inventory, settings, vault = loaded
    options = replace(options, settings=settings, vault=vault)
    if connects:
        options = replace(
            options,
            password=options.password or _in_file(settings, "connection_password_file"),
            become_password=options.become_password or _in_file(settings, "become_password_file"),
        )
    selected = _selected(inventory, limit)
    chosen = set(selected)
    targets = {
        host.name: resolve_target(host, options, inventory)
        for host in inventory.hosts
        if host.name in chosen
    }
    plan = make_plan(
        inventory,
        read_playbooks(playbooks),
        targets=targets,
        selected=selected,
        select=lambda pattern: select_hosts(inventory, pattern),
        tags=tags,
        skip_tags=skip_tags,
    )
    for note in check_connection_settings(
        inventory, {host.name: host.target for host in plan.hosts}, options
    ):
        tell(f"fleetaudit: note: {note}")
    return plan


def build_offline_plan(
    inventory: Inventory, playbooks: Sequence[Playbook], limit: str | None
) -> Plan:
    """Returns the plan of hosts where others run the probe.

    Connection variables are ignored: the target of each host that a play matches is a
    `LocalTarget`.
    """
    selected = _selected(inventory, limit)
    return make_plan(
        inventory,
        playbooks,
        targets=dict.fromkeys(selected, LocalTarget()),
        selected=selected,
        select=lambda pattern: select_hosts(inventory, pattern),
    )


def _selected(inventory: Inventory, limit: str | None) -> Sequence[str]:
    if limit is None:
        return tuple(host.name for host in inventory.hosts)
    return select_hosts(inventory, limit)


def describe_controller() -> str:
    """Returns this machine's Python and kernel, as run.json names the controller."""
    return f"Python {platform.python_version()} on {platform.system()} {platform.release()}"


def _in_file(settings: AnsibleSettings, name: str) -> Secret | None:
    """Returns the password in a file that ansible.cfg names."""
    path = getattr(settings, name)
    return read_password_file(path, f"{name} in {settings.origins[name]}:") if path else None


def scenario_rows(plan: Plan) -> tuple[ScenarioRow, ...]:
    """Returns the scenarios of a plan as run.json carries them, each once, in the order they were
    declared.
    """
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


def plan_text(plan: Plan) -> str:
    """Returns what would run where, a line a host: how it is reached, and how much it is asked."""
    from fleetaudit.analysis.doctor import describe_connection
    from fleetaudit.text.phrases import count_noun
    from fleetaudit.text.sanitize import terminal_line

    lines = list[str]()
    for host in plan.hosts:
        words: list[str]
        match host.target:
            case NotSelected():
                words = [host.target.reason]
            case NotAudited():
                words = [f"cannot be audited: {host.target.stage}", host.target.reason]
            case target:
                patterns = count_noun(len(host.sysctls_collect), "sysctl pattern")
                counts = f"{count_noun(len(host.scenarios), 'scenario')}, {count_noun(host.trials, 'trial')}"
                words = [describe_connection(target), f"{counts}, {patterns}"]
        lines.append("  ".join(map(terminal_line, (host.name, *words))) + "\n")
    return "".join(lines)
