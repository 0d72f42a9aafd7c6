"""Ansible's host patterns, for --limit and `hosts:`: which hosts of an inventory they select.

Rules: the order is Ansible's: every plain part first, then the “&” parts, then the “!” parts.
Unlike in Ansible, a pattern or a part that matches nothing is an error: a misspelt exclusion would
exclude nobody. A name of a host and of a group is the host, but after “&” and “!” the group. Only
`@file` reads.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Inventory
from fleetaudit.text.yaml_lines import decode_utf8, read_bounded

from .host_names import is_address

_WORD = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]")
_NEAR_MISSES_AMONG = 5_000


def select_hosts(inventory: Inventory, pattern: str) -> tuple[str, ...]:
    """Returns the names of the hosts that `pattern` selects, in inventory order and never none.

    Raises `NothingToDoError` where the pattern is empty, selects nobody or has a part that matches
    nothing (naming near misses), and `InputError` for an expression that is none.
    """
    parts = [part for word in _split(pattern) for part in _read(word)]
    if not parts:
        raise NothingToDoError(f"the pattern “{pattern}” is empty; to select every host say “all”")
    plain = [part for part in parts if part[0] not in "&!"]
    matcher = _Matcher(inventory)
    selected = set[str]()
    for part in plain or ["all"]:
        selected.update(matcher.match(part))
    for part in parts:
        if part[0] == "&":
            selected.intersection_update(matcher.match(part))
    for part in parts:
        if part[0] == "!":
            selected.difference_update(matcher.match(part))
    if not selected:
        raise NothingToDoError(f"no host matches all of the pattern “{pattern}”")
    return tuple(host.name for host in inventory.hosts if host.name in selected)


def _split(pattern: str) -> list[str]:
    if "," in pattern:
        words = pattern.split(",")
    elif is_address(pattern):
        words = [pattern]
    else:
        words = _WORD.findall(pattern)
        if "[" in "".join(_WORD.split(pattern)) or "]" in "".join(_WORD.split(pattern)):
            raise _invalid(pattern, "a bracket has no partner")
    return [word.strip() for word in words if word.strip()]


def _read(word: str) -> list[str]:
    """Returns the word itself, or the lines of the file that `@file` names."""
    if word[0] != "@":
        return [word]
    file = Path(word[1:])
    try:
        lines = [
            line.strip() for line in decode_utf8(read_bounded(file), source=str(file)).splitlines()
        ]
    except FileNotFoundError as e:
        raise NothingToDoError(f"{file}: there is no such file of patterns (“{word}”)") from e
    except (OSError, ValueError) as e:
        raise InputError(f"cannot be read as a list of patterns: {e}", source=str(file)) from e
    if not any(lines):
        raise NothingToDoError(f"{file}: an empty list of patterns selects nobody")
    return [line for line in lines if line]


class _Matcher:
    def __init__(self, inventory: Inventory) -> None:
        self._groups = inventory.groups
        self._names = {host.name: None for host in inventory.hosts}

    def match(self, part: str) -> Sequence[str]:
        """Returns the hosts that one part matches."""
        expression = part[1:] if part[0] in "&!" else part
        if expression in self._names and (expression == part or expression not in self._groups):
            return (
                expression,
            )  # of a host and a group of one name the host; after “&” and “!” the group
        if not expression:
            raise _invalid(part, f"nothing follows “{part}”")
        subscript = None if expression[0] == "~" else _SUBSCRIPT.fullmatch(expression)
        hosts, known = self._enumerate(subscript[1] if subscript else expression)
        if subscript:
            hosts = _slice(hosts, subscript)
        # An exclusion may name a group that is empty today; it is no misspelling.
        if not hosts and not (known and part[0] == "!" and not subscript):
            raise self._nothing(part, subscript[1] if subscript else expression, known)
        return hosts

    def _enumerate(self, expression: str) -> tuple[Sequence[str], bool]:
        """Returns the hosts of every group that matches and, where hosts are looked at, those that
        match; and whether anything of that name is there. A host comes as often as it matched, as
        Ansible's subscripts count.
        """
        groups = self._matching(expression, self._groups)
        hosts = [host for group in groups for host in self._groups[group]]
        if not groups or expression[0] == "~" or any(c in expression for c in ".?*["):
            hosts += self._matching(expression, self._names)
        return hosts, bool(groups or hosts)

    def _matching(
        self, expression: str, names: dict[str, tuple[str, ...]] | dict[str, None]
    ) -> list[str]:
        if expression[0] == "~":
            try:
                match = re.compile(expression[1:]).match
            except re.error as e:
                raise _invalid(expression, f"no regular expression: {e}") from e
        elif not any(c in expression for c in "?*["):
            return [expression] if expression in names else []
        else:
            match = re.compile(fnmatch.translate(expression)).match
        return [name for name in names if match(name)]

    def _nothing(self, part: str, expression: str, known: bool) -> NothingToDoError:
        if known:
            return NothingToDoError(f"“{part}” matches no host: “{expression}” has too few")
        near = _near(expression, [*self._groups, *self._names])
        hint = f"; did you mean {' or '.join(f'“{name}”' for name in near)}?" if near else ""
        if not near and expression == "localhost":
            hint = "; this machine is the inventory “localhost,”, with a comma"
        elif not near and re.fullmatch(r"[0-9a-fA-F]{1,4}", expression):
            hint = "; where IPv6 addresses are among the parts, separate them by commas"
        return NothingToDoError(f"“{part}” matches no host and no group{hint}")


def _slice(hosts: Sequence[str], subscript: re.Match[str]) -> Sequence[str]:
    _, single, start, end = subscript.groups()
    if single is not None:
        index = int(single)
        return (hosts[index],) if -len(hosts) <= index < len(hosts) else ()
    if end and int(end) == 0:  # Ansible takes [x:0] for [x]
        return hosts[int(start) : int(start) + 1]
    return hosts[int(start) : int(end) + 1 if end else None]


def _near(word: str, names: Iterable[str]) -> list[str]:
    alike = [name for name in names if abs(len(name) - len(word)) <= 2]
    return difflib.get_close_matches(word, alike[:_NEAR_MISSES_AMONG], 3)


def _invalid(pattern: str, reason: str) -> InputError:
    return InputError(f"“{pattern}” is no host pattern: {reason}", source="pattern")
