"""A run as metrics in the Prometheus text format, for the textfile collector of node_exporter.

Rules:
- Gauges: they are the state of the last run. An alert on "no run for a day" reads the heartbeat.
  One counter, of resets, begins at 0 with every watch.
- Bounded: the MOST_RELEASES releases with most hosts have a label of their own, the rest is
  "other". Only hosts that deviate have a series with their name, at most MOST_HOSTS of them; a
  gauge counts the others. So it is for programs that reset, and for services.
- No series twice: values that become equal when they are escaped are added up. A value that is cut
  ends in a digest of the whole, so that two long names stay two.
- Every series has the name of the job of the run, so that node_exporter reads the files of several
  jobs from one folder. The label is not "job": Prometheus uses that for what it scrapes, and would
  rename ours.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Literal, get_args

import msgspec

from fleetaudit.analysis.compare.common import group_by
from fleetaudit.analysis.history import history_of
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.analysis.production import HostResets, ResetRow, WatchTable, watch_table
from fleetaudit.analysis.services import ServiceRow, ServiceTable, service_table
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    SEVERITIES,
    Audited,
    AuditRun,
    Change,
    Effect,
    Finding,
    HostResult,
    Kernel,
    NotAudited,
    Observation,
    Stage,
)
from fleetaudit.text.kernel_releases import release_key
from fleetaudit.text.sanitize import escape_line

from .common import job_of, parse_moment, seconds_between

MOST_RELEASES = 50
MOST_HOSTS = 200
MOST_PROGRAMS, MOST_HOST_PROGRAMS = 200, 500
MOST_SERVICES = 200
MOST_CHARACTERS = 200
OTHER = "other"

Labels = tuple[tuple[str, str], ...]
HostFindings = tuple[HostResult, list[Finding]]


class _Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A gauge or a counter: its name after "fleetaudit_", its help, and its values by labels.

    One without values is left out.
    """

    name: str
    help: str
    values: Mapping[Labels, float]
    type: Literal["gauge", "counter"] = "gauge"


def render(run: AuditRun) -> str:
    """Returns the metrics, each with its help and type once; the text ends in a line feed.

    In the text exposition format 0.0.4 of Prometheus: "# HELP" and "# TYPE" lines, then a line per
    series, such as `fleetaudit_hosts_selected{audit_job="daily"} 12`.
    """
    audited, not_audited = run.audited, run.not_audited
    metrics = (
        *_run_metrics(run),
        *_host_counts(run, audited, not_audited),
        *_kernel_metrics(run, audited),
        _finding_counts(run.hosts),
        *_watch_metrics(watch_table(audited)),
        *_service_metrics(service_table(audited)),
        *_over_time(run),
        *_deviating_hosts(not_audited, _open_findings(run.hosts)),
    )
    job = _labels(audit_job=job_of(run))
    return "".join(_text(metric, job) for metric in metrics if metric.values)


def beginning_of_info(run: AuditRun) -> str:
    """Returns the beginning of the line `fleetaudit_run_info` in the metrics of this job.

    A file of metrics is of the same job if one of its lines begins so.
    """
    return f"fleetaudit_run_info{{{_join_labels(_labels(audit_job=job_of(run)))},"


# ---- metrics


def _run_metrics(run: AuditRun) -> Iterator[_Metric]:
    """Yields the metrics of the run as a whole."""
    info = run.run
    yield _Metric(
        name="run_info",
        help="Inventory, playbooks and limit of the last run, and the version of fleetaudit.",
        values={
            _labels(
                version=info.fleetaudit,
                inventory=" ".join(info.inventory),
                playbooks=" ".join(info.playbooks),
                limit=info.limit or "",
            ): 1
        },
    )
    finished = parse_moment(info.finished)
    if finished:
        yield _number(
            "run_finished_timestamp_seconds",
            "End of the last run, in seconds since 1970: the heartbeat.",
            int(finished.timestamp()),
        )
    seconds = seconds_between(info.started, info.finished)
    if seconds is not None:
        yield _number("run_duration_seconds", "Duration of the last run in seconds.", seconds)
    if info.status is not None:
        yield _number("run_status", "Exit status of the last run.", info.status)
    yield _number(
        "run_notes",
        "Notes about the last run: expired waivers, and waivers that excuse nothing.",
        len(info.notes),
    )


