"""The program that runs on a host, for review and for hosts that fleetaudit cannot reach."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from fleetaudit.connection.ansible_cfg import AnsibleSettings
from fleetaudit.connection.interpreter import NAME as INTERPRETER
from fleetaudit.connection.interpreter import resolve_interpreter
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.connection.probe_choice import NAME as PROBE
from fleetaudit.connection.probe_choice import resolve_probe
from fleetaudit.connection.templates import Renderer
from fleetaudit.connection.variables import CannotReachError, Variables
from fleetaudit.errors import NothingToDoError, UsageError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.vault import Vault
from fleetaudit.model import Host, HostPlan, LocalTarget, NoTarget, by_name
from fleetaudit.probe import protocol
from fleetaudit.probe.explanation import explain
from fleetaudit.probe.native_program import ARCHITECTURES, architecture_of, native_binary
from fleetaudit.probe.native_request import native_request

from .planning import LoadedInventory, build_offline_plan, read_inventory, read_playbooks
from .probe_image import image_archive
from .reporter import Report, ignore_message

COMMAND = protocol.COMMAND
"""The command line that starts the program on a host."""
DEADLINE_S = 60.0
"""The time limit of a program that somebody else starts, without what its plan needs beyond it."""
_NAME_INVENTORY = "name the inventory and the host:  fleetaudit probe -p PLAYBOOK INVENTORY -l HOST"


class ProgramRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts that will run the program: those of `limit`; this machine without `sources`.

    `compressed` asks for the program as fleetaudit sends it. With `no_exec` an inventory that is a
    program is not run.
    """

    sources: tuple[str, ...] = ()
    playbooks: tuple[str, ...] = ()
    limit: str | None = None
    vault_password_file: str | None = None
    compressed: bool = False
    explain: bool = False
    no_exec: bool = False


def probe_program(request: ProgramRequest, report: Report = ignore_message) -> str:
    """Returns the program with the request of the selected hosts, or its explanation.

    It is Python source for the stdin of `COMMAND`. Raises `NothingToDoError` if no play matches a
    host, `UsageError` if the hosts need different programs, and `InputError` for what makes no
    sense in an inventory or a playbook. The explanation is of what `run` does, so it has the Python
    that the inventory names; whoever starts the program chooses a Python. `report` gets the notes
    about the inventory.
    """
    loaded = _read_inventory(request, report)
    hosts = _hosts_of_one_program(request, loaded)
    if request.explain:
        plan = _as_it_is_run(hosts, loaded)
        return explain(plan, deadline_s=_deadline_s(plan))
    if request.compressed:
        sent = protocol.make_request(hosts[0], deadline_s=_deadline_s(hosts[0]))
        return sent.decode("utf-8", "replace")
    return protocol.make_program(hosts[0], deadline_s=_deadline_s(hosts[0]))


def _deadline_s(plan: HostPlan) -> float:
    """Returns the time limit of a program that somebody else starts, in seconds."""
    return DEADLINE_S + plan.extra_s


def native_probe(
    request: ProgramRequest, machines: Sequence[str], report: Report = ignore_message
) -> bytes:
    """Returns the native probe with the request of the selected hosts: one executable file.

    `machines` has one of `ARCHITECTURES`, or of what `uname -m` prints. Raises `UsageError` for any
    other or several, `MissingProgramError` if the probe is not built, and what `probe_program`
    raises.
    """
    if len(machines) != 1:
        raise UsageError("--native takes several architectures only with --image")
    (program,) = _native_programs(request, machines, report).values()
    return program


def native_image(
    request: ProgramRequest, machines: Sequence[str], report: Report = ignore_message
) -> bytes:
    """Returns a container image of the native probe for these machines, as an archive.

    Raises what `native_probe` raises.
    """
    return image_archive(_native_programs(request, machines, report))


def _native_programs(
    request: ProgramRequest, machines: Sequence[str], report: Report
) -> dict[str, bytes]:
    """Returns the native probe with its request, by architecture."""
    binaries = dict[str, bytes]()
    for machine in machines:
        architecture = _architecture(machine)
        binaries[architecture] = native_binary(architecture)
    hosts = _hosts_of_one_program(request, _read_inventory(request, report))
    lines = bytes(native_request(hosts[0], deadline_s=_deadline_s(hosts[0])))
    return {architecture: binary + lines for architecture, binary in binaries.items()}


