"""A run laid side by side: kernel against kernel, sysctl against default, host against host. Pure.

Rules:
- Everything that a report says is decided here; templates only lay it out. Same run, same `Comparison`.
- Every selected host is counted exactly once: `Coverage` adds up, and so does every list of hosts.
- A void host's endings prove nothing: they are counted apart and take no part in any comparison.
- What is large is kept once: hosts that were seen to behave alike share one `Profile`, packets are shown only where
  something deviates or kernels differ, and once for each kernel build that sent the same ones.
- Anchors are made of numbers in the order of appearance, never of text that a host sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Audited, AuditRun, NotAudited, ScenarioRow
from .common import Ground
from .findings import findings_of, short_of
from .hosts import causes_of, production_of, profiles_of
from .kernels import builds_of, classes_of, columns_of, scenarios_of
from .sysctls import sysctls_of
from .views import Comparison, Coverage

__all__ = ["Comparison", "compare"]

MOST_PRODUCTION = 20
"""How many hosts are named among those that abort most."""


def compare(run: AuditRun) -> Comparison:
    """Returns `run` compared with itself: every build, scenario, sysctl and host beside the others."""
    audited = tuple(h for h in run.hosts if isinstance(h, Audited))
    missing = [h for h in run.hosts if isinstance(h, NotAudited)]
    ground = _ground(run.scenarios, audited)
    columns = columns_of(ground)
    sysctls = sysctls_of(audited)
    production = production_of(ground)
    return Comparison(
        run=run.run,
        coverage=Coverage(
            selected=len(run.hosts),
            audited=len(audited),
            not_audited=len(missing),
            void=sum(1 for h in audited if h.void),
            on_host=sum(1 for h in audited if h.isolation == "host"),
        ),
        kernels=classes_of(ground, columns),
        builds=tuple(ground.builds.values()),
        columns=columns,
        findings=findings_of(ground, {s.key: s.anchor for s in sysctls}),
        short=short_of(ground),
        sysctls=sysctls,
        sysctls_read=len({key for h in audited for key in h.sysctls}),
        causes=causes_of(missing),
        profiles=profiles_of(ground, columns),
        scenarios=scenarios_of(ground),
        production=production[:MOST_PRODUCTION],
        production_hosts=len(production),
    )


def _ground(declared: Iterable[ScenarioRow], audited: tuple[Audited, ...]) -> Ground:
    rows = {s.name: s for s in declared}
    for host in audited:  # a run that was merged or cut may show what its list does not name
        for o in host.observations:
            if o.scenario not in rows:
                rows[o.scenario] = _unknown(o.scenario)
    return Ground(
        audited=audited,
        rows=rows,
        anchors={name: f"scenario-{i}" for i, name in enumerate(rows, 1)},
        host_anchors={h.name: f"host-{i}" for i, h in enumerate(audited, 1)},
        builds=builds_of(audited),
    )


def _unknown(name: str) -> ScenarioRow:
    why = "The run does not say what this scenario is."
    return ScenarioRow(name=name, title=name, steps=(), expect=(), severity="info", control=None, because=why)