def _host_counts(
    run: AuditRun, audited: Sequence[Audited], not_audited: Sequence[NotAudited]
) -> Iterator[_Metric]:
    """Yields how many hosts were selected, audited, not audited, and so on."""
    not_selected = len(run.not_selected)
    void = sum(bool(host.void) for host in audited)
    in_host_namespace = sum(host.isolation == "host" for host in audited)
    yield _number("hosts_selected", "Hosts that were selected for the last run.", len(run.hosts))
    yield _number("hosts_audited", "Hosts that were audited.", len(audited))
    yield _Metric(
        name="hosts_not_audited",
        help="Hosts that were not audited, by the stage that failed.",
        values=_count_by_stage(not_audited),
    )
    yield _number("hosts_not_selected", "Hosts that no play matches.", not_selected)
    yield _number("hosts_void", "Audited hosts on which the positive control failed.", void)
    yield _number(
        "hosts_in_host_namespace",
        "Audited hosts measured in their own network namespace, where their firewall takes part.",
        in_host_namespace,
    )


def _count_by_stage(not_audited: Iterable[NotAudited]) -> Counter[Labels]:
    """Returns the number of hosts by stage, 0 for stages at which none failed."""
    stages = Counter({_labels(stage=stage): 0 for stage in get_args(Stage)})
    stages.update(_labels(stage=host.stage) for host in not_audited)
    return stages


def _kernel_metrics(run: AuditRun, audited: Sequence[Audited]) -> Iterator[_Metric]:
    """Yields hosts by kernel release, and hosts by release, scenario, family and ending."""
    kept = _most_frequent_releases(audited)
    scenarios = frozenset(row.name for row in run.scenarios)
    hosts, endings = Counter[Labels](), Counter[Labels]()

    def ending_labels(kernel: Kernel, o: Observation, is_void: bool) -> Labels:
        return _labels(
            release=_keep(_label_value(kernel.release), kept),
            scenario=_keep(o.scenario, scenarios),
            family=o.family,
            ending="void" if is_void else o.ending,
        )

    labels_of = once_per_object(ending_labels)
    for host, number in _hosts_with_equal_endings(audited):
        release = _keep(_label_value(host.kernel.release), kept)
        hosts[_labels(release=release)] += number
        for o in host.observations:
            endings[labels_of(host.kernel, o, bool(host.void))] += number
    yield _Metric(name="hosts_by_kernel", help="Audited hosts by kernel release.", values=hosts)
    yield _Metric(
        name="endings",
        help="Hosts by kernel release, scenario, family and what close() put on the wire.",
        values=endings,
    )


def _hosts_with_equal_endings(audited: Iterable[Audited]) -> Iterator[tuple[Audited, int]]:
    """Yields the first of the hosts that share their observations, and how many these are."""
    found = group_by(
        audited, lambda host: (host.kernel.release, id(host.observations), bool(host.void))
    )
    return ((hosts[0], len(hosts)) for hosts in found.values())


def _most_frequent_releases(audited: Iterable[Audited]) -> frozenset[str]:
    """Returns the releases with most hosts, as the values of labels."""
    hosts = Counter(_label_value(host.kernel.release) for host in audited)
    order = sorted(hosts, key=lambda release: (-hosts[release], release_key(release), release))
    return frozenset(order[:MOST_RELEASES])


def _keep(value: str, known: frozenset[str]) -> str:
    """Returns a known value, or "other"."""
    return value if value in known else OTHER


def _finding_counts(hosts: Iterable[HostResult]) -> _Metric:
    """Returns the number of findings by severity and waiver, 0 where there are none."""
    values = Counter(
        {_labels(severity=s, waived=w): 0 for s, w in product(SEVERITIES, ("false", "true"))}
    )
    for same in group_by(hosts, lambda host: id(host.findings)).values():
        for finding in same[0].findings:
            values[_finding_labels(finding)] += len(same)
    return _Metric(
        name="findings", help="Expectations not met, by severity and whether waived.", values=values
    )


def _finding_labels(finding: Finding) -> Labels:
    """Returns severity and waiver of a finding."""
    return _labels(severity=finding.severity, waived=str(finding.waived is not None).lower())


