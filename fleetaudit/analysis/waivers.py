"""Waivers: findings that somebody has accepted, and which findings of a run they excuse. Pure.

Rules:
- A waiver names its finding, hosts, owner, reason and expiry; without one of them it is refused.
- It holds until the end of the day of its expiry, in UTC. After that it excuses nothing, and the
  run has a note that says so.
- There is also a note of a waiver that excuses nothing although its hosts were audited: it may be
  misspelt, or no longer needed.
- A waived finding stays in the run with what was observed; it only stops to count.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Annotated

import msgspec
from msgspec import Meta

from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Finding, HostResult, conclusive_hosts
from fleetaudit.text.document import Document
from fleetaudit.text.json_schema import json_schema_of
from fleetaudit.text.typed_documents import convert_document, did_you_mean
from fleetaudit.text.wildcards import wildcard_regex
from fleetaudit.text.yaml_lines import parse_yaml

KINDS = (
    "control",
    "exposure",
    "host-key",
    "kernel",
    "not-watched",
    "resets",
    "scenario",
    "service",
    "sysctl",
    "watch",
)
"""The kinds of finding: what the id of a finding begins with."""

Text = Annotated[str, Meta(min_length=1, max_length=4000)]
Select = Callable[[str], Sequence[str]]
"""Returns the names of the hosts that an Ansible pattern selects; `inventory.patterns.select_hosts`
of an inventory.
"""


class WaiverFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One accepted finding."""

    finding: Annotated[
        str,
        Meta(min_length=1, max_length=400, description="A finding's id; * stands for any text."),
    ]
    hosts: Annotated[
        Text | Annotated[list[Text], Meta(min_length=1)],
        Meta(description="Hosts or groups: a pattern, as in Ansible."),
    ]
    owner: Annotated[Text, Meta(description="Who answers for it.")]
    reason: Annotated[Text, Meta(description="Why it is accepted.")]
    expiry: Annotated[date, Meta(description="The last day on which it holds, in UTC: 2027-01-31.")]


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted finding.

    `finding` is an id in which * stands for any text, `hosts` an Ansible pattern, `expiry` the last
    day on which it holds; `source` and `line` are where it is written.
    """

    finding: str
    hosts: str
    owner: str
    reason: str
    expiry: date
    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.finding} on {self.hosts} ({self.owner})"

    def describe(self) -> str:
        """Returns the text that a waived finding has: owner, expiry and reason."""
        return f"{self.owner} until {self.expiry.isoformat()}: {self.reason}"

    def pattern(self) -> re.Pattern[str]:
        """Returns the pattern of the ids of findings that the waiver names."""
        return re.compile(wildcard_regex(self.finding, question_mark=False), re.DOTALL)


class UnusedWaiver(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver that excuses nothing, and the reason."""

    waiver: Waiver
    reason: str


