"""Ansible's host patterns, for --limit and `hosts:`: which hosts of an inventory they select.

Rules: the order is Ansible's: every plain part first, then the “&” parts, then the “!” parts.
Unlike in Ansible, a pattern or a part that matches nothing is an error: a misspelt exclusion would
exclude nobody. A name of both a host and a group is the host, but after “&” and “!” the group. Only
`@file` reads a file.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Inventory
from fleetaudit.text.regular_expressions import InvalidExpressionError, MatchBudget, TimeUsedUpError
from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_lines import decode_utf8, read_bounded

from .host_names import is_address
from .suggestions import did_you_mean

_MAX_SHOWN = 300
_WORD = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_BRACKET = re.compile(r"[\[\]]")
_PART = re.compile(r"(?P<operator>[&!]|(?![&!]))(?P<expression>.+)", re.DOTALL)
_SUBSCRIPT = re.compile(
    r"(?P<name>[^~].*)\[(?:(?P<index>-?[0-9]+)|(?P<first>[0-9]+)[:-](?P<last>[0-9]*))\]", re.DOTALL
)
_WILDCARD = re.compile(r"[?*\[]")
# An expression that matches hosts even if it matches a group.
_ALSO_HOSTS = re.compile(r"^~|[.?*\[]")
_IPV6_GROUP = re.compile(r"[0-9a-fA-F]{1,4}")
_COMBINE: dict[str, Callable[[set[str], Iterable[str]], None]] = {
    "": set.update,
    "&": set.intersection_update,
    "!": set.difference_update,
}
"""What a part of each operator does to the selected hosts, in the order in which they apply."""
_ORDER = tuple(_COMBINE)
MATCHING_S = 3.0
"""Maximum seconds of CPU that all patterns for one inventory may take to match, together.

A hundred regular expressions on ten thousand names take less than one.
"""


class _Part(NamedTuple):
    """One part of a pattern: its operator (“&”, “!” or ""), its expression, its subscript if any.

    `name` is the expression without the subscript.
    """

    text: str
    operator: str
    expression: str
    name: str
    subscript: re.Match[str] | None

    @property
    def order(self) -> int:
        """The position of the operator among those that apply one after the other."""
        return _ORDER.index(self.operator)

    @property
    def is_plain_exclusion(self) -> bool:
        """Whether the part excludes every host of a name: it has “!” and no subscript."""
        return self.operator == "!" and self.subscript is None


def select_hosts(inventory: Inventory, pattern: str) -> tuple[str, ...]:
    """Returns the names of the hosts that `pattern` selects, in inventory order, at least one.

    `pattern` is what --limit and `hosts:` take: parts between commas or colons, each the name of a
    host or group, a wildcard (`web*`), a regular expression (`~web[0-9]`), with a subscript
    (`web[0:2]`), after “&” (only those) or “!” (without those), or `@FILE`, a file with one part a
    line. Without a plain part every host is selected first. Raises `NothingToDoError` if the
    pattern is empty, selects no host, or has a part that matches nothing (with similar names), and
    `InputError` for an expression that is invalid or takes too long. Ansible: "Patterns: targeting
    hosts and groups", and inventory/manager.py.
    """
    parts = _parse(pattern)
    if not parts:
        raise NothingToDoError(
            f"the pattern “{pattern}” is empty; to select every host write “all”"
        )
    if all(part.operator for part in parts):
        parts.append(_parse_part("all"))
    matcher = _matcher_of(inventory)
    selected = set[str]()
    for part in sorted(parts, key=attrgetter("order")):
        _COMBINE[part.operator](selected, matcher.match(part))
    if not selected:
        raise NothingToDoError(f"no host matches all of the pattern “{_shown(pattern)}”")
    return tuple(host.name for host in inventory.hosts if host.name in selected)


def _parse(pattern: str) -> list[_Part]:
    """Returns the parts of a pattern, in the order in which they are written."""
    parts = list[_Part]()
    for word in _split(pattern):
        parts += map(_parse_part, _expand_file(word))
    return parts


def _parse_part(text: str) -> _Part:
    """Returns one part of a pattern.

    A part is an operator (“&”, “!” or none), a name, wildcard or “~” and a regular expression, and
    a subscript such as [0] or [1:3]; a regular expression has none. Raises `InputError` for an
    operator alone.
    """
    part = _PART.fullmatch(text)
    if not part:
        raise _invalid(text, f"nothing follows “{text}”")
    operator, expression = part.groups()
    subscript = _SUBSCRIPT.fullmatch(expression)
    if subscript is None:
        return _Part(text, operator, expression, expression, None)
    return _Part(text, operator, expression, subscript["name"], subscript)


def _split(pattern: str) -> Iterator[str]:
    """Yields the words of a pattern, without blanks around them.

    They are between commas, or between colons if it has no comma; the colons in an address and in
    brackets separate nothing. Raises `InputError` for a bracket without a partner.
    """
    if "," in pattern:
        return filter(None, map(str.strip, pattern.split(",")))
    if is_address(pattern):
        return iter([pattern])
    return _split_at_colons(pattern)


def _split_at_colons(pattern: str) -> Iterator[str]:
    """Yields what is between the colons and blanks of a pattern, outside of brackets.

    Raises `InputError` for a bracket without a partner.
    """
    if _BRACKET.search("".join(_WORD.split(pattern))):
        raise _invalid(pattern, "a bracket has no partner")
    return iter(_WORD.findall(pattern))


def _expand_file(word: str) -> list[str]:
    """Returns the word itself, or the lines of the file that `@file` names.

    Blank lines do not count. Raises `NothingToDoError` if the file is missing or empty: an empty
    limit would select every host in Ansible.
    """
    if word[0] != "@":
        return [word]
    file = Path(word[1:])
    try:
        text = decode_utf8(read_bounded(file), source=str(file))
    except FileNotFoundError as e:
        raise NothingToDoError(f"{file}: there is no such file of patterns (“{word}”)") from e
    except (OSError, ValueError) as e:
        raise InputError(f"cannot be read as a list of patterns: {e}", source=str(file)) from e
    lines = list(filter(None, map(str.strip, text.splitlines())))
    if not lines:
        raise NothingToDoError(f"{file}: an empty list of patterns selects nobody")
    return lines


class _Matcher:
    """Matches parts of patterns with the groups and hosts of an inventory.

    All patterns for one inventory share the time that they may take.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._groups = inventory.groups
        self._names = {host.name: None for host in inventory.hosts}
        self._budget = MatchBudget(MATCHING_S)

    def match(self, part: _Part) -> Sequence[str]:
        """Returns the hosts that one part matches; raises `NothingToDoError` if none does.

        An exclusion may name a group that is empty today: that is no misspelling.
        """
        if self._is_host(part):
            return (part.expression,)
        groups = self._matching(part.name, self._groups)
        hosts = self._matching_hosts(part.name, groups)
        if not groups and not hosts:
            raise self._unknown(part)
        if part.subscript:
            hosts = _slice(hosts, part.subscript)
        if hosts or part.is_plain_exclusion:
            return hosts
        name = _shown(part.name)
        raise NothingToDoError(f"“{_shown(part.text)}” matches no host: “{name}” has too few hosts")

    def _is_host(self, part: _Part) -> bool:
        """Returns whether a part is the name of one host.

        A name of both a host and a group is the host alone; after “&” and “!” it is the group, as
        in Ansible.
        """
        name = part.expression
        return name in self._names and (not part.operator or name not in self._groups)

    def _matching_hosts(self, expression: str, groups: Iterable[str]) -> Sequence[str]:
        """Returns the hosts of these groups, and every host that matches where hosts count too.

        A host comes as often as it matches, as Ansible's subscripts count.
        """
        hosts = [host for group in groups for host in self._groups[group]]
        if not groups or _ALSO_HOSTS.search(expression):
            hosts += self._matching(expression, self._names)
        return hosts

    def _matching(self, expression: str, names: Collection[str]) -> list[str]:
        """Returns the names that an expression matches, in their order.

        It is a name, a wildcard as fnmatch has it, or “~” and a regular expression, which matches
        from the start of a name. Raises `InputError` for a regular expression that is invalid or
        takes too long.
        """
        if expression[0] == "~":
            return self._matching_regex(expression, expression[1:], names)
        if _WILDCARD.search(expression):
            return self._matching_regex(expression, fnmatch.translate(expression), names)
        if expression in names:
            return [expression]
        return []

    def _matching_regex(self, expression: str, regex: str, names: Collection[str]) -> list[str]:
        """Returns the names that the regular expression of `expression` matches."""
        try:
            return self._budget.matching(regex, names)
        except InvalidExpressionError as e:
            raise _invalid(expression, f"not a regular expression: {e}") from e
        except TimeUsedUpError as e:
            raise _invalid(
                expression,
                f"it takes too long to match: more than {MATCHING_S:g} s for all patterns",
                hint="write it without a repetition inside of another one: ~web[0-9]+",
            ) from e

    def _unknown(self, part: _Part) -> NothingToDoError:
        """Returns the error about a part that is no host and no group, with what may be meant."""
        suggestion = did_you_mean(part.name, [*self._groups, *self._names])
        hint = suggestion or _hint_about(part.name)
        return NothingToDoError(f"“{_shown(part.text)}” matches no host and no group{hint}")


