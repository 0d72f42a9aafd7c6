"""The runs of a job over time. Pure.

Rules: a run that was removed is not there, and nothing is guessed about it. What a run cannot say
is unknown, never zero. The counts of a run add up: its endings, and its series, to the hosts that
were audited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress
from operator import attrgetter, itemgetter, methodcaller

from msgspec.structs import replace

from fleetaudit.analysis.compare.common import K, group_by
from fleetaudit.analysis.compare.findings import join_family_ids, parse_finding_id
from fleetaudit.model import SEVERITIES, RunInfo
from fleetaudit.store.jobs import describe_job, job_name
from fleetaudit.store.outline import NO_RESETS, ExpectationOutline, GroupOutline, RunOutline
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of
from fleetaudit.text.kernel_releases import ReleaseKey, release_key, release_series
from fleetaudit.text.phrases import surround

from .host_timelines import host_timelines
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

_PLACES = {"FIN": 0, "FIN, then RST": 1, "RST": 2, VOID: 4, NOT_RUN: 5}
"""The places of endings in their order; the others are at 3, by name."""
_KINDS = {"control": "positive control ", "kernel": "same ending of "}
"""What is written before the subject of a finding of this kind."""


def history_of(outlines: Sequence[RunOutline], unreadable: Iterable[LeftOutRun] = ()) -> JobHistory:
    """Returns the history of a job.

    `outlines` are those of its runs, oldest first, at least one. `unreadable` are the runs of the
    output folder that cannot be read.
    """
    timeline = Timeline()
    found = [*map(timeline.add, outlines)]
    first = replace(found[0], opened=(), added=())  # there is no run to compare it with
    last = outlines[-1]
    states, timelines = host_timelines(outlines)
    return JobHistory(
        job=job_name(last.run),
        description=describe_job(last.run),
        scenario=last.scenario,
        runs=tuple(map(_history_run, outlines, (first, *found[1:]))),
        findings=tuple(sorted(_findings(outlines, found), key=_finding_order)),
        builds=tuple(_builds(outlines)),
        host_states=states,
        host_timelines=timelines,
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
    info, resets = outline.run, outline.resets or NO_RESETS
    endings = _count_hosts(outline, _ending)
    return HistoryRun(
        id=info.id,
        started=info.started,
        finished=info.finished,
        status=info.status,
        hosts=outline.hosts,
        void=endings[VOID],
        hosts_unmet=_count_hosts(outline, _is_unmet)[True],
        findings=outline.findings,
        endings=tuple(sorted(endings.items(), key=_ending_order)),
        series=_series(outline),
        opened=found.opened,
        closed=found.closed,
        gone=found.gone,
        added=fold_hosts(found.added).ranges,
        removed=fold_hosts(found.removed).ranges,
        hosts_added=len(found.added),
        hosts_removed=len(found.removed),
        resets_per_thousand=resets.per_thousand,
        resets_since=resets.since,
        hosts_measured=resets.hosts,
    )


def _count_hosts(outline: RunOutline, key: Callable[[GroupOutline], K | None]) -> Counter[K]:
    """Returns the hosts of a run by a key of their groups; groups whose key is None do not
    count.
    """
    hosts = Counter[K]()
    for group in outline.groups:
        value = key(group)
        if value is not None:
            hosts[value] += len(group.hosts)
    return hosts


def _ending(group: GroupOutline) -> str | None:
    """Returns the ending of the audited hosts of a group, None of other hosts."""
    return group.ending


def _is_unmet(group: GroupOutline) -> bool:
    """Returns whether hosts have a finding without a waiver."""
    return len(group.findings) > len(group.waived)


def _ending_order(item: tuple[str, int]) -> tuple[int, str]:
    """Returns the key that sorts (ending, hosts): the usual endings, others by name, then those
    without a verdict.
    """
    ending = item[0]
    return _PLACES.get(ending, 3), ending


def _series(outline: RunOutline) -> tuple[tuple[str, int], ...]:
    """Returns the audited hosts by kernel series, in numeric order."""
    hosts = Counter[str]()
    for release, number in _releases(outline).items():
        hosts[release_series(release)] += number
    return tuple(sorted(hosts.items(), key=_numeric_order))


def _numeric_order(item: tuple[str, int]) -> tuple[ReleaseKey, str]:
    """Returns the key that sorts (release, hosts) by the numbers of the release."""
    return release_key(item[0]), item[0]


def _releases(outline: RunOutline) -> Counter[str]:
    """Returns the audited hosts of a run by kernel release."""
    names: dict[int | None, str] = dict(enumerate(outline.releases))
    return _count_hosts(outline, lambda group: names.get(group.release))


def _builds(outlines: Sequence[RunOutline]) -> Iterator[BuildHistory]:
    """Yields the kernel releases, in numeric order."""
    hosts = [*map(_releases, outlines)]
    for release, _ in sorted(sum(hosts, Counter[str]()).items(), key=_numeric_order):
        counts = [*map(itemgetter(release), hosts)]
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
    named = filter(_has_finding, chain.from_iterable(map(_EXPECTATIONS, outlines)))
    for id_, in_runs in group_by(named, attrgetter("id")).items():
        counts = tuple(map(methodcaller("count", id_), found))
        first, last = _seen(outlines, counts)
        yield FindingHistory(
            id=id_,
            subject=_subject(id_),
            severity=in_runs[-1].severity or "info",
            first_seen=first,
            last_seen=last,
            since=min(filter(None, map(attrgetter("since"), in_runs)), default=""),
            open=id_ in found[-1].open,
            hosts=counts,
            waived=tuple(map(methodcaller("count_waived", id_), found)),
        )


_EXPECTATIONS = attrgetter("expectations")


def _has_finding(expectation: ExpectationOutline) -> bool:
    """Returns whether some host of the run does not meet an expectation."""
    return expectation.severity is not None


def _seen(outlines: Sequence[RunOutline], counts: Sequence[int | None]) -> tuple[Seen, Seen]:
    """Returns the first and the last run that has hosts."""
    runs = [*compress(outlines, counts)]
    return _seen_in(runs[0].run), _seen_in(runs[-1].run)


def _seen_in(run: RunInfo) -> Seen:
    """Returns a run as that in which something was seen."""
    return Seen(run=run.id, started=run.started)


def _subject(id_: str) -> str:
    """Returns what a finding is about: "unread-close (IPv4)", "net.ipv4.tcp_rfc1337"."""
    kind, subject, family = parse_finding_id(id_)
    families = surround(" (", join_family_ids(filter(None, (family,))), ")")
    return f"{_KINDS.get(kind, '')}{subject}{families}"


def _finding_order(finding: FindingHistory) -> tuple[bool, int, str]:
    """Returns the sort key of a finding: open ones first, then the most severe, then by id."""
    return not finding.open, -SEVERITIES.index(finding.severity), finding.id
