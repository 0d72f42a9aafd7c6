"""Which Python runs the probe on a host: Ansible's ansible_python_interpreter. No I/O.

Rules: as in Ansible the value is words for a shell ("/usr/bin/env python3"), `auto` and its kin mean to search, and an
implicit localhost takes the Python that runs here. A value that cannot be used costs no host: the probe needs no more
than any Python, so it is a note, and the search goes on.
"""

from __future__ import annotations

import shlex
import sys

from ..errors import InputError
from ..model import Interpreter
from .host_list import ORIGIN
from .settings import Settings
from .variables import CannotReach, Variables

NAME = "ansible_python_interpreter"
_SEARCH = {"auto", "auto_silent", "auto_legacy", "auto_legacy_silent"}


def interpreter_of(variables: Variables, settings: Settings) -> Interpreter | None:
    """Returns the Python to try first on a host, None where nobody names one or where a search is asked for."""
    try:
        value = variables.text((NAME,))
    except (CannotReach, InputError) as e:
        problem = e.reason if isinstance(e, CannotReach) else f"{variables.origin(NAME)}: {e.message}"
        return Interpreter(origin=variables.origin(NAME), problem=problem)
    if value:
        return _parsed(value, NAME, variables.origin(NAME))
    if variables.host.variable_origins.get("ansible_connection") == str(ORIGIN) and sys.executable:
        return Interpreter(words=(sys.executable,))
    if settings.interpreter_python:
        name = "interpreter_python"
        return _parsed(settings.interpreter_python, name, settings.origins.get(name, "ansible.cfg"))
    return None


def _parsed(value: str, name: str, origin: str) -> Interpreter | None:
    if value.strip() in _SEARCH | {""}:
        return None
    try:
        words = tuple(shlex.split(value))
    except ValueError:
        return Interpreter(name=name, origin=origin, problem=f"{name} in {origin} has a quotation that does not end")
    if not all(words):
        return Interpreter(name=name, origin=origin, problem=f"{name} in {origin} has an empty word")
    return Interpreter(words=words, name=name, origin=origin)