def _architecture(machine: str) -> str:
    """Returns the architecture that the user names; raises `UsageError`."""
    architecture = machine if machine in ARCHITECTURES else architecture_of(machine)
    if architecture is None:
        raise UsageError(
            f"there is no native probe for {machine!r}; --native takes one of"
            f" {', '.join(ARCHITECTURES)}, or what uname -m prints on the host"
        )
    return architecture


def _hosts_of_one_program(request: ProgramRequest, loaded: LoadedInventory) -> list[HostPlan]:
    """Returns the plans of the selected hosts, which one program fits; raises what `probe_program`
    raises.
    """
    playbooks = read_playbooks(request.playbooks)
    try:
        plan = build_offline_plan(loaded.inventory, playbooks, request.limit)
    except NothingToDoError as e:
        if request.sources:
            raise
        raise NothingToDoError(f"{e}\n  {_NAME_INVENTORY}") from e
    hosts = [host for host in plan.hosts if not isinstance(host.target, NoTarget)]
    _refuse_different_programs(hosts)
    return hosts


def _read_inventory(request: ProgramRequest, report: Report) -> LoadedInventory:
    """Returns the inventory of the request, or the one of this machine."""
    if not request.sources:
        return LoadedInventory(load_inventory(("localhost,",)), AnsibleSettings(), Vault())
    return read_inventory(
        request.sources, request.vault_password_file, no_exec=request.no_exec, report=report
    )


def _as_it_is_run(plans: Sequence[HostPlan], loaded: LoadedInventory) -> HostPlan:
    """Returns the plan of the hosts with the probe, and the Python, that `run` starts on each.

    Raises `UsageError` if they are not the same for all: one explanation is true of one way.
    """
    hosts = by_name(loaded.hosts)
    first, *others = (_local_target(hosts[plan.name], loaded) for plan in plans)
    for plan, other in zip(plans[1:], others, strict=True):
        names = f"{plans[0].name} and {plan.name}"
        if _python_of(other) != _python_of(first):
            raise UsageError(
                f"{names} try different Pythons first ({INTERPRETER}): select hosts with -l"
            )
        if other.probe != first.probe:
            raise UsageError(f"{names} run different probes ({PROBE}): select hosts with -l")
    return replace(plans[0], target=first)


def _python_of(target: LocalTarget) -> str:
    """Returns the Python that is tried first, "" without one."""
    return target.interpreter.value if target.interpreter else ""


def _local_target(host: Host, loaded: LoadedInventory) -> LocalTarget:
    """Returns a host as if it was this machine; raises `UsageError` for a probe that is unknown."""
    variables = Variables(host, Renderer(host, loaded.vault, loaded.inventory))
    found = resolve_interpreter(variables, loaded.settings)
    named = found if found and found.value and found.origin else None
    try:
        probe = resolve_probe(variables, ConnectionOptions())
    except CannotReachError as e:
        raise UsageError(e.reason) from e
    return LocalTarget(interpreter=named, probe=probe)


def _refuse_different_programs(hosts: Sequence[HostPlan]) -> None:
    """Raises `UsageError` if the hosts need different programs."""
    first, *others = hosts
    digest = protocol.request_digest(first)
    for host in others:
        if protocol.request_digest(host) != digest:
            raise UsageError(
                f"{first.name} and {host.name} need different programs (other scenarios or"
                " sysctls): select hosts with -l"
            )


def sudoers_line(user: str, command: str = COMMAND) -> str:
    """Returns the line of sudoers(5) that lets `user` run exactly this command as root, without a
    password.

    `user` may also be %GROUP, #UID or +NETGROUP; `command` is one command without redirections.
    Raises `UsageError` if `user` cannot be the name of a user, also for ALL, which means everybody.
    """
    if not re.fullmatch(r"[%+#]?[A-Za-z0-9_.@\\-]+\$?", user) or user == "ALL":
        raise UsageError(f"--sudoers takes the name of a user, as the host has it, not {user!r}")
    program, *arguments = shlex.split(command)
    # sudo matches the arguments, joined by blanks, as one pattern of fnmatch(3).
    pattern = re.sub(r"([\\,:=*?#\[\]])", r"\\\1", " ".join(arguments))
    name = re.sub(r"([\\@])", r"\\\1", user)
    return f"{name} ALL=(root) NOPASSWD: {program} {pattern}"
