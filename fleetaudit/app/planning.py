"""Makes the plan of an audit: reads inventories and playbooks, selects hosts, resolves targets."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from fleetaudit import __version__
from fleetaudit.connection.ansible_cfg import AnsibleSettings, load_ansible_settings
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.connection.settings_check import check_connection_settings
from fleetaudit.connection.target import resolve_target
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.layered_mapping import overlay
from fleetaudit.inventory.patterns import select_hosts
from fleetaudit.inventory.vault import Vault, load_vault
from fleetaudit.model import (
    Host,
    HostPlan,
    Inventory,
    LocalTarget,
    NotAudited,
    NotSelected,
    OtherCommand,
    Plan,
    Playbook,
    RunInfo,
    Scenario,
    ScenarioRow,
    Secret,
    Target,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.plan import make_plan, without_services
from fleetaudit.store.jobs import job_name
from fleetaudit.text.files import expand_home

from . import clock
from .passwords import read_password_file
from .reporter import Report, ignore_message

if TYPE_CHECKING:
    from fleetaudit.engine.batches import BatchSize


class LoadedInventory(msgspec.Struct, frozen=True):
    """The hosts of some inventories, Ansible's own settings, and the vault that decrypts both."""

    inventory: Inventory
    settings: AnsibleSettings
    vault: Vault

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Returns the hosts in the order of the inventory."""
        return self.inventory.hosts


def read_playbooks(paths: Sequence[str]) -> tuple[Playbook, ...]:
    """Returns the playbooks of `paths`; the default playbook if there are none.

    Raises `NothingToDoError` for a missing playbook, `InputError` for what makes no sense in one.
    """
    if not paths:
        return (load_playbook(None),)
    return tuple(load_playbook(expand_home(path)) for path in paths)


def read_inventory(
    sources: Sequence[str],
    vault_password_file: str | None,
    extra_vars: Mapping[str, str] | None = None,
    *,
    no_exec: bool = False,
    report: Report = ignore_message,
) -> LoadedInventory:
    """Reads inventories, Ansible's own settings and the vault password.

    `extra_vars` are variables of every host that take precedence over its own. `report` gets the
    notes: what Ansible would read or follow and fleetaudit does not. Without `vault_password_file`
    the one of ansible.cfg applies. With `no_exec` an inventory that is a program is not run.

    Raises `NothingToDoError` for a missing file, `InputError` with file and line for what is wrong
    or not supported, and `ConfigError` for an ANSIBLE_CONFIG or a vault password that cannot be
    used.
    """
    settings = load_ansible_settings(sources)
    vault = load_vault(vault_password_file or settings.vault_password_file)
    inventory = load_inventory(
        sources, vault=vault, unsupported=settings.unsupported, no_exec=no_exec
    )
    for note in (*settings.notes, *inventory.notes):
        report(f"fleetaudit: note: {note}")
    if extra_vars:
        inventory = _with_extra_vars(inventory, extra_vars)
    return LoadedInventory(inventory, settings, vault)


def _with_extra_vars(inventory: Inventory, extra_vars: Mapping[str, str]) -> Inventory:
    """Returns the inventory with variables that take precedence on every host."""
    origins = dict.fromkeys(extra_vars, "-e")
    hosts = (
        replace(
            host,
            variables=overlay(extra_vars, host.variables),
            variable_origins=overlay(origins, host.variable_origins),
        )
        for host in inventory.hosts
    )
    return replace(inventory, hosts=tuple(hosts))


def has_services(playbooks: Sequence[Playbook]) -> bool:
    """Returns whether a play of the playbooks has services."""
    return any(play.services for book in playbooks for play in book.plays)


class HostSelection(msgspec.Struct, frozen=True, kw_only=True):
    """The options that select hosts and what is done there: `limit` (None: every host), tags, and
    whether services are asked.
    """

    limit: str | None = None
    tags: Sequence[str] = ()
    skip_tags: Sequence[str] = ()
    asks_services: bool = False


def build_plan(
    loaded: LoadedInventory,
    playbooks: Sequence[Playbook],
    selection: HostSelection,
    options: ConnectionOptions,
    *,
    connects: bool = True,
    report: Report = ignore_message,
) -> Plan:
    """Returns the plan: every host that `selection` selects exactly once, in inventory order.

    `options` are those of the command line; Ansible's settings and the vault are added here, and if
    somebody `connects` the passwords in the files that ansible.cfg names. `report` gets notes about
    settings that are not followed; one that would change how a host is reached raises `InputError`.
    So do plays that contradict each other. Raises `NothingToDoError` if the selection has no host
    or no scenario, or no play matches a host. A host with variables that make no sense is in the
    plan as one that cannot be audited.
    """
    inventory = loaded.inventory
    options = replace(options, settings=loaded.settings, vault=loaded.vault)
    if connects:
        options = _with_configured_passwords(options, report)
    names = _selected_names(inventory, selection.limit)
    selected = frozenset(names)
    targets = {
        host.name: resolve_target(host, options, inventory)
        for host in inventory.hosts
        if host.name in selected
    }
    plan = _make_plan(inventory, playbooks, targets, names, selection)
    planned = {host.name: host.target for host in plan.hosts}
    for note in check_connection_settings(inventory, planned, options):
        report(f"fleetaudit: note: {note}")
    return plan


def build_offline_plan(
    inventory: Inventory, playbooks: Sequence[Playbook], limit: str | None
) -> Plan:
    """Returns the plan of hosts on which somebody else runs the probe.

    Connection variables are ignored: the target of each host that a play matches is a
    `LocalTarget`. `limit` is a pattern of Ansible, None for every host. Raises as `build_plan`.
    """
    names = _selected_names(inventory, limit)
    targets = dict.fromkeys(names, LocalTarget())
    return _make_plan(inventory, playbooks, targets, names, HostSelection(limit=limit))


def _make_plan(
    inventory: Inventory,
    playbooks: Sequence[Playbook],
    targets: Mapping[str, Target | NotAudited],
    names: Sequence[str],
    selection: HostSelection,
) -> Plan:
    """Returns the plan of the named hosts; it has services only if the selection asks them."""
    if not selection.asks_services:
        playbooks = without_services(playbooks)
    return make_plan(
        inventory,
        playbooks,
        targets=targets,
        selected=names,
        select=lambda pattern: select_hosts(inventory, pattern),
        tags=selection.tags,
        skip_tags=selection.skip_tags,
    )


def _selected_names(inventory: Inventory, limit: str | None) -> Sequence[str]:
    """Returns the names of the hosts that `limit` selects, in the order of the inventory."""
    if limit is None:
        return tuple(host.name for host in inventory.hosts)
    return select_hosts(inventory, limit)


def _with_configured_passwords(options: ConnectionOptions, report: Report) -> ConnectionOptions:
    """Returns the options with the passwords of ansible.cfg where the options have none."""
    settings = options.settings
    if not options.password:
        password = _configured_password(settings, "connection_password_file", report)
        options = replace(options, password=password)
    if not options.become_password:
        password = _configured_password(settings, "become_password_file", report)
        options = replace(options, become_password=password)
    return options


def _configured_password(settings: AnsibleSettings, name: str, report: Report) -> Secret | None:
    """Returns the password in a file that ansible.cfg names, None if it names none."""
    path = getattr(settings, name)
    if not path:
        return None
    return read_password_file(path, f"{name} in {settings.origins[name]}:", report)


def make_run_info(
    plan: Plan,
    sources: Sequence[str],
    selection: HostSelection,
    *,
    id_: str = "",
    started: str = "",
    shard: str | None = None,
    command: OtherCommand | UnsetType = UNSET,
) -> RunInfo:
    """Returns the description of a run as of now; it began at `started`, or now if that is "".

    `sources` are its inventories as they were typed, and `shard` is the text of --shard. `id_` is
    the name of the run folder, "" without one. `command` is the command that makes the run, unset
    for `run`. The name of the job follows from the rest.
    """
    now = clock.format_rfc3339(clock.current_time())
    info = RunInfo(
        id=id_,
        started=started or now,
        finished=now,
        fleetaudit=__version__,
        playbooks=plan.playbooks,
        controller=_describe_controller(),
        inventory=tuple(sources),
        limit=selection.limit,
        shard=shard,
        tags=tuple(selection.tags),
        skip_tags=tuple(selection.skip_tags),
        command=command,
    )
    return replace(info, job=job_name(info))


def _describe_controller() -> str:
    """Returns this machine's Python and kernel, as run.json names the controller."""
    return f"Python {platform.python_version()} on {platform.system()} {platform.release()}"


