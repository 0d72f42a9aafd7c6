"""Between which two kernels an ending changes. Pure.

Rules: `Bisection` is what `fleetaudit bisect --format json` prints (schema in
`fleetaudit/schema/`), so renaming a key is a breaking change. An ending that is unknown is neither
equal to another one nor different from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from fleetaudit.model import EXPECTABLE_ENDINGS, Audited, Family, Frozen, HostResult, Observation
from fleetaudit.store.bisection_state import KernelResult
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of
from fleetaudit.text.phrases import surround

from .model import (
    BISECT_FORMAT,
    BisectedKernel,
    Bisection,
    EndingChange,
    ListedKernel,
    SkippedKernel,
)
from .order import OrderedKernels, series_of
from .search import Change, Key, Measured, Values, find_changes, find_ends

__all__ = [
    "Bisection",
    "Followed",
    "bisection_of",
    "describe_unknown",
    "encode",
    "json_schema",
    "measured_of",
    "result_of",
    "values_of",
]

NOT_BOOTED = KernelResult(status="not audited")
"""Stands for a kernel that has no result."""


class Followed(Frozen, frozen=True, kw_only=True):
    """The endings that are followed: `names` are NAME or NAME/FAMILY, none for every scenario;
    `family` is the only family, "" for every one.
    """

    names: tuple[str, ...] = ()
    family: str = ""

    def includes(self, key: Key) -> bool:
        """Returns whether the ending of a scenario over a family is followed."""
        scenario, family = key
        is_named = not self.names or scenario in self.names or f"{scenario}/{family}" in self.names
        return is_named and self.family in ("", family)


def result_of(host: HostResult) -> KernelResult:
    """Returns what a kernel did, out of the result of its host."""
    if not isinstance(host, Audited):
        return KernelResult(
            status="not audited",
            stage=host.stage or "",
            kind=host.kind,
            reason=host.reason,
            hint=host.hint,
        )
    observations = () if host.void else host.observations
    endings, unknown = dict[str, str](), dict[str, str]()
    for observation in observations:
        key = f"{observation.scenario}/{observation.family}"
        if problem := _problem(observation):
            unknown[key] = problem
        else:
            endings[key] = observation.ending
    return KernelResult(
        status="audited",
        reason=host.void,
        release=host.kernel.release,
        version=host.kernel.version,
        endings=endings,
        unknown=unknown,
    )


def _problem(observation: Observation) -> str:
    """Returns why an ending is unknown, "" if it is known."""
    if observation.ending not in EXPECTABLE_ENDINGS:
        return observation.ending + surround(": ", observation.reason)
    if observation.is_mixed:
        return f"the trials disagree: {', '.join(sorted(observation.endings))}"
    return ""


def values_of(result: KernelResult, followed: Followed) -> Values:
    """Returns the known endings of a kernel that are followed."""
    keys = {_parse_key(name): ending for name, ending in result.endings.items()}
    return {key: ending for key, ending in keys.items() if followed.includes(key)}


def describe_unknown(result: KernelResult, followed: Followed) -> str:
    """Returns why no ending of a kernel is known that is followed; "" if one is."""
    if result.reason or values_of(result, followed):
        return result.reason
    unknown = (
        f"{name}: {why}"
        for name, why in result.unknown.items()
        if followed.includes(_parse_key(name))
    )
    return next(unknown, "nothing that is followed ran")


def measured_of(
    kernels: Sequence[ListedKernel], results: Mapping[str, KernelResult], followed: Followed
) -> Measured:
    """Returns the kernels that have a result, by their place; `results` are by image."""
    return {
        place: values_of(results[kernel.sha256], followed)
        for place, kernel in enumerate(kernels)
        if kernel.sha256 in results
    }


def bisection_of(
    ordered: OrderedKernels,
    results: Mapping[str, KernelResult],
    followed: Followed,
    *,
    titles: Mapping[str, str],
    fleetaudit: str,
) -> Bisection:
    """Returns what the results show.

    `titles` are those of the scenarios, `fleetaudit` is the version.
    """
    kernels = ordered.kernels
    measured = measured_of(kernels, results, followed)
    found = find_changes(measured)
    changes = tuple(_change(change, kernels, results, titles) for change in found)
    ends = [place for place in find_ends(len(kernels), measured) if place in measured]
    oldest, newest = (*(kernels[place].label for place in ends), None, None)[:2]
    if len({*ends}) < 2:
        oldest = newest = None
    compared = _count_compared(ends, measured)
    return Bisection(
        fleetaudit=fleetaudit,
        series=series_of(kernels[0]),
        order=ordered.order,
        kernels=tuple(_kernel(kernel, results, followed) for kernel in kernels),
        oldest=oldest,
        newest=newest,
        compared=compared,
        unknown=_count_endings(ends, kernels, results, followed) - compared,
        changes=changes,
        complete=oldest is not None and not any(change.skipped for change in changes),
    )


def encode(bisection: Bisection) -> bytes:
    """Returns a bisection as JSON (docs/formats.md), with a line feed at the end."""
    return escape_json(encode_json(bisection)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a bisection, as in `fleetaudit/schema/bisect.schema.json`."""
    return json_schema_of(Bisection, BISECT_FORMAT)


