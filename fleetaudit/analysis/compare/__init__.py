"""A run laid side by side: kernel against kernel, sysctl against default, host against host. Pure.

Rules:
- Everything that a report says is decided here; templates only lay it out. Same run, same
  `Comparison`.
- Every selected host is counted exactly once: `Coverage` adds up, and so does every list of hosts.
- A void host's endings prove nothing: they are counted apart and take no part in any comparison.
- What is large is kept once: hosts that were seen to behave alike share one `Profile`, packets are
  shown only where something deviates or kernels differ, and once for all hosts whose witnesses said
  the same.
- Anchors are made of numbers in the order of appearance, never of text that a host sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.analysis.causes import group_by_cause
from fleetaudit.model import (
    Audited,
    AuditRun,
    Drift,
    NotAudited,
    NotSelected,
    PastRun,
    ScenarioRow,
)

from .behaviour_groups import alike_of
from .changes import summarize_changes
from .common import Ground, names_of
from .findings import findings_of, short_of
from .host_index import hosts_of
from .hosts import production_of, profiles_of
from .kernels import (
    builds_of,
    classes_of,
    columns_of,
    scenarios_of,
    series_of_columns,
)
from .met_expectations import met_of
from .summary import answers_of
from .sysctls import sysctls_of
from .trace_pairs import duels_of
from .view_model import NOT_SELECTED, Comparison, Coverage

__all__ = ["Comparison", "compare", "history_entry", "summarize_changes"]

MOST_PRODUCTION = 20
"""How many hosts are named among those that abort most."""


def compare(run: AuditRun, drift: Drift | None = None) -> Comparison:
    """Returns `run` compared with itself: every build, scenario, sysctl and host beside the others.

    `drift` is what changed since an earlier run, where there was one; without it, what the run
    itself carries.
    """
    drift = drift or run.drift
    audited = tuple(h for h in run.hosts if isinstance(h, Audited))
    missing = tuple(h for h in run.hosts if isinstance(h, NotAudited))
    unmatched = tuple(h for h in run.hosts if isinstance(h, NotSelected))
    ground = _ground(run.scenarios, audited, missing)
    coverage = _coverage(run)
    columns = columns_of(ground)
    kernels = classes_of(ground, columns)
    sysctls = sysctls_of(audited)
    links = {s.key: s.anchor for s in sysctls}
    findings, short = findings_of(ground, links), short_of(audited)
    causes, of_missing = group_by_cause(missing)
    shown = profiles_of(ground, columns)
    places = {**shown.anchors, **of_missing, **{h.name: NOT_SELECTED for h in unmatched}}
    felt = production_of(ground, shown.anchors)
    changes = summarize_changes(drift, {**ground.anchors, **links}) if drift else None
    builds, met = tuple(ground.builds.values()), met_of(columns, audited, ground.alike)
    return Comparison(
        run=run.run,
        coverage=coverage,
        met=met,
        kernels=kernels,
        builds=builds,
        columns=columns,
        findings=findings,
        short=short,
        sysctls=sysctls,
        sysctls_read=len({key for h in audited for key in h.sysctls}),
        causes=causes,
        not_selected=names_of(unmatched),
        profiles=shown.profiles,
        scenarios=scenarios_of(ground),
        production=felt[:MOST_PRODUCTION],
        production_hosts=len(felt),
        answers=answers_of(
            coverage=coverage,
            met=met,
            kernels=kernels,
            builds=builds,
            columns=columns,
            findings=findings,
            short=short,
            changes=changes,
            causes=causes,
            felt=felt,
        ),
        series=series_of_columns(builds, columns),
        duels=duels_of(ground, columns, shown.traces),
        hosts=hosts_of(
            run.hosts,
            builds=ground.builds,
            anchors=places,
            felt=felt,
            alike=ground.alike,
            drift=drift,
        ),
        changes=changes,
        past=(*run.history, history_entry(run)) if run.history else (),
    )


def history_entry(run: AuditRun) -> PastRun:
    """Returns a run in numbers, as the history of the runs after it has it."""
    coverage = _coverage(run)
    return PastRun(
        run=run.run.id,
        started=run.run.started,
        selected=coverage.selected,
        audited=coverage.audited,
        not_audited=coverage.not_audited,
        not_selected=coverage.not_selected,
        short=short_of(h for h in run.hosts if isinstance(h, Audited)),
    )


def _coverage(run: AuditRun) -> Coverage:
    audited = [h for h in run.hosts if isinstance(h, Audited)]
    return Coverage(
        selected=len(run.hosts),
        audited=len(audited),
        not_audited=sum(1 for h in run.hosts if isinstance(h, NotAudited)),
        not_selected=sum(1 for h in run.hosts if isinstance(h, NotSelected)),
        void=sum(1 for h in audited if h.void),
        on_host=sum(1 for h in audited if h.isolation == "host"),
    )


def _ground(
    declared: Iterable[ScenarioRow], audited: tuple[Audited, ...], missing: tuple[NotAudited, ...]
) -> Ground:
    rows = {s.name: s for s in declared}
    alike = alike_of(audited)
    for first, *_ in alike:  # a run that was merged or cut may show what its list does not name
        for o in first.observations:
            if o.scenario not in rows:
                rows[o.scenario] = _unknown(o.scenario)
    return Ground(
        audited=audited,
        missing=missing,
        alike=alike,
        rows=rows,
        anchors={name: f"scenario-{i}" for i, name in enumerate(rows, 1)},
        builds=builds_of(audited),
    )


def _unknown(name: str) -> ScenarioRow:
    why = "The run does not say what this scenario is."
    return ScenarioRow(
        name=name, title=name, steps=(), expect=(), severity="info", control=None, because=why
    )
