"""Compares the hosts of one run: by kernel, by sysctl, by behaviour and with an earlier run. Pure.

Rules:
- Everything that a report says is decided here; templates only lay it out. The same run gives the
  same `Comparison`.
- Every selected host is counted exactly once: `Coverage` adds up, and so does every list of hosts.
- The endings of a void host prove nothing: they are counted apart and take part in no comparison.
- What is large is kept once: hosts with the same behaviour share one `Profile`; packets are shown
  only where something deviates or kernels differ, and once for all hosts with the same evidence.
- Anchors are numbers in the order of appearance, never text that a host sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleetaudit.analysis.causes import group_by_cause
from fleetaudit.analysis.production import watch_table
from fleetaudit.analysis.services import service_table
from fleetaudit.caching.shared_parts import distinct_objects
from fleetaudit.model import (
    Audited,
    AuditRun,
    Drift,
    PastRun,
    ScenarioRow,
)

from .behaviour_groups import group_by_behaviour
from .changes import number_changes, summarize_changes
from .columns import make_columns
from .common import fold_names
from .comparison_input import ComparisonInput
from .findings import count_unmet_hosts, group_findings
from .heat_map import make_heat_map
from .highlight import choose_highlight
from .host_index import index_hosts
from .kernels import (
    chart_series,
    classify_kernels,
    make_builds,
    view_scenarios,
)
from .known_kernels import find_differing_hosts, group_known_builds
from .listed_rows import rows_by_host
from .met_expectations import count_met
from .not_run import group_not_run
from .production import rank_production
from .profiles import make_profiles
from .resets import view_resets
from .scenario_groups import group_by_scenario
from .services import view_services
from .status import decide_status, lead_finding
from .story import tell_story
from .summary import SummaryInput, summarize
from .sysctls import view_sysctls
from .trace_pairs import pair_traces
from .view_model import NOT_SELECTED, Changes, Comparison, Coverage

__all__ = [
    "Comparison",
    "compare",
    "history_entry",
    "summarize_changes",
    "undeclared_scenario",
]

MOST_PRODUCTION = 20
"""How many hosts with most aborts are listed."""


def compare(run: AuditRun, drift: Drift | None = None) -> Comparison:
    """Returns the hosts of `run` compared with each other.

    `drift` is what changed since an earlier run; by default what the run itself has. A run without
    hosts has a comparison too.
    """
    drift = drift or run.drift
    source = _input(run)
    coverage = _coverage(run)
    builds = tuple(source.builds.values())
    columns = make_columns(source)
    kernels = classify_kernels(builds, columns)
    met = count_met(columns, source.audited, source.groups)
    sysctl_table = view_sysctls(source.audited)
    sysctls = sysctl_table.views
    sysctl_anchors = {sysctl.key: sysctl.anchor for sysctl in sysctls}
    findings = group_findings(source, sysctl_anchors)
    unmet_hosts = count_unmet_hosts(source.audited)
    causes, cause_anchors = group_by_cause(source.not_audited)
    profiles = make_profiles(source, columns)
    production = rank_production(source.audited, profiles.anchors)
    not_selected = run.not_selected
    anchors = {host.name: NOT_SELECTED for host in not_selected}
    anchors.update(profiles.anchors)
    anchors.update(cause_anchors)
    changes, change_rows = _changes(drift, {**source.anchors, **sysctl_anchors})
    summary_input = SummaryInput(
        coverage=coverage,
        met=met,
        kernels=kernels,
        builds=builds,
        columns=columns,
        findings=findings,
        unmet_hosts=unmet_hosts,
        changes=changes,
        causes=causes,
        production=production,
    )
    watch, services = watch_table(source.audited), service_table(source.audited)
    resets_view, services_view = view_resets(watch), view_services(services, source)
    labels, rows = rows_by_host(resets_view, services_view)
    trace_pairs = pair_traces(source, columns, profiles.traces)
    return Comparison(
        run=run.run,
        status=decide_status(summary_input, run.run, source.audited),
        highlight=choose_highlight(trace_pairs, profiles.profiles, lead_finding(findings)),
        coverage=coverage,
        met=met,
        not_run=group_not_run(source.groups),
        kernels=kernels,
        builds=builds,
        columns=columns,
        heat_map=make_heat_map(builds, columns),
        findings=findings,
        unmet_hosts=unmet_hosts,
        sysctls=sysctls,
        sysctls_read=_count_sysctls(source.audited),
        causes=causes,
        not_selected=fold_names(not_selected),
        profiles=profiles.profiles,
        scenarios=view_scenarios(source),
        production=production[:MOST_PRODUCTION],
        production_hosts=len(production),
        summary=summarize(summary_input),
        series=chart_series(builds, columns),
        trace_pairs=trace_pairs,
        hosts=index_hosts(
            run.hosts,
            source,
            anchors=anchors,
            production=production,
            sysctls=sysctl_table.rows_by_host(),
            rows=rows,
            drift=drift,
            change_rows=change_rows,
        ),
        watch=watch,
        services=services,
        story=tell_story(summary_input, run.run, (watch, resets_view), (services, services_view)),
        resets_view=resets_view,
        services_view=services_view,
        labels=labels,
        known_builds=group_known_builds(run, source.builds),
        differing_hosts=find_differing_hosts(run, source.builds),
        changes=changes,
        past=(*run.history, history_entry(run)) if run.history else (),
    )


def _changes(
    drift: Drift | None, links: Mapping[str, str]
) -> tuple[Changes | None, Mapping[int, int]]:
    """Returns what changed and the row of each change, None without an earlier run."""
    if drift is None:
        return None, {}
    return number_changes(drift, links)


def history_entry(run: AuditRun) -> PastRun:
    """Returns the counts of a run, as the history of later runs has them.

    `PastRun.short` counts hosts with an open finding, each once, by the worst severity.
    """
    coverage = _coverage(run)
    return PastRun(
        run=run.run.id,
        started=run.run.started,
        selected=coverage.selected,
        audited=coverage.audited,
        not_audited=coverage.not_audited,
        not_selected=coverage.not_selected,
        short=count_unmet_hosts(run.audited),
    )


def _coverage(run: AuditRun) -> Coverage:
    """Returns the hosts of a run, counted by status."""
    audited = run.audited
    not_audited = len(run.not_audited)
    return Coverage(
        selected=len(run.hosts),
        audited=len(audited),
        not_audited=not_audited,
        not_selected=len(run.hosts) - len(audited) - not_audited,
        void=sum(bool(host.void) for host in audited),
        on_host=sum(host.isolation == "host" for host in audited),
    )


def _count_sysctls(audited: Iterable[Audited]) -> int:
    """Returns how many different sysctls were read."""
    return len(set[str]().union(*distinct_objects(host.sysctls for host in audited)))


def _input(run: AuditRun) -> ComparisonInput:
    """Returns the hosts and scenarios of a run as the parts of the comparison need them."""
    audited = run.audited
    groups = group_by_behaviour(audited)
    by_scenario = group_by_scenario(groups)
    scenarios = _scenarios(run.scenarios, by_scenario)
    return ComparisonInput(
        audited=audited,
        not_audited=run.not_audited,
        groups=groups,
        by_scenario=by_scenario,
        scenarios=scenarios,
        anchors={name: f"scenario-{i}" for i, name in enumerate(scenarios, 1)},
        builds=make_builds(audited),
    )


def _scenarios(declared: Iterable[ScenarioRow], observed: Iterable[str]) -> dict[str, ScenarioRow]:
    """Returns the scenarios by name, also those that a merged or cut run does not declare."""
    scenarios = {row.name: row for row in declared}
    return scenarios | {
        name: undeclared_scenario(name) for name in observed if name not in scenarios
    }


def undeclared_scenario(name: str) -> ScenarioRow:
    """Returns the row of a scenario of which only the name is known."""
    because = "The run does not say what this scenario is."
    return ScenarioRow(
        name=name, title=name, steps=(), expect=(), severity="info", control=None, because=because
    )
