"""Which options of the command line a host's variables overrule, as Ansible's precedence has it. No
I/O.

Rules: only different values count: a variable with the value of the option overrules nothing. Hosts
that cannot be reached at all are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fleetaudit.model import (
    Become,
    Inventory,
    SshTarget,
    Target,
)
from fleetaudit.text.files import expand_home

from .become import wants_become
from .target import (
    KEY,
    PASSWORD,
    TIMEOUT,
    USER,
    ConnectionOptions,
)
from .templates import Renderer
from .variables import Variables


@dataclass(slots=True)
class OverriddenOption:
    """An option, by its name among the options, the variable that wins, on how many hosts, and
    where it is written.
    """

    option: str
    variable: str
    hosts: int = 0
    origins: dict[str, None] = field(default_factory=dict)


class _Option(NamedTuple):
    """The value of the option (None if not given), the value of the host, and the variables that
    may have set it.
    """

    option: str
    said: object
    has: object
    variables: tuple[str, ...]


def find_overridden_options(
    inventory: Inventory, targets: Mapping[str, Target], options: ConnectionOptions
) -> list[OverriddenOption]:
    """Returns the options that variables overrule on the hosts in `targets` (how each is reached,
    by name).
    """
    found = dict[tuple[str, str], OverriddenOption]()
    for host in inventory.hosts:
        if host.name not in targets:
            continue
        variables = Variables(host, Renderer(host, options.vault, inventory))
        for option in _options(targets[host.name], options, variables):
            name = variables.last(option.variables)
            if option.said is None or option.said == option.has or host.variables.get(name) is None:
                continue
            one = found.setdefault((option.option, name), OverriddenOption(option.option, name))
            one.hosts += 1
            one.origins[variables.origin(name)] = None
    return list(found.values())


def _options(target: Target, options: ConnectionOptions, variables: Variables) -> Iterator[_Option]:
    if isinstance(target, SshTarget):
        key = str(expand_home(options.private_key)) if options.private_key else None
        yield _Option("user", options.user, target.user, USER)
        yield _Option("private_key", key, next(iter(target.private_keys), None), KEY)
        yield _Option("timeout", options.timeout_s, target.connect_timeout_s, TIMEOUT)
        yield _Option("password", options.password, target.password, PASSWORD)
        if str(variables.get("ansible_connection")).startswith(("openssh", "paramiko")):
            yield _Option("client", options.client, target.client, ("ansible_connection",))
    become = getattr(target, "become", None)
    if isinstance(become, Become):
        yield _Option("become_user", options.become_user, become.user, _of(become, "user"))
        yield _Option(
            "become_method", options.become_method, become.method, ("ansible_become_method",)
        )
        names = ("ansible_become_password", *_of(become, "pass"))
        yield _Option("become_password", options.become_password, become.password, names)
    elif not wants_become(variables, options):
        yield _Option("become", options.become or None, False, ("ansible_become",))


def _of(become: Become, what: str) -> tuple[str, str]:
    return f"ansible_become_{what}", f"ansible_{become.method}_{what}"
