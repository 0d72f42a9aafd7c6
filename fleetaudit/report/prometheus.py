"""A run as metrics in the Prometheus text format, for the textfile collector of node_exporter.

Rules:
- Gauges only: they are the state of the last run, and a rule about "a day without a run" reads the
  heartbeat.
- Bounded: releases are the MOST_RELEASES with most hosts, the rest is "other"; a series with a
  host's name is made only for hosts that deviate, and for MOST_HOSTS of them at most, with a gauge
  that counts those left out.
- No series twice: what becomes alike when it is made `escape_line` or cut is added up.
- Every series has the name of the run's job, so that node_exporter takes the files of several jobs
  from one folder. The label is not “job”: that is Prometheus's own for what it scrapes, and it
  would rename ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    AuditRun,
    HostResult,
    NotAudited,
    NotSelected,
    Stage,
)
from fleetaudit.store.jobs import job_name as name_from_options
from fleetaudit.text.kernel_releases import release_key
from fleetaudit.text.sanitize import escape_line

from .common import lasted, moment

MOST_RELEASES = 50
MOST_HOSTS = 200
MOST_CHARACTERS = 200
OTHER = "other"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    """A gauge: its name after "fleetaudit_", its help, its values by labels; one without values is
    left out.
    """

    name: str
    help: str
    values: Counter[Labels]


def render(run: AuditRun) -> str:
    """Returns the metrics, each with its help and type once; it ends in a line feed."""
    audited = [host for host in run.hosts if isinstance(host, Audited)]
    missing = [host for host in run.hosts if isinstance(host, NotAudited)]
    metrics = (
        *_of_run(run),
        *_of_hosts(run, audited, missing),
        *_of_kernels(run, audited),
        *_of_findings(run.hosts),
    )
    job = _labels(audit_job=job_name(run))
    return "".join(
        _text(metric, job)
        for metric in (*metrics, *_deviating(run.hosts, missing))
        if metric.values
    )


def job_name(run: AuditRun) -> str:
    """Returns the name of the run's job, also of a run of an earlier version, which does not have
    it.
    """
    return run.run.job or name_from_options(run.run)


def beginning_of_info(run: AuditRun) -> str:
    """Returns the text with which the line of `fleetaudit_run_info` begins in the metrics of this
    run's job.
    """
    return f"fleetaudit_run_info{{{_inside(_labels(audit_job=job_name(run)))},"


def _of_run(run: AuditRun) -> Iterator[_Metric]:
    info = run.run
    finished, seconds = moment(info.finished), lasted(info.started, info.finished)
    about = _labels(
        version=info.fleetaudit,
        inventory=" ".join(info.inventory),
        playbooks=" ".join(info.playbooks),
        limit=info.limit or "",
    )
    yield _Metric(
        name="run_info",
        help=(
            "Inventory, playbooks and limit of the last run, and the version of fleetaudit that"
            " made it."
        ),
        values=Counter({about: 1}),
    )
    if finished:
        yield _one(
            "run_finished_timestamp_seconds",
            "When the last run finished, in seconds since 1970: the heartbeat.",
            int(finished.timestamp()),
        )
    if seconds is not None:
        yield _one("run_duration_seconds", "How long the last run took.", seconds)
    yield _one(
        "run_notes",
        "Sentences about the last run as a whole: waivers that expired, and waivers that excuse"
        " nothing.",
        len(info.notes),
    )


def _of_hosts(
    run: AuditRun, audited: list[Audited], missing: list[NotAudited]
) -> Iterator[_Metric]:
    yield _one("hosts_selected", "Hosts that the last run was to audit.", len(run.hosts))
    yield _one("hosts_audited", "Hosts that answered.", len(audited))
    stages = Counter({_labels(stage=stage): 0 for stage in get_args(Stage)})
    stages.update(_labels(stage=host.stage) for host in missing)
    yield _Metric(
        name="hosts_not_audited",
        help="Hosts that were not audited, by the stage that failed.",
        values=stages,
    )
    yield _one(
        "hosts_not_selected",
        "Hosts that no play matches.",
        sum(1 for host in run.hosts if isinstance(host, NotSelected)),
    )
    yield _one(
        "hosts_void",
        "Audited hosts where the positive control failed.",
        sum(1 for h in audited if h.void),
    )
    yield _one(
        "hosts_in_host_namespace",
        "Audited hosts that were measured in their own network namespace, firewall included.",
        sum(1 for h in audited if h.isolation == "host"),
    )


def _of_kernels(run: AuditRun, audited: list[Audited]) -> Iterator[_Metric]:
    releases = Counter(_value(host.kernel.release) for host in audited)
    most = sorted(releases, key=lambda r: (-releases[r], release_key(r), r))[:MOST_RELEASES]
    kept, named = frozenset(most), frozenset(row.name for row in run.scenarios)
    hosts, endings = Counter[Labels](), Counter[Labels]()
    for host in audited:
        release = _value(host.kernel.release)
        release = release if release in kept else OTHER
        hosts[_labels(release=release)] += 1
        for o in host.observations:
            scenario = o.scenario if o.scenario in named else OTHER
            ending = "void" if host.void else o.ending
            endings[
                _labels(release=release, scenario=scenario, family=o.family, ending=ending)
            ] += 1
    yield _Metric(name="hosts_by_kernel", help="Audited hosts by kernel release.", values=hosts)
    yield _Metric(
        name="endings",
        help="Hosts by kernel release, scenario, family and what close() put on the wire.",
        values=endings,
    )


def _of_findings(hosts: Iterable[HostResult]) -> Iterator[_Metric]:
    values = Counter(
        {_labels(severity=s, waived=w): 0 for s in SEVERITIES for w in ("false", "true")}
    )
    for host in hosts:
        values.update(
            _labels(severity=f.severity, waived=str(f.waived is not None).lower())
            for f in host.findings
        )
    yield _Metric(
        name="findings", help="Expectations not met, by severity and whether waived.", values=values
    )


def _deviating(hosts: Iterable[HostResult], missing: list[NotAudited]) -> Iterator[_Metric]:
    """The hosts by name that ask for somebody: not audited, or with an unwaived warning or error."""
    gone = Counter(_labels(host=host.name, stage=host.stage) for host in missing[:MOST_HOSTS])
    short = [
        (host, [f for f in host.findings if f.waived is None and f.severity != "info"])
        for host in hosts
    ]
    short = [(host, findings) for host, findings in short if findings]
    found = Counter(
        _labels(host=host.name, severity=f.severity)
        for host, findings in short[:MOST_HOSTS]
        for f in findings
    )
    yield _Metric(
        name="host_not_audited",
        help="A host that was not audited, and at which stage.",
        values=gone,
    )
    yield _Metric(
        name="host_findings",
        help="Unwaived warnings and errors of a host that has any.",
        values=found,
    )
    left_out = Counter(
        {
            _labels(metric="fleetaudit_host_not_audited"): max(0, len(missing) - MOST_HOSTS),
            _labels(metric="fleetaudit_host_findings"): max(0, len(short) - MOST_HOSTS),
        }
    )
    yield _Metric(
        name="hosts_left_out",
        help="Hosts beyond the bound on series with a host's name.",
        values=left_out,
    )


# ---- the text format
# -----------------------------------------------------------------------------------------------


def _one(name: str, help_: str, value: int) -> _Metric:
    return _Metric(name=name, help=help_, values=Counter({(): value}))


def _labels(**values: str) -> Labels:
    return tuple((name, _value(value)) for name, value in values.items())


def _value(text: str) -> str:
    return escape_line(text, MOST_CHARACTERS)


def _text(metric: _Metric, job: Labels) -> str:
    name = f"fleetaudit_{metric.name}"
    lines = [f"# HELP {name} {metric.help}", f"# TYPE {name} gauge"]
    lines += (
        f"{name}{{{_inside(job + labels)}}} {value}" for labels, value in metric.values.items()
    )
    return "\n".join(lines) + "\n"


def _inside(labels: Labels) -> str:
    return ",".join(f'{label}="{_escape(text)}"' for label, text in labels)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
