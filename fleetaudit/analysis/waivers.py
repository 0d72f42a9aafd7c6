"""Findings that somebody has accepted: a file of waivers, and which findings of a run they excuse.
Pure but for `load_yaml`.

Rules:
- A waiver names its finding, hosts, owner, reason and expiry; without one of them it is refused.
- It holds until the end of the day of its expiry, in UTC. After that it excuses nothing, and that
  is said.
- One that excuses nothing although its hosts were audited is said too: it may be misspelt, or done
  with.
- A waived finding stays in the run with what was seen; it only stops to count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Audited, Finding, HostResult
from fleetaudit.text.json_schema import json_schema_of
from fleetaudit.text.yaml_lines import (
    Document,
    convert_document,
    did_you_mean,
    parse_yaml,
)
from fleetaudit.text.yaml_lines import load_yaml as load_yaml

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("control", "exposure", "host-key", "kernel", "scenario", "sysctl")
"""What a finding's id begins with."""

Text = Annotated[str, Meta(min_length=1, max_length=4000)]
Select = Callable[[str], Sequence[str]]
"""From an Ansible pattern to the names of the hosts that it selects, as `inventory.patterns.select`
does.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One accepted finding; `finding` is an id in which * stands for any text, `hosts` an Ansible
    pattern, `expiry` the last day on which it holds, `source` and `line` where it is written.
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

    def words(self) -> str:
        """Returns what a waived finding says of it."""
        return f"{self.owner} until {self.expiry.isoformat()}: {self.reason}"

    def excuses(self, finding: Finding) -> bool:
        """Returns whether `finding` is one that it names."""
        glob = ".*".join(map(re.escape, self.finding.split("*")))
        return re.fullmatch(glob, finding.id, re.DOTALL) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedWaiver:
    """A waiver that excuses nothing, and why."""

    waiver: Waiver
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaivedRun:
    """Hosts whose findings know their waivers, and the waivers that excuse nothing."""

    hosts: tuple[HostResult, ...]
    expired: tuple[Waiver, ...] = ()
    unused: tuple[UnusedWaiver, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """Returns a sentence for each waiver that excuses nothing, expired ones first."""
        return (
            *(
                f"Waiver expired on {w.expiry.isoformat()}, excuses nothing: {w}"
                for w in self.expired
            ),
            *(f"Waiver unused, {u.why}: {u.waiver}" for u in self.unused),
        )


def load(path: Path) -> tuple[Waiver, ...]:
    """Returns the waivers of a file, as `parse_waivers` does; raises `NothingToDoError` where there
    is no such file.
    """
    return _waivers(load_yaml(path))


def parse_waivers(text: str, *, source: str) -> tuple[Waiver, ...]:
    """Returns the waivers in `text`; raises `InputError` with the line of `source` that makes no
    sense.
    """
    return _waivers(parse_yaml(text, source=source))


def json_schema() -> bytes:
    """Returns the JSON Schema of a file of waivers, as `fleetaudit/schema/waivers.schema.json` has
    it.
    """
    return json_schema_of(list[WaiverFile], "fleetaudit waivers")


def _waivers(document: Document) -> tuple[Waiver, ...]:
    if not isinstance(document.value, list):
        raise document.error(
            "a file of waivers is a list", hint="begin each waiver with “- finding:”"
        )
    return tuple(
        _waiver(document, file, i)
        for i, file in enumerate(convert_document(document, list[WaiverFile]))
    )


def _waiver(document: Document, file: WaiverFile, index: int) -> Waiver:
    kind, colon, _ = file.finding.partition(":")
    if "*" not in kind and (kind not in KINDS or not colon):
        raise document.error(
            f"“{file.finding}” is no id of a finding{did_you_mean(kind, KINDS)}",
            (index, "finding"),
            hint=(
                "as run.json has them: scenario:unread-close/ipv4, sysctl:net.ipv4.tcp_rfc1337; *"
                " stands for any text"
            ),
        )
    hosts = file.hosts if isinstance(file.hosts, str) else ",".join(file.hosts)
    said = {"hosts": hosts, "owner": _one_line(file.owner), "reason": _one_line(file.reason)}
    if blank := [key for key, text in said.items() if not text.strip()]:
        raise document.error(f"“{blank[0]}” says nothing", (index, blank[0]))
    return Waiver(
        finding=file.finding,
        hosts=hosts,
        owner=said["owner"],
        reason=said["reason"],
        expiry=file.expiry,
        source=document.source,
        line=document.at((index,)).line,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


# ---- to a run
# ------------------------------------------------------------------------------------------------------


def apply_waivers(
    hosts: Iterable[HostResult], waivers: Sequence[Waiver], today: date, select: Select
) -> WaivedRun:
    """Returns `hosts` with every finding's `waived` set from `waivers` alone, and the waivers that
    excuse nothing.

    Where several excuse one finding, the first of the file is named. Raises `InputError` for an
    expression that is no pattern; a pattern that matches nobody makes its waiver unused.
    """
    hosts = tuple(hosts)
    valid = [w for w in waivers if w.expiry >= today]
    selected, why = dict[int, frozenset[str]](), dict[int, str]()
    for i, waiver in enumerate(valid):
        selected[i], why[i] = _select(waiver, select)
    used = set[int]()

    def judged(host: str, finding: Finding) -> Finding:
        holding = [i for i, w in enumerate(valid) if host in selected[i] and w.excuses(finding)]
        used.update(holding)
        waived = valid[holding[0]].words() if holding else None
        return (
            finding if finding.waived == waived else msgspec.structs.replace(finding, waived=waived)
        )

    done = list[HostResult]()
    for host in hosts:
        if host.findings:
            host = msgspec.structs.replace(
                host, findings=tuple(judged(host.name, f) for f in host.findings)
            )
        done.append(host)
    unused = [
        UnusedWaiver(waiver=waiver, why=why[i] or "no such finding there")
        for i, waiver in enumerate(valid)
        if i not in used and (why[i] or _would_have_shown(selected[i], hosts))
    ]
    return WaivedRun(
        hosts=tuple(done),
        expired=tuple(w for w in waivers if w.expiry < today),
        unused=tuple(unused),
    )


def _select(waiver: Waiver, select: Select) -> tuple[frozenset[str], str]:
    try:
        return frozenset(select(waiver.hosts)), ""
    except NothingToDoError as e:
        return frozenset(), str(e)
    except InputError as e:
        raise InputError(e.message, source=waiver.source, line=waiver.line, hint=e.hint) from e


def _would_have_shown(selected: frozenset[str], hosts: Iterable[HostResult]) -> bool:
    """Whether every host of the waiver was in the run, audited and not void: elsewhere its finding
    may still be.
    """
    sound = {host.name for host in hosts if isinstance(host, Audited) and not host.void}
    return selected <= sound
