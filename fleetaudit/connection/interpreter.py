"""Which Python runs the probe on a host: Ansible's ansible_python_interpreter. No I/O.

Rules: as in Ansible the value is one path (older versions take it as words for a shell,
"/usr/bin/env python3"; the host tries both), `auto` and its kin mean to search, and an implicit
localhost takes the Python that runs here. A value that cannot be used costs no host: the probe runs
with any Python, so it is a note, and the search goes on.
"""

from __future__ import annotations

import sys

from fleetaudit.errors import InputError
from fleetaudit.inventory.host_list import HOST_LIST_ORIGIN
from fleetaudit.model import Interpreter

from .ansible_cfg import AnsibleSettings
from .variables import CannotReachError, Variables

NAME = "ansible_python_interpreter"
_SEARCH = {"auto", "auto_silent", "auto_legacy", "auto_legacy_silent"}


def resolve_interpreter(variables: Variables, settings: AnsibleSettings) -> Interpreter | None:
    """Returns the Python to try first on a host, None if none is set or if the value means to
    search.
    """
    try:
        value = variables.text((NAME,))
    except (CannotReachError, InputError) as e:
        problem = (
            e.reason
            if isinstance(e, CannotReachError)
            else f"{variables.origin(NAME)}: {e.message}"
        )
        return Interpreter(origin=variables.origin(NAME), problem=problem)
    if value:
        return _named(value, NAME, variables.origin(NAME))
    if (
        variables.host.variable_origins.get("ansible_connection") == str(HOST_LIST_ORIGIN)
        and sys.executable
    ):
        return Interpreter(value=sys.executable)
    if settings.interpreter_python:
        name = "interpreter_python"
        return _named(settings.interpreter_python, name, settings.origins.get(name, "ansible.cfg"))
    return None


def _named(value: str, name: str, origin: str) -> Interpreter | None:
    value = value.strip()
    return (
        None
        if value in _SEARCH or not value
        else Interpreter(value=value, name=name, origin=origin)
    )