_last_matcher: list[_Matcher] = []


def _matcher_of(inventory: Inventory) -> _Matcher:
    """Returns the matcher of an inventory: the plays, waivers and limit of a run share one."""
    if not _last_matcher or _last_matcher[0].inventory is not inventory:
        _last_matcher[:] = [_Matcher(inventory)]
    return _last_matcher[0]


def _hint_about(name: str) -> str:
    """Returns what may be meant by a name that is similar to no other, "" if nothing is known."""
    if name == "localhost":
        return "; this machine is the inventory “localhost,”, with a comma"
    if _IPV6_GROUP.fullmatch(name):
        return "; where IPv6 addresses are among the parts, separate them by commas"
    return ""


def _slice(hosts: Sequence[str], subscript: re.Match[str]) -> Sequence[str]:
    """Returns the hosts that a subscript selects: [1], [-1], [1:3], [1:] or [1-3].

    The last one is included. An index beyond the end selects nothing.
    """
    if subscript["index"] is not None:
        return _nth(hosts, int(subscript["index"]))
    first = int(subscript["first"])
    if not subscript["last"]:
        return hosts[first:]
    # Ansible takes [x:0] for [x].
    last = int(subscript["last"]) or first
    return hosts[first : last + 1]


def _nth(hosts: Sequence[str], index: int) -> Sequence[str]:
    """Returns the host at an index alone, from the end if it is negative; nobody beyond the end."""
    if index < -len(hosts):
        return ()
    return hosts[index:][:1]


def _invalid(pattern: str, reason: str, hint: str = "") -> InputError:
    """Returns the error about an expression that cannot be used."""
    return InputError(
        f"“{_shown(pattern)}” is not a host pattern: {reason}", source="pattern", hint=hint
    )


def _shown(pattern: str) -> str:
    """Returns a pattern as messages quote it."""
    return shorten(pattern, _MAX_SHOWN)
