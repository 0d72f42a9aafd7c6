"""What lists need of a run: its description and its counts, without its hosts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from fleetaudit.model import AuditRun, Frozen, HostResult, RunInfo, Severity


class HostCounts(Frozen, frozen=True, kw_only=True):
    """How many hosts: `selected` is the three others together."""

    selected: int
    audited: int
    not_audited: int
    not_selected: int


class FindingCounts(Frozen, frozen=True, kw_only=True):
    """How many findings, by severity; the waived ones are counted apart."""

    error: int
    warning: int
    info: int
    waived: int


class RunHead(Frozen, frozen=True, kw_only=True, tag_field="format", tag="fleetaudit-store/1"):
    """A run without its hosts, as in the first line of its store.

    `interrupted`: it ended before every host was audited.
    """

    run: RunInfo
    hosts: HostCounts
    findings: FindingCounts
    interrupted: bool


class FindingOutline(msgspec.Struct, frozen=True):
    """The severity of one finding, and whether it is waived."""

    severity: Severity
    waived: str | None = None


class HostOutline(msgspec.Struct, frozen=True):
    """The status of one host, the stage at which its audit failed, and its findings."""

    status: str
    stage: str | None = None
    findings: tuple[FindingOutline, ...] = ()

    @classmethod
    def of(cls, host: HostResult) -> HostOutline:
        """Returns the outline of a result."""
        status = str(host.__struct_config__.tag)
        findings = tuple(FindingOutline(f.severity, f.waived) for f in host.findings)
        return cls(status, host.stage, findings)


def head_of(run: AuditRun) -> RunHead:
    """Returns the head of a run."""
    return head_of_outlines(run.run, map(HostOutline.of, run.hosts))


def head_of_outlines(info: RunInfo, hosts: Iterable[HostOutline]) -> RunHead:
    """Returns the head of a run with these hosts."""
    statuses, findings = Counter[str](), Counter[str]()
    interrupted = False
    for host in hosts:
        statuses[host.status] += 1
        findings.update(map(_severity, host.findings))
        interrupted |= host.stage == "interrupted"
    return RunHead(
        run=info,
        hosts=count_statuses(statuses),
        findings=FindingCounts(
            error=findings["error"],
            warning=findings["warning"],
            info=findings["info"],
            waived=findings["waived"],
        ),
        interrupted=interrupted,
    )


def count_statuses(statuses: Counter[str]) -> HostCounts:
    """Returns the counts of hosts, from the number of hosts by status."""
    return HostCounts(
        selected=statuses.total(),
        audited=statuses["audited"],
        not_audited=statuses["not audited"],
        not_selected=statuses["not selected"],
    )


def _severity(finding: FindingOutline) -> str:
    """Returns the severity of a finding, "waived" for a waived one."""
    return finding.severity if finding.waived is None else "waived"