def scenario_rows(plan: Plan) -> tuple[ScenarioRow, ...]:
    """Returns the scenarios of a plan as run.json has them, each once, as they are declared."""
    scenarios = dict[str, Scenario]()
    # Hosts that run the same scenarios share one tuple of them.
    distinct = {id(host.scenarios): host.scenarios for host in plan.hosts}
    for scenario in itertools.chain.from_iterable(distinct.values()):
        scenarios.setdefault(scenario.name, scenario)
    return tuple(map(_scenario_row, scenarios.values()))


def _scenario_row(scenario: Scenario) -> ScenarioRow:
    """Returns a scenario as run.json has it."""
    return ScenarioRow(
        name=scenario.name,
        title=scenario.title,
        steps=tuple(step.text for step in scenario.steps),
        expect=scenario.expect,
        severity=scenario.severity,
        control=scenario.control,
        because=scenario.because,
    )


def render_plan(plan: Plan, serial: Sequence[BatchSize] = ()) -> str:
    """Returns what would run where, one line per host: its connection and what it would run.

    A host that cannot be audited has the stage and the reason instead. With `serial`, the sizes of
    batches, each line ends with the batch of the host. The text is sanitized for a terminal.
    """
    from fleetaudit.text.sanitize import terminal_line

    batches = _batch_words(plan, serial) if serial else {}
    words = (_plan_words(host) + batches.get(host.name, ()) for host in plan.hosts)
    return "".join(f"{'  '.join(map(terminal_line, columns))}\n" for columns in words)


