"""Says of each kernel build of a run what the table of kernels has, and where hosts differ. Pure.

Rules:
- Endings are compared with those of the very same build (release, version and machine) alone, and
  only of scenarios whose steps are those of the table.
- A host that is void, or was measured in its own network namespace, is not compared: there its
  firewall takes part.
- The table was measured with the defaults of each kernel. A host that has changed a setting, or
  whose settings were not read, may differ because of that: the difference then names them. So may
  a host that has too many orphans or too little memory, which its counters show: these limits have
  no default to compare with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from fleetaudit.analysis.memory_sysctls import part_without_memory
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    EXPECTABLE_ENDINGS,
    NOT_READ,
    Audited,
    AuditRun,
    Ending,
    Family,
    Kernel,
    KnownKernel,
    Observation,
    ScenarioRow,
    Sysctl,
    TableDifference,
)
from fleetaudit.text.host_ranges import fold_hosts

from .index import TableIndex
from .model import Row, row_ending, steps_digest
from .sentences import describe_build, describe_same_source, describe_series, describe_unknown

COMPARED_SYSCTLS = ("net.ipv4.tcp_", "net.mptcp.")
"""The beginnings of the sysctls that an experiment runs under."""
NEEDED_SYSCTLS = (
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_rfc1337",
    "net.ipv4.tcp_stdurg",
)
"""The sysctls that are known to change an ending or a counter: they must have been read."""
_LIMIT_COUNTER = "TCPAbortOnMemory"
AT_LIMIT = f"net.ipv4.tcp_max_orphans or tcp_mem was reached ({_LIMIT_COUNTER})"
"""The setting of a host whose kernel resets because of a limit (tcp_check_oom() in tcp.c)."""
MOST_DIFFERENCES = 64
"""How many differences of one build are kept: a host may send what it likes."""
MOST_SETTINGS = 5
_VALUE_LENGTH = 60


class _Place(NamedTuple):
    """What hosts with one difference share."""

    scenario: str
    family: Family
    table: Ending
    measured: Ending
    at_limit: bool
    may_be_settings: bool


class _Group(NamedTuple):
    """The hosts of one difference, and their settings."""

    names: list[str]
    settings: dict[str, None]


def describe_kernels(run: AuditRun, index: TableIndex) -> tuple[KnownKernel, ...]:
    """Returns what the table says about each kernel build of a run, in the order of its hosts.

    It is () if the table is empty.
    """
    if not index.table.builds:
        return ()
    builds = dict[Kernel, list[Audited]]()
    for host in run.audited:
        builds.setdefault(host.kernel, []).append(host)
    comparer = _Comparer(index, run.scenarios)
    return tuple(comparer.describe(kernel, hosts) for kernel, hosts in builds.items())


class _Comparer:
    """Compares the hosts of a run with a table; what hosts share is compared once."""

    def __init__(self, index: TableIndex, scenarios: Iterable[ScenarioRow]) -> None:
        self._index = index
        self._names = {row.name for row in scenarios if _has_same_steps(row, index)}
        self._settings = once_per_object(changed_settings)
        self._differing = once_per_object(self._find_differing)

    def describe(self, kernel: Kernel, hosts: Sequence[Audited]) -> KnownKernel:
        """Returns what the table says about one build."""
        build = self._index.find(kernel)
        if build is None:
            return self._describe_other(kernel)
        return KnownKernel(
            release=kernel.release,
            version=kernel.version,
            machine=kernel.machine,
            match="exact",
            known=describe_build(self._index, build),
            differences=self._differences(self._index.row(build), hosts),
        )

    def _describe_other(self, kernel: Kernel) -> KnownKernel:
        """Returns the nearest that the table has of a build that is not in it."""
        known = KnownKernel(
            release=kernel.release,
            version=kernel.version,
            machine=kernel.machine,
            match="none",
            known=describe_unknown(kernel),
        )
        if build := self._index.find_source(kernel):
            text = describe_same_source(self._index, build)
            return replace(known, match="same source", known=text)
        if line := self._index.find_series(kernel):
            return replace(known, match="series", known=describe_series(self._index, line))
        return known

    def _differences(self, row: Row, hosts: Iterable[Audited]) -> tuple[TableDifference, ...]:
        """Returns where hosts differ from a row, in the order of their appearance."""
        groups = dict[_Place, _Group]()
        for host in filter(_is_comparable, hosts):
            differing = self._differing(row, host.observations)
            settings = self._settings(host.sysctls) if differing else ()
            for place in differing:
                reasons = (AT_LIMIT, *settings) if place.at_limit else settings
                key = place._replace(may_be_settings=bool(reasons))
                group = groups.setdefault(key, _Group([], {}))
                group.names.append(host.name)
                group.settings.update(dict.fromkeys(reasons))
        return tuple(map(_difference, [*groups.items()][:MOST_DIFFERENCES]))

    def _find_differing(self, row: Row, observations: Iterable[Observation]) -> list[_Place]:
        """Returns where observations differ from a row."""
        return list(self._each_differing(row, observations))

    def _each_differing(self, row: Row, observations: Iterable[Observation]) -> Iterator[_Place]:
        """Yields where observations differ from a row; both endings are known."""
        for o in observations:
            known = row_ending(row, o.scenario, o.family)
            if known is None or known == o.ending or o.scenario not in self._names:
                continue
            if {known, o.ending} <= _KNOWN:
                at_limit = _LIMIT_COUNTER in (o.evidence.kernel or {})
                yield _Place(o.scenario, o.family, known, o.ending, at_limit, at_limit)


_KNOWN = frozenset(EXPECTABLE_ENDINGS)


def _has_same_steps(row: ScenarioRow, index: TableIndex) -> bool:
    """Returns whether a scenario of the run has the steps that the table was made with."""
    return index.steps.get(row.name) == steps_digest(row.steps)


def _is_comparable(host: Audited) -> bool:
    """Returns whether the endings of a host are those of its kernel alone."""
    return not host.void and host.isolation == "namespace"


def _difference(item: tuple[_Place, _Group]) -> TableDifference:
    """Returns the difference of some hosts."""
    place, group = item
    folded = fold_hosts(group.names)
    return TableDifference(
        scenario=place.scenario,
        family=place.family,
        table=place.table,
        measured=place.measured,
        hosts=folded.count,
        names=folded.ranges,
        more=folded.more,
        settings=tuple(group.settings)[:MOST_SETTINGS],
    )


def changed_settings(sysctls: dict[str, Sysctl]) -> tuple[str, ...]:
    """Returns the settings of a host that may be why an ending is another one, as texts.

    Such as "net.ipv4.tcp_stdurg is 1, by default 0" and "net.ipv4.tcp_rfc1337 was not read".
    """
    unread = (f"{key} was not read" for key in NEEDED_SYSCTLS if _is_unknown(sysctls, key))
    changed = (
        f"{key} is {_shorten(_used(sysctl))}, by default {_shorten(sysctl.default or '')}"
        for key, sysctl in sorted(sysctls.items())
        if key.startswith(COMPARED_SYSCTLS) and _is_changed(key, sysctl)
    )
    return (*unread, *changed)


def _is_unknown(sysctls: dict[str, Sysctl], key: str) -> bool:
    """Returns whether it is unknown if a sysctl has its default; one that is absent is known."""
    sysctl = sysctls.get(key, NOT_READ)
    if sysctl.is_absent:
        return False
    return sysctl.value is None or sysctl.default is None


def _is_changed(key: str, sysctl: Sysctl) -> bool:
    """Returns whether an experiment ran under another value than the default of the kernel.

    What follows from the memory of the host is no change.
    """
    if sysctl.value is None or sysctl.default is None:
        return False
    used, default = _used(sysctl), sysctl.default
    return _comparable_value(key, used) != _comparable_value(key, default)


def _comparable_value(key: str, value: str) -> str:
    """Returns what of a value does not follow from memory, with its white space collapsed."""
    return " ".join(part_without_memory(key, value).split())


def _used(sysctl: Sysctl) -> str:
    """Returns the value that the experiment ran under."""
    if sysctl.used is None:
        return sysctl.value or ""
    return sysctl.used


def _shorten(value: str) -> str:
    """Returns a value with its white space collapsed, and cut."""
    return " ".join(value.split())[:_VALUE_LENGTH]
