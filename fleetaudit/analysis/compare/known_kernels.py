"""What the table of kernels says about the builds of a run, as the reports show it. Pure.

Rules: everything comes from the run, where it was put when the run was made; nothing is looked up
again. A difference is never called a patch where a setting may be its reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleetaudit.model import AuditRun, KnownKernel, TableDifference
from fleetaudit.text.host_ranges import HostRanges

from .common import FAMILY_NAMES, BuildKey, group_by
from .view_model import Build, DifferingHosts, KnownBuilds

UNEXPLAINED = (
    "a local patch, a module or BPF program of these hosts, or a fault of fleetaudit: please"
    " report it"
)
MOST_DIFFERENCES = 20
"""How many differences the reports list; the others are counted."""


def group_known_builds(run: AuditRun, builds: Mapping[BuildKey, Build]) -> tuple[KnownBuilds, ...]:
    """Returns the builds of a run with the same statement of the table, in numeric order.

    Builds that nothing is known of, as in a run of an earlier version, are not among them.
    """
    known = {_key(kernel): kernel for kernel in run.known_kernels}
    stated = [(build, known[key]) for key, build in builds.items() if key in known]
    by_text = group_by(stated, lambda pair: pair[1].known)
    return tuple(
        KnownBuilds(known=text, builds=tuple(build for build, _ in pairs))
        for text, pairs in by_text.items()
    )


def find_differing_hosts(
    run: AuditRun, builds: Mapping[BuildKey, Build]
) -> tuple[DifferingHosts, ...]:
    """Returns where hosts do not end a scenario as the table has it for their very build."""
    return tuple(
        _differing(builds[_key(kernel)], difference)
        for kernel in run.known_kernels
        for difference in kernel.differences
        if _key(kernel) in builds
    )


def _key(kernel: KnownKernel) -> BuildKey:
    """Returns what identifies a build."""
    return kernel.release, kernel.version, kernel.machine


def _differing(build: Build, difference: TableDifference) -> DifferingHosts:
    """Returns the view of one difference."""
    return DifferingHosts(
        build=build,
        scenario=difference.scenario,
        families=FAMILY_NAMES[difference.family],
        table=difference.table,
        measured=difference.measured,
        hosts=HostRanges(count=difference.hosts, ranges=difference.names, more=difference.more),
        may_be_settings=bool(difference.settings),
        reason=_reason(difference),
    )


def _reason(difference: TableDifference) -> str:
    """Returns what the reason of a difference may be."""
    if difference.settings:
        return f"their settings may be the reason: {'; '.join(difference.settings)}"
    return UNEXPLAINED
