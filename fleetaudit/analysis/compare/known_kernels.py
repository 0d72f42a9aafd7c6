"""What the table of kernels says about the builds of a run, as the reports show it. Pure.

Rules: everything comes from the run, where it was put when the run was made; nothing is looked up
again. A difference is never called a patch where a setting may be its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from fleetaudit.model import AuditRun, KnownKernel, TableDifference
from fleetaudit.text.host_ranges import HostRanges

from .common import BuildKey, group_by, join_families
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
    """Returns where hosts do not end a scenario as the table has it for their very build.

    Families of a scenario in which the same hosts differ in the same way are one row.
    """
    rows = list[DifferingHosts]()
    for kernel in run.known_kernels:
        build = builds.get(_key(kernel))
        if build is not None:
            same = group_by(kernel.differences, _without_family)
            rows += [_differing(build, differences) for differences in same.values()]
    return tuple(rows)


def _key(kernel: KnownKernel) -> BuildKey:
    """Returns what identifies a build."""
    return kernel.release, kernel.version, kernel.machine


def _without_family(difference: TableDifference) -> TableDifference:
    """Returns what the families of one row share."""
    return replace(difference, family="ipv4")


def _differing(build: Build, differences: Sequence[TableDifference]) -> DifferingHosts:
    """Returns the view of a difference, of one family or several."""
    first = differences[0]
    return DifferingHosts(
        build=build,
        scenario=first.scenario,
        families=join_families(difference.family for difference in differences),
        table=first.table,
        measured=first.measured,
        hosts=HostRanges(count=first.hosts, ranges=first.names, more=first.more),
        reason=_reason(first),
    )


def _reason(difference: TableDifference) -> str:
    """Returns what the reason of a difference may be."""
    if difference.settings:
        return f"their settings may be the reason: {'; '.join(difference.settings)}"
    return UNEXPLAINED
