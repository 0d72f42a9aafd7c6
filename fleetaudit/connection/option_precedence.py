"""Which options of the command line are overridden by variables of hosts, as in Ansible. No I/O.

Rules: only different values count: a variable with the value of the option overrides nothing. Hosts
that cannot be reached at all are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from fleetaudit.model import Become, Inventory, SshTarget, Target
from fleetaudit.text.files import expand_home

from .become import wants_become
from .options import ConnectionOptions
from .probe_choice import NAME as PROBE
from .ssh_target import KEY, PASSWORD, TIMEOUT, USER
from .templates import Renderer
from .variables import Variables


class OverriddenOption(msgspec.Struct):
    """An option, the variable that overrides it, on how many hosts, and where that is set.

    `option` is the name of a field of `ConnectionOptions`; `origins` is an ordered set.
    """

    option: str
    variable: str
    hosts: int = 0
    origins: dict[str, None] = msgspec.field(default_factory=dict)


class _Comparison(NamedTuple):
    """The value of an option (None if not given), and that of one host.

    `variables` are the ones that may have set it.
    """

    option: str
    option_value: object
    host_value: object
    variables: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the option is given and the host has another value."""
        return self.option_value is not None and self.option_value != self.host_value


def find_overridden_options(
    inventory: Inventory, targets: Mapping[str, Target], options: ConnectionOptions
) -> list[OverriddenOption]:
    """Returns the options that variables override on the hosts of `targets`.

    `targets` is how each host is reached, by name; a host that is not in it does not count. The
    result has one entry for each option and variable, in the order of the hosts. Ansible:
    "Controlling how Ansible behaves: precedence rules".
    """
    found = dict[tuple[str, str], OverriddenOption]()
    for host in inventory.hosts:
        if host.name not in targets:
            continue
        variables = Variables(host, Renderer(host, options.vault, inventory))
        for option, name in _overridden(targets[host.name], options, variables):
            overridden = found.setdefault((option, name), OverriddenOption(option, name))
            overridden.hosts += 1
            overridden.origins[variables.origin(name)] = None
    return list(found.values())


def _overridden(
    target: Target, options: ConnectionOptions, variables: Variables
) -> Iterator[tuple[str, str]]:
    """Yields each option that one host overrides, and the variable that does it."""
    for compared in _comparisons(target, options, variables):
        name = variables.last_set(compared.variables)
        if compared.differs and variables.host.variables.get(name) is not None:
            yield compared.option, name


def _comparisons(
    target: Target, options: ConnectionOptions, variables: Variables
) -> Iterator[_Comparison]:
    """Yields what the options and one host say about each part of the connection.

    A kernel under QEMU becomes no other user. -b overrides nothing if the host becomes another one.
    """
    yield _Comparison("probe", options.probe, target.probe, (PROBE,))
    if isinstance(target, SshTarget):
        yield from _ssh_comparisons(target, options, variables)
    become = getattr(target, "become", None)
    if isinstance(become, Become):
        yield from _become_comparisons(become, options)
    elif not wants_become(variables, options):
        yield _Comparison("become", options.become or None, False, ("ansible_become",))


def _ssh_comparisons(
    target: SshTarget, options: ConnectionOptions, variables: Variables
) -> Iterator[_Comparison]:
    """Yields what the options and one host say about SSH."""
    key = str(expand_home(options.private_key)) if options.private_key else None
    host_key = next(iter(target.private_keys), None)
    yield _Comparison("user", options.user, target.user, USER)
    yield _Comparison("private_key", key, host_key, KEY)
    yield _Comparison("timeout", options.timeout_s, target.connect_timeout_s, TIMEOUT)
    yield _Comparison("password", options.password, target.password, PASSWORD)
    if str(variables.get("ansible_connection")).startswith(("openssh", "paramiko")):
        yield _Comparison("client", options.client, target.client, ("ansible_connection",))


def _become_comparisons(become: Become, options: ConnectionOptions) -> Iterator[_Comparison]:
    """Yields what the options and one host say about becoming another user."""
    method = ("ansible_become_method",)
    passwords = ("ansible_become_password", *_spellings(become, "pass"))
    yield _Comparison("become_user", options.become_user, become.user, _spellings(become, "user"))
    yield _Comparison("become_method", options.become_method, become.method, method)
    yield _Comparison("become_password", options.become_password, become.password, passwords)


def _spellings(become: Become, suffix: str) -> tuple[str, str]:
    """Returns the common spelling of a variable and that of the method."""
    return f"ansible_become_{suffix}", f"ansible_{become.method}_{suffix}"