class WaivedRun(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts of a run with their waivers, and the waivers that excuse nothing."""

    hosts: tuple[HostResult, ...]
    expired: tuple[Waiver, ...] = ()
    unused: tuple[UnusedWaiver, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """Returns a sentence for each waiver that excuses nothing, expired ones first."""
        expired = (
            f"Waiver expired on {waiver.expiry.isoformat()}, excuses nothing: {waiver}"
            for waiver in self.expired
        )
        unused = (f"Waiver unused, {unused.reason}: {unused.waiver}" for unused in self.unused)
        return (*expired, *unused)


# ---- reading -----------------------------------------------------------------------------------


def parse_waivers(text: str, *, source: str) -> tuple[Waiver, ...]:
    """Returns the waivers in the text of a file; raises `InputError` with the line of `source`."""
    return convert_waivers(parse_yaml(text, source=source))


def convert_waivers(document: Document) -> tuple[Waiver, ...]:
    """Returns the waivers in a YAML document; raises `InputError` with the line."""
    if not isinstance(document.value, list):
        raise document.error(
            "a file of waivers is a list", hint="begin each waiver with “- finding:”"
        )
    return tuple(
        _convert_waiver(document, waiver, index)
        for index, waiver in enumerate(convert_document(document, list[WaiverFile]))
    )


def json_schema() -> bytes:
    """Returns the JSON Schema of a file of waivers, as in schema/waivers.schema.json."""
    return json_schema_of(list[WaiverFile], "fleetaudit waivers")


def _convert_waiver(document: Document, waiver: WaiverFile, index: int) -> Waiver:
    """Returns the waiver at `index` of the document.

    Raises `InputError` at the key with an invalid finding id, or with text that is only white
    space.
    """
    _check_finding_id(document, waiver.finding, index)
    hosts = waiver.hosts if isinstance(waiver.hosts, str) else ",".join(waiver.hosts)
    texts = {"hosts": hosts, "owner": _one_line(waiver.owner), "reason": _one_line(waiver.reason)}
    for key, text in texts.items():
        if not text.strip():
            raise document.error(f"“{key}” is empty", (index, key))
    return Waiver(
        finding=waiver.finding,
        hosts=hosts,
        owner=texts["owner"],
        reason=texts["reason"],
        expiry=waiver.expiry,
        source=document.source,
        line=document.at((index,)).line,
    )


def _check_finding_id(document: Document, id_: str, index: int) -> None:
    """Raises `InputError` if no finding can have this id."""
    kind, colon, _ = id_.partition(":")
    if "*" in kind or (kind in KINDS and colon):
        return
    raise document.error(
        f"“{id_}” is not the id of a finding{did_you_mean(kind, KINDS)}",
        (index, "finding"),
        hint=(
            "write it as in run.json: scenario:unread-close/ipv4, sysctl:net.ipv4.tcp_rfc1337; *"
            " stands for any text"
        ),
    )


def _one_line(text: str) -> str:
    """Returns the text with one blank in place of each run of white space."""
    return " ".join(text.split())


# ---- applying ----------------------------------------------------------------------------------


def apply_waivers(
    hosts: Iterable[HostResult], waivers: Sequence[Waiver], today: date, select: Select
) -> WaivedRun:
    """Returns `hosts` with every finding's `waived` set from `waivers` alone, and the waivers that
    excuse nothing.

    `today` is the day of the run in UTC. If several waivers excuse one finding, the first of the
    file is named. Raises `InputError` for an invalid host pattern; a pattern that matches no host
    makes its waiver unused.
    """
    hosts = tuple(hosts)
    valid = [_ActiveWaiver.of(waiver, select) for waiver in waivers if waiver.expiry >= today]
    waive = once_per_object(_waive_findings)
    return WaivedRun(
        hosts=tuple(_waive(host, valid, waive) for host in hosts),
        expired=tuple(waiver for waiver in waivers if waiver.expiry < today),
        unused=_find_unused(valid, hosts),
    )


def _find_unused(
    waivers: Iterable[_ActiveWaiver], hosts: Iterable[HostResult]
) -> tuple[UnusedWaiver, ...]:
    """Returns the waivers that excused nothing, after they were applied to the hosts of a run."""
    conclusive = {host.name for host in conclusive_hosts(hosts)}
    unused = (waiver.why_unused(conclusive) for waiver in waivers)
    return tuple(filter(None, unused))


_Waive = Callable[..., tuple[Finding, ...]]


class _ActiveWaiver(msgspec.Struct, eq=False):
    """A waiver that has not expired, the hosts that it selects, and whether it excuses anything.

    `problem` says why it selects no host.
    """

    waiver: Waiver
    pattern: re.Pattern[str]
    hosts: frozenset[str]
    problem: str = ""
    is_used: bool = False

    @classmethod
    def of(cls, waiver: Waiver, select: Select) -> _ActiveWaiver:
        """Returns the waiver with its hosts; raises `InputError` for an invalid host pattern."""
        try:
            return cls(waiver, waiver.pattern(), frozenset(select(waiver.hosts)))
        except NothingToDoError as e:
            return cls(waiver, waiver.pattern(), frozenset(), problem=str(e))
        except InputError as e:
            raise InputError(e.message, source=waiver.source, line=waiver.line, hint=e.hint) from e

    def names(self, finding: Finding) -> bool:
        """Returns whether the waiver names a finding."""
        return self.pattern.fullmatch(finding.id) is not None

    def why_unused(self, conclusive: set[str]) -> UnusedWaiver | None:
        """Returns the waiver as unused, None if it is used or may be.

        `conclusive` are the hosts that would have its finding if it still existed. On the other
        hosts of the waiver it may still exist.
        """
        if self.is_used:
            return None
        if self.problem:
            return UnusedWaiver(waiver=self.waiver, reason=self.problem)
        if not self.hosts <= conclusive:
            return None
        return UnusedWaiver(waiver=self.waiver, reason="no such finding there")


def _waive(host: HostResult, waivers: Sequence[_ActiveWaiver], waive: _Waive) -> HostResult:
    """Returns the host with the `waived` of every finding; the same host if nothing changes."""
    of_host = (active for active in waivers if host.name in active.hosts)
    findings = waive(host.findings, *of_host)
    return host if findings is host.findings else msgspec.structs.replace(host, findings=findings)


def _waive_findings(findings: tuple[Finding, ...], *waivers: _ActiveWaiver) -> tuple[Finding, ...]:
    """Returns the findings of hosts that all `waivers` select; the same object if nothing changes.

    Each waiver that excuses one of them is marked as used.
    """
    waived = tuple(_waive_finding(finding, waivers) for finding in findings)
    return findings if all(map(operator.is_, waived, findings)) else waived


def _waive_finding(finding: Finding, waivers: Sequence[_ActiveWaiver]) -> Finding:
    """Returns a finding with its `waived`, and marks each waiver that excuses it as used.

    An earlier `waived` is replaced, also by None.
    """
    excusing = [active for active in waivers if active.names(finding)]
    for active in excusing:
        active.is_used = True
    waived = excusing[0].waiver.describe() if excusing else None
    if finding.waived == waived:
        return finding
    return msgspec.structs.replace(finding, waived=waived)
