"""The Python that runs the probe on a host: Ansible's ansible_python_interpreter. No I/O.

Rules: as in Ansible the value is one path (older versions take it as words for a shell,
"/usr/bin/env python3"; the host tries both), `auto` and its variants mean to search, and an
implicit localhost takes the Python that runs here. A value that cannot be used costs no host: the
probe runs with any Python, so it is a note, and the search goes on.
"""

from __future__ import annotations

import sys

from fleetaudit.errors import InputError
from fleetaudit.inventory.host_list import HOST_LIST_ORIGIN
from fleetaudit.model import Interpreter

from .ansible_cfg import AnsibleSettings
from .variables import CannotReachError, Variables, first_set_or

NAME = "ansible_python_interpreter"
_SETTING = "interpreter_python"
_SEARCH = frozenset({"", "auto", "auto_silent", "auto_legacy", "auto_legacy_silent"})


def resolve_interpreter(variables: Variables, settings: AnsibleSettings) -> Interpreter | None:
    """Returns the Python to try first on a host; None means to search.

    The variable counts first, then the Python that runs here for an implicit localhost, then
    `interpreter_python` of ansible.cfg. Raises nothing: a value that cannot be used is in the
    `problem` of the interpreter. Ansible: "Interpreter discovery".
    """
    origin = variables.origin(NAME)
    try:
        value = variables.text(NAME)
    except CannotReachError as e:
        return Interpreter(origin=origin, problem=e.reason)
    except InputError as e:
        return Interpreter(origin=origin, problem=f"{origin}: {e.message}")
    if value:
        return _interpreter(value, NAME, origin)
    if _is_implicit_localhost(variables) and sys.executable:
        return Interpreter(value=sys.executable)
    origin = settings.origins.get(_SETTING, "ansible.cfg")
    return _interpreter(first_set_or("", settings.interpreter_python), _SETTING, origin)


def _is_implicit_localhost(variables: Variables) -> bool:
    """Returns whether the host is a bare `localhost` that no file names.

    The builder of the inventory gives it its connection, so that the origin is a host list.
    """
    return variables.host.variable_origins.get("ansible_connection") == str(HOST_LIST_ORIGIN)


def _interpreter(value: str, name: str, origin: str) -> Interpreter | None:
    """Returns the Python that a setting names, None if the setting means to search."""
    path = value.strip()
    if path in _SEARCH:
        return None
    return Interpreter(value=path, name=name, origin=origin)