def _parse_key(name: str) -> Key:
    """Returns the scenario and the family of "SCENARIO/FAMILY"."""
    scenario, _, family = name.rpartition("/")
    return scenario, family


def _count_compared(ends: Sequence[int], measured: Measured) -> int:
    """Returns how many endings are known at both ends."""
    if len({*ends}) < 2:
        return 0
    return len(measured[ends[0]].keys() & measured[ends[1]].keys())


def _count_endings(
    ends: Sequence[int],
    kernels: Sequence[ListedKernel],
    results: Mapping[str, KernelResult],
    followed: Followed,
) -> int:
    """Returns how many endings are followed that ran, or should have run, at one of the ends."""
    at_ends = [results[kernels[place].sha256] for place in ends]
    names = {name for result in at_ends for name in (*result.endings, *result.unknown)}
    return sum(followed.includes(_parse_key(name)) for name in names)


def _kernel(
    kernel: ListedKernel, results: Mapping[str, KernelResult], followed: Followed
) -> BisectedKernel:
    """Returns a kernel with its result."""
    listed = {name: getattr(kernel, name) for name in kernel.__struct_fields__}
    result = results.get(kernel.sha256)
    if result is None:
        return BisectedKernel(status="not booted", **listed)
    return BisectedKernel(
        status=result.status,
        stage=result.stage,
        kind=result.kind,
        reason=describe_unknown(result, followed),
        hint=result.hint,
        endings=result.endings,
        **listed,
    )


def _change(
    change: Change,
    kernels: Sequence[ListedKernel],
    results: Mapping[str, KernelResult],
    titles: Mapping[str, str],
) -> EndingChange:
    """Returns a change with the labels of its kernels."""
    scenario, family = change.key
    between = kernels[change.before + 1 : change.after]
    return EndingChange(
        scenario=scenario,
        family=cast("Family", family),
        title=titles.get(scenario, ""),
        before=kernels[change.before].label,
        after=kernels[change.after].label,
        ending_before=change.values[0],
        ending_after=change.values[1],
        skipped=tuple(_skipped(between, results, f"{scenario}/{family}")),
    )


def _skipped(
    kernels: Sequence[ListedKernel], results: Mapping[str, KernelResult], key: str
) -> Iterator[SkippedKernel]:
    """Yields the kernels between two others, with the reason why their ending is unknown."""
    for kernel in kernels:
        result = results.get(kernel.sha256, NOT_BOOTED)
        reason = result.unknown.get(key) or result.reason or "not booted"
        yield SkippedKernel(label=kernel.label, reason=reason)
