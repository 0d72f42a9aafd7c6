"""The view of expectations: what is met, the findings by expectation, and the sysctls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from fleetaudit.model import SEVERITIES, Severity
from fleetaudit.text.host_ranges import HostRanges

from .kernels import Build, Verdict


class MetExpectations(msgspec.Struct, frozen=True, kw_only=True):
    """How many scenarios and other expectations are met on every host that counts.

    `hosts` are not void and ran a scenario; on `hosts_without_verdict` only controls ran. Of the
    `verdicts` that hosts were to give, `verdicts_not_run` are missing, on `hosts_not_run` hosts.
    """

    hosts: int
    hosts_without_verdict: int
    verdicts: int
    verdicts_not_run: int
    hosts_not_run: int
    scenarios: int
    scenarios_total: int
    expectations: int
    expectations_total: int

    @property
    def lacks_more_verdicts(self) -> bool:
        """Whether verdicts are missing on hosts besides those on which only controls ran."""
        return self.verdicts_not_run > 0 and self.hosts_without_verdict != self.hosts_not_run


class NotRun(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts that were not run for one reason; `more_scenarios` more are not named.

    `reason` is text that the hosts sent, "" if they gave none.
    """

    reason: str
    verdicts: int
    scenarios: tuple[str, ...]
    more_scenarios: int
    hosts: HostRanges


class FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts of a finding with the same observation.

    `waived` is the reason of the waiver, None without one; `since` is the date on which the finding
    was first seen, "" if unknown. `filters` lead to the hosts (`host_links`).
    """

    observed: str
    waived: str | None
    since: str
    builds: tuple[Build, ...]
    hosts: HostRanges
    filters: Mapping[str, str]

    @property
    def is_open(self) -> bool:
        """Whether no waiver accepts the findings."""
        return self.waived is None


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy and its hosts; `is_command` is true if it is a command to type, not a sentence."""

    text: str
    is_command: bool
    hosts: HostRanges


class FindingGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation that some hosts do not meet.

    `subject` is the scenario or the sysctl, `link` its anchor; `ids` are the stable ids of the
    findings. `hosts` counts the hosts without a waiver, `waived` those with one. `remedies` come
    with most hosts first; a host without a known remedy is in none of them. `open_filters` and
    `waived_filters` lead to the hosts that `hosts` and `waived` count.
    """

    anchor: str
    ids: tuple[str, ...]
    kind: str
    subject: str
    detail: str
    link: str
    severity: Severity
    expected: str
    because: str
    remedies: tuple[Remedy, ...]
    hosts: int
    waived: int
    rows: tuple[FindingRow, ...]
    open_filters: Mapping[str, str]
    waived_filters: Mapping[str, str]

    @property
    def fix(self) -> str:
        """The remedy, if it is the same on every host; else ""."""
        return self.remedies[0].text if self._has_one_remedy else ""

    @property
    def fix_is_command(self) -> bool:
        """Whether `fix` is a command to type."""
        return self._has_one_remedy and self.remedies[0].is_command

    @property
    def _has_one_remedy(self) -> bool:
        return len(self.remedies) == 1 and self.remedies[0].hosts.count == self.hosts + self.waived

    @property
    def needs_attention(self) -> bool:
        """Whether some host has a finding above info that is not waived."""
        return self.hosts > 0 and self.severity != "info"

    @property
    def audited(self) -> bool:
        """Whether its hosts were audited; the only finding of other hosts is a changed host key."""
        return self.kind != "host-key"


KERNEL_DEFAULT = "kernel default"
"""`SysctlValue.relation` of a value that is the default of the kernel of its hosts."""
SysctlKind = Literal["default", "changed", "unknown", "info", "warning", "error"]
"""The severity of the finding about a value, else how it compares with the kernel default."""


class SysctlValue(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts with the same value of a sysctl.

    `relation` compares it with the default of that kernel, in words; `used` is the value under
    which the experiment ran, "" if it is the same. `label` is "KEY=VALUE" in addresses, and more
    where two rows have the same value.
    """

    value: str
    relation: str
    verdict: Verdict
    used: str
    label: str
    hosts: HostRanges

    @property
    def is_default(self) -> bool:
        """Whether it is the default of the kernel of its hosts."""
        return self.relation == KERNEL_DEFAULT

    @property
    def kind(self) -> SysctlKind:
        """The kind of the value, as the report colours it."""
        if self.verdict in SEVERITIES:
            return self.verdict
        if self.is_default:
            return "default"
        if self.relation.startswith("changed"):
            return "changed"
        return "unknown"


class SysctlView(msgspec.Struct, frozen=True, kw_only=True):
    """One sysctl worth showing; `why` says so in words.

    `by_memory`: its values differ only as the memory of the hosts does. `omitted` more values, on
    `omitted_hosts` hosts, are not listed. `usual_row` is the index of the value that most hosts
    have: the number of listed values for one of the others, -1 if most hosts have no reading.
    """

    anchor: str
    key: str
    why: str
    by_memory: bool
    expected: str
    values: tuple[SysctlValue, ...]
    omitted: int
    omitted_hosts: int
    usual_row: int

    @property
    def only_defaults(self) -> bool:
        """Whether every listed value is the default of the kernel of its hosts."""
        return all(value.is_default for value in self.values) and not self.omitted


MOST_SYSCTLS = 400
"""How many sysctls the page lists; run.json has all of them."""


def listed_sysctls(sysctls: Iterable[SysctlView]) -> tuple[SysctlView, ...]:
    """Returns the sysctls that the page lists: at most `MOST_SYSCTLS`, those with a finding first.

    One host may report thousands that no other host has.
    """
    by_finding = sorted(sysctls, key=lambda sysctl: not sysctl.expected)
    return tuple(by_finding[:MOST_SYSCTLS])