def _watch_metrics(table: WatchTable) -> Iterator[_Metric]:
    """Yields who resets, by host and over the fleet; nothing if no host was to be watched.

    The rows with most resets have a series; `series_left_out` counts the others.
    """
    if not table.asked:
        return
    by_host = _rows_by_host(table)
    yield _number("hosts_watched", "Audited hosts that were watched.", len(table.hosts))
    yield _number(
        "hosts_not_watched",
        "Audited hosts that could not be watched.",
        table.asked - len(table.hosts),
    )
    yield _Metric(
        name="resets_total",
        help="RSTs that a program of a host sent during the last watch, by local port and reason.",
        values=_add_up((_row_labels(row, host=host), row.count) for host, row in by_host),
        type="counter",
    )
    yield _Metric(
        name="resets_per_minute",
        help="The same over all hosts, per minute.",
        values=_add_up(
            (_row_labels(row), row.per_minute or 0.0) for row in table.rows[:MOST_PROGRAMS]
        ),
    )
    rows = sum(len(host.rows) for host in table.hosts)
    yield _Metric(
        name="series_left_out",
        help="Rows of who resets beyond the bound on series.",
        values={
            _labels(metric="fleetaudit_resets_total"): rows - len(by_host),
            _labels(metric="fleetaudit_resets_per_minute"): len(table.rows[MOST_PROGRAMS:]),
        },
    )


def _service_metrics(table: ServiceTable) -> Iterator[_Metric]:
    """Yields how services answer and close, over the fleet; nothing if none were to be asked.

    The services that lose most answers have a series, at most MOST_SERVICES of them.
    """
    rows = table.rows[:MOST_SERVICES]
    yield _Metric(
        name="service_answers",
        help="Clients of a service that got an answer, and that lost it, by the way of writing.",
        values=_add_up(itertools.chain.from_iterable(map(_answer_counts, rows))),
    )
    yield _Metric(
        name="service_idle_seconds",
        help="The shortest time after which a service closed an idle connection.",
        values=dict(sorted(itertools.chain.from_iterable(map(_idle_seconds, rows)), reverse=True)),
    )
    yield _Metric(
        name="service_not_asked",
        help="Hosts on which a service, or one of its checks, could not be asked.",
        values=_add_up(
            (_labels(service=each.service, check=each.check), each.hosts.count)
            for each in table.not_asked[:MOST_SERVICES]
        ),
    )


def _answer_counts(row: ServiceRow) -> Iterator[tuple[Labels, float]]:
    """Yields how many clients got an answer and how many lost it, by check and way of writing."""
    for check in row.checks:
        labels = {"service": row.service, "check": check.check, "writing": check.writing}
        if check.asks_answer:
            yield _labels(**labels, outcome="answered"), check.answered
            yield _labels(**labels, outcome="lost"), check.lost


def _idle_seconds(row: ServiceRow) -> list[tuple[Labels, float]]:
    """Returns after how many seconds a service closed an idle connection, if it did."""
    closed = [check.seconds for check in row.of("idle") if check.seconds]
    return [(_labels(service=row.service), soonest) for soonest, _ in closed]


def _rows_by_host(table: WatchTable) -> list[tuple[str, HostResets]]:
    """Returns the rows of all hosts with most resets, each with the name of its host."""
    rows = [(host.host, row) for host in table.hosts for row in host.rows]
    return sorted(rows, key=lambda pair: -pair[1].count)[:MOST_HOST_PROGRAMS]


def _row_labels(row: HostResets | ResetRow, **more: str) -> Labels:
    """Returns the labels of a program, its port and the reason, after those of `more`."""
    program = row.program
    executable = program.executable or program.name
    return _labels(**more, executable=executable, port=program.port_text, reason=row.reason)


def _add_up(pairs: Iterable[tuple[Labels, float]]) -> Mapping[Labels, float]:
    """Returns the sum of the values of equal labels."""
    sums = dict[Labels, float]()
    for labels, value in pairs:
        sums[labels] = sums.get(labels, 0) + value
    return sums