def _batch_words(plan: Plan, serial: Sequence[BatchSize]) -> dict[str, tuple[str]]:
    """Returns the batch of each host by its name, such as ("batch 1 of 3",)."""
    from fleetaudit.engine.batches import split

    selected = [host.name for host in plan.hosts if not isinstance(host.target, NotSelected)]
    batches = split(range(len(selected)), serial)
    return {
        selected[index]: (f"batch {number} of {len(batches)}",)
        for number, batch in enumerate(batches, 1)
        for index in batch
    }


def _plan_words(host: HostPlan) -> tuple[str, ...]:
    """Returns the columns of one host in the text of a plan."""
    from fleetaudit.analysis.doctor import describe_connection
    from fleetaudit.text.phrases import count_noun

    target = host.target
    if isinstance(target, NotSelected):
        return host.name, target.reason
    if isinstance(target, NotAudited):
        return host.name, f"cannot be audited: {target.stage}", target.reason
    scenarios = count_noun(len(host.scenarios), "scenario")
    trials, patterns = (
        count_noun(host.trials, "trial"),
        count_noun(len(host.sysctls_collect), "sysctl pattern"),
    )
    watch = [f"watched for {host.watch.seconds:g} s"] if host.watch else []
    services = [count_noun(len(host.services), "service")] if host.services else []
    work = ", ".join([scenarios, trials, patterns, *watch, *services])
    return host.name, describe_connection(target), work
