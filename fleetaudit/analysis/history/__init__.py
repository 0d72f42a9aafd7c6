"""The runs of a job over time. Pure.

Rules: a run that was removed is not there, and nothing is guessed about it. What a run cannot say
is unknown, never zero. The counts of a run add up: its endings, and its series, to the hosts that
were audited.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from fleetaudit.analysis.compare.findings import join_family_ids, parse_finding_id
from fleetaudit.model import SEVERITIES, Severity
from fleetaudit.store.jobs import describe_job, job_name
from fleetaudit.store.outline import GroupOutline, RunOutline
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of
from fleetaudit.text.kernel_releases import release_key, release_series
from fleetaudit.text.phrases import surround

from .model import (
    HISTORY_FORMAT,
    BuildHistory,
    FindingHistory,
    HistoryRun,
    JobHistory,
    LeftOutRun,
    Seen,
)
from .outline import NOT_RUN, VOID
from .timeline import RunFindings, Timeline

__all__ = ["JobHistory", "encode", "history_of", "json_schema"]

_FIRST_ENDINGS = ("FIN", "FIN, then RST", "RST")
_LAST_ENDINGS = (VOID, NOT_RUN)
_KINDS = {"control": "positive control ", "kernel": "same ending of "}
"""What is written before the subject of a finding of this kind."""


def history_of(outlines: Sequence[RunOutline], unreadable: Iterable[LeftOutRun] = ()) -> JobHistory:
    """Returns the history of a job.

    `outlines` are those of its runs, oldest first, at least one. `unreadable` are the runs of the
    output folder that cannot be read.
    """
    timeline = Timeline()
    found = [timeline.add(outline) for outline in outlines]
    last = outlines[-1]
    return JobHistory(
        job=job_name(last.run),
        description=describe_job(last.run),
        scenario=last.scenario,
        runs=tuple(map(_history_run, outlines, found)),
        findings=tuple(sorted(_findings(outlines, found), key=_finding_order)),
        builds=tuple(_builds(outlines)),
        unreadable=tuple(unreadable),
    )


def encode(history: JobHistory) -> bytes:
    """Returns a history as JSON (docs/formats.md), with a line feed at the end."""
    return escape_json(encode_json(history)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a history, as in `fleetaudit/schema/history.schema.json`."""
    return json_schema_of(JobHistory, HISTORY_FORMAT)


def _history_run(outline: RunOutline, found: RunFindings) -> HistoryRun:
    """Returns one run."""
    info, resets = outline.run, outline.resets
    audited = [group for group in outline.groups if group.status == "audited"]
    per_thousand = None
    if resets is not None and resets.connections:
        per_thousand = 1000 * resets.aborts / resets.connections
    return HistoryRun(
        id=info.id,
        started=info.started,
        finished=info.finished,
        status=info.status,
        hosts=outline.hosts,
        void=sum(len(group.hosts) for group in audited if group.void),
        findings=outline.findings,
        endings=_endings(audited),
        series=_series(outline.releases, audited),
        opened=found.opened,
        closed=found.closed,
        gone=found.gone,
        added=fold_hosts(found.added).ranges,
        removed=fold_hosts(found.removed).ranges,
        hosts_added=len(found.added),
        hosts_removed=len(found.removed),
        resets_per_thousand=per_thousand,
        resets_since=resets.since if resets else "",
        hosts_measured=resets.hosts if resets else 0,
    )


def _endings(audited: Iterable[GroupOutline]) -> tuple[tuple[str, int], ...]:
    """Returns the hosts by the ending of the main scenario, the usual endings first."""
    hosts = Counter[str]()
    for group in audited:
        hosts[group.ending or NOT_RUN] += len(group.hosts)
    return tuple(sorted(hosts.items(), key=lambda item: ending_order(item[0])))


def ending_order(ending: str) -> tuple[int, str]:
    """Returns the key that sorts endings: the usual ones, others by name, then those without a
    verdict.
    """
    if ending in _LAST_ENDINGS:
        return len(_FIRST_ENDINGS) + 1 + _LAST_ENDINGS.index(ending), ""
    return (*_FIRST_ENDINGS, ending).index(ending), ending


def _hosts_by_release(releases: Sequence[str], audited: Iterable[GroupOutline]) -> Counter[str]:
    """Returns the audited hosts by kernel release."""
    hosts = Counter[str]()
    for group in audited:
        if group.release is not None:
            hosts[releases[group.release]] += len(group.hosts)
    return hosts


def _series(
    releases: Sequence[str], audited: Iterable[GroupOutline]
) -> tuple[tuple[str, int], ...]:
    """Returns the audited hosts by kernel series, in numeric order."""
    hosts = Counter[str]()
    for release, number in _hosts_by_release(releases, audited).items():
        hosts[release_series(release)] += number
    return tuple(sorted(hosts.items(), key=lambda item: release_key(item[0])))


def _builds(outlines: Sequence[RunOutline]) -> Iterator[BuildHistory]:
    """Yields the kernel releases, in numeric order."""
    hosts = [_hosts_by_release(outline.releases, outline.groups) for outline in outlines]
    for release in sorted(set().union(*hosts), key=lambda name: (release_key(name), name)):
        counts = [of_run[release] for of_run in hosts]
        first, last = _seen(outlines, counts)
        yield BuildHistory(
            release=release,
            series=release_series(release),
            first_seen=first,
            last_seen=last,
            hosts=tuple(counts),
        )


def _findings(
    outlines: Sequence[RunOutline], found: Sequence[RunFindings]
) -> Iterator[FindingHistory]:
    """Yields the findings of all runs."""
    severities, dates = dict[str, Severity](), defaultdict[str, set[str]](set)
    for outline in outlines:
        for expectation in outline.expectations:
            if expectation.severity:
                severities[expectation.id] = expectation.severity
                dates[expectation.id].add(expectation.since)
    for id_, severity in severities.items():
        counts = [of_run.count(id_) for of_run in found]
        first, last = _seen(outlines, counts)
        yield FindingHistory(
            id=id_,
            subject=_subject(id_),
            severity=severity,
            first_seen=first,
            last_seen=last,
            since=min(filter(None, dates[id_]), default=""),
            open=id_ in found[-1].open,
            hosts=tuple(counts),
            waived=tuple(of_run.waived.get(id_, 0) for of_run in found),
        )


def _seen(outlines: Sequence[RunOutline], counts: Sequence[int | None]) -> tuple[Seen, Seen]:
    """Returns the first and the last run that has hosts."""
    runs = [outline.run for outline, number in zip(outlines, counts, strict=True) if number]
    first, last = runs[0], runs[-1]
    return Seen(run=first.id, started=first.started), Seen(run=last.id, started=last.started)


def _subject(id_: str) -> str:
    """Returns what a finding is about: "unread-close (IPv4)", "net.ipv4.tcp_rfc1337"."""
    kind, subject, family = parse_finding_id(id_)
    families = surround(" (", join_family_ids(filter(None, (family,))), ")")
    return f"{_KINDS.get(kind, '')}{subject}{families}"


def _finding_order(finding: FindingHistory) -> tuple[bool, int, str]:
    """Returns the sort key of a finding: open ones first, then the most severe, then by id."""
    return not finding.open, -SEVERITIES.index(finding.severity), finding.id