def _over_time(run: AuditRun) -> Iterator[_Metric]:
    """Yields what the history of a job shows of each of its runs, from the same numbers."""
    outline = outline_of(run)
    (found,) = history_of([outline]).runs
    yield _number("hosts_unmet", "Hosts with a finding that is not waived.", found.hosts_unmet or 0)
    yield _Metric(
        name="hosts_by_ending",
        help="Audited hosts by their ending of the main scenario, over all families.",
        values={
            _labels(scenario=outline.scenario, ending=ending): hosts
            for ending, hosts in found.endings
        },
    )
    yield _Metric(
        name="hosts_by_series",
        help="Audited hosts by kernel series.",
        values=_count_by_series(found.series),
    )
    if found.resets_per_thousand is not None:
        yield _number(
            "resets_per_thousand",
            "Connections closed with unread data per 1,000 connections, since the run before.",
            found.resets_per_thousand,
        )
    yield _number(
        "hosts_measured",
        "Hosts whose counters are in fleetaudit_resets_per_thousand.",
        found.hosts_measured,
    )
    if run.drift is not None and not run.drift.refused:
        yield _Metric(
            name="changes",
            help="Changes since the run before, by what they mean.",
            values=_count_changes(run.drift.changes),
        )


def _count_by_series(series: Sequence[tuple[str, int]]) -> Counter[Labels]:
    """Returns the hosts by kernel series; those with most hosts have a label of their own."""
    kept = frozenset(dict(Counter(dict(series)).most_common(MOST_RELEASES)))
    hosts = Counter[Labels]()
    for name, number in series:
        hosts[_labels(series=_keep(name, kept))] += number
    return hosts


def _count_changes(changes: Iterable[Change]) -> Counter[Labels]:
    """Returns the number of changes by effect, 0 for effects that none has."""
    found = Counter({_labels(effect=effect): 0 for effect in get_args(Effect)})
    found.update(_labels(effect=change.effect) for change in changes)
    return found


def _open_findings(hosts: Iterable[HostResult]) -> list[HostFindings]:
    """Returns the hosts with a warning or an error that is not waived, and these findings."""
    found = list[HostFindings]()
    for host in hosts:
        open_ = [f for f in host.findings if f.waived is None and f.severity != "info"]
        if open_:
            found.append((host, open_))
    return found


def _deviating_hosts(
    not_audited: Sequence[NotAudited], open_findings: Sequence[HostFindings]
) -> Iterator[_Metric]:
    """Yields series with the names of hosts that need attention, and how many are left out."""
    named = not_audited[:MOST_HOSTS]
    yield _Metric(
        name="host_not_audited",
        help="A host that was not audited, and the stage that failed.",
        values=Counter(_labels(host=host.name, stage=host.stage) for host in named),
    )
    findings = Counter[Labels]()
    for host, open_ in open_findings[:MOST_HOSTS]:
        findings.update(_labels(host=host.name, severity=f.severity) for f in open_)
    yield _Metric(
        name="host_findings",
        help="Unwaived warnings and errors of a host that has any.",
        values=findings,
    )
    yield _Metric(
        name="hosts_left_out",
        help="Hosts beyond the bound on series with the name of a host.",
        values={
            _labels(metric="fleetaudit_host_not_audited"): len(not_audited[MOST_HOSTS:]),
            _labels(metric="fleetaudit_host_findings"): len(open_findings[MOST_HOSTS:]),
        },
    )


# ---- the text format


def _number(name: str, help_: str, value: float) -> _Metric:
    """Returns a gauge with one value and no labels."""
    return _Metric(name=name, help=help_, values={(): value})


def _labels(**values: str) -> Labels:
    """Returns labels with escaped values."""
    return tuple((name, _label_value(value)) for name, value in values.items())


def _label_value(text: str) -> str:
    """Returns a text as the value of a label, with a digest in the place of what is cut off."""
    shown = escape_line(text, MOST_CHARACTERS)
    if len(text) <= MOST_CHARACTERS:
        return shown
    return shown + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _text(metric: _Metric, job: Labels) -> str:
    """Returns the lines of a metric; `job` are labels that every series has."""
    name = f"fleetaudit_{metric.name}"
    lines = [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.type}"]
    for labels, value in metric.values.items():
        lines.append(f"{name}{{{_join_labels(job + labels)}}} {value}")
    return "\n".join(lines) + "\n"


def _join_labels(labels: Labels) -> str:
    """Returns the labels as they stand between the braces of a series."""
    return ",".join(f'{name}="{_escape(text)}"' for name, text in labels)


def _escape(text: str) -> str:
    """Returns a value as it stands between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
