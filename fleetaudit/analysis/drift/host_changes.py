"""How a host changed: audited or not, another kernel, another machine, gone or new. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import msgspec

from fleetaudit.analysis.causes import cause_title
from fleetaudit.model import (
    Audited,
    Change,
    Effect,
    HostResult,
    Kernel,
    NotAudited,
    NotSelected,
    RunInfo,
)

from .comparable import selection
from .findings import finding_changes, waiver_changes
from .host_diff import HostDiff, RunContext
from .host_pairs import Pair, Pairs
from .resets import reset_changes
from .scenarios import scenario_changes
from .services import service_changes
from .sysctls import sysctl_changes


class HostChanges:
    """Finds the changes of hosts that both runs have, once for those that share all their parts.

    The hosts of both runs exist as long as this object is used.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._systems = dict[Hashable, Hashable]()
        self._found = dict[tuple[int, ...], tuple[Change, ...]]()

    def of(self, pair: Pair) -> Iterator[Change]:
        """Yields all changes of a host, also under another name.

        If one of the runs did not audit it, only its status is compared: "audited", "not audited:
        connect: connection refused". A host under a new name is a change of its own.
        """
        before, after, date = pair.before, pair.after, self._context.after
        if before.name != after.name:
            yield _host_change("renamed", after.name, before.name, after.name, date)
        if isinstance(before, Audited) and isinstance(after, Audited):
            yield from self._audited_changes(before, after)
        elif effect := _status_effect(before, after):
            texts = _describe_status(before), _describe_status(after)
            yield _host_change(effect, after.name, *texts, date)

    def _audited_changes(self, before: Audited, after: Audited) -> Iterator[Change]:
        """Yields the changes of a host that both runs audited."""
        key = tuple(map(id, (*self._parts(before), *self._parts(after))))
        if key not in self._found:
            diff = HostDiff.of(before, after, self._context)
            self._found[key] = tuple(_audited_changes(diff))
        for change in self._found[key]:
            yield msgspec.structs.replace(change, host=after.name)

    def _parts(self, host: Audited) -> tuple[object, ...]:
        """Returns all that is compared of a host but its name, as objects that hosts share."""
        system = host.kernel, host.os, host.isolation, host.void, host.expectations
        shared = self._systems.setdefault(system, system)
        parts = host.observations, host.sysctls, host.findings, host.watch, host.services
        return shared, *parts


def _audited_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields all changes of a host that both runs audited."""
    yield from _system_changes(diff)
    yield from scenario_changes(diff)
    yield from sysctl_changes(diff)
    yield from finding_changes(diff)
    yield from reset_changes(diff)
    yield from service_changes(diff)
    yield from waiver_changes(diff)


def _status_effect(before: HostResult, after: HostResult) -> Effect | None:
    """Returns the effect of a host that at most one run audited, None if nothing changed.

    A host that was not selected before and is not audited now is "newly not audited".
    """
    match before, after:
        case NotSelected(), NotSelected():
            return None
        case _, NotSelected():
            return "no longer selected"
        case NotSelected(), Audited():
            return "newly selected"
        case NotAudited(), NotAudited() if not _fails_otherwise(before, after):
            return None
        case NotAudited(), NotAudited():
            return "changed"
        case _, NotAudited():
            return "newly not audited"
        case _:
            return "audited again"


def _fails_otherwise(before: NotAudited, after: NotAudited) -> bool:
    """Returns whether a host that was not audited in both runs fails for another reason now.

    The stage, the kind and the jump host count, and the finding of a changed host key; addresses do
    not. Runs of earlier versions have no kinds.
    """
    if before.stage != after.stage or _finding_ids(before) != _finding_ids(after):
        return True
    return bool(before.kind) and (before.kind, before.at) != (after.kind, after.at)


def _finding_ids(host: NotAudited) -> set[str]:
    """Returns the ids of the findings of a host."""
    return {finding.id for finding in host.findings}


def _describe_status(host: HostResult) -> str:
    """Returns the status of a host for a reader.

    Such as "audited" and "not audited: connect: connection refused"; for a host that was not
    selected it is the reason alone.
    """
    match host:
        case Audited():
            return "audited"
        case NotAudited():
            return f"not audited: {cause_title(host)}"
        case NotSelected():
            return host.reason


def _host_change(effect: Effect, name: str, before: str, after: str, since: str) -> Change:
    """Returns the change of a host as a whole."""
    return Change(
        effect=effect, kind="host", host=name, what="host", before=before, after=after, since=since
    )


def _system_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of the kernel, the operating system, the isolation and the controls."""
    before, after = diff.before, diff.after
    if before.kernel != after.kernel:
        texts = _describe_kernels(before.kernel, after.kernel)
        yield diff.change("changed", "kernel", "kernel", *texts)
    systems = _describe_system(before), _describe_system(after)
    if systems[0] != systems[1]:
        yield diff.change("changed", "system", "operating system", *systems)
    if before.isolation != after.isolation:
        yield diff.change("changed", "isolation", "isolation", before.isolation, after.isolation)
    if bool(before.void) != bool(after.void):
        texts = _describe_controls(before), _describe_controls(after)
        is_known = not after.void
        yield diff.knowledge_change("controls", "every scenario", *texts, is_known=is_known)


def _describe_kernels(before: Kernel, after: Kernel) -> tuple[str, str]:
    """Returns two different kernels for a reader.

    They are the releases, or release, version and machine if the releases are equal.
    """
    if before.release != after.release:
        return before.release, after.release
    return _describe_kernel(before), _describe_kernel(after)


def _describe_kernel(kernel: Kernel) -> str:
    """Returns all that is known of a kernel.

    These are the release, the version and the machine of uname(2).
    """
    return f"{kernel.release} {kernel.version} {kernel.machine}"


def _describe_system(host: Audited) -> str:
    """Returns the operating system of a host, "" without an os-release(5).

    It is PRETTY_NAME, or else ID and VERSION_ID: "debian 12".
    """
    return host.os.pretty_name or f"{host.os.id} {host.os.version_id}".strip()


def _describe_controls(host: Audited) -> str:
    """Returns whether the positive control of a host holds."""
    if host.void:
        return f"void: {host.void}"
    return "the positive control holds"


def unpaired_changes(
    pairs: Pairs, before: RunInfo, after: RunInfo, context: RunContext
) -> Iterator[Change]:
    """Yields the hosts that were rebuilt and, if both runs selected the same hosts, those that are
    gone or new.

    A host is rebuilt if another machine has its name now (another machine-id); it is not compared
    with the earlier one. With another limit or shard a host that is in one run only says nothing.
    """
    for pair in pairs.rebuilt:
        texts = "one machine", "another machine-id under this name"
        yield _host_change("rebuilt", pair.after.name, *texts, context.after)
    if selection(before) != selection(after):
        return
    absent = "not in the run"
    for host in pairs.gone:
        yield _host_change("gone", host.name, _describe_status(host), absent, context.after)
    for host in pairs.new:
        yield _host_change("new host", host.name, absent, _describe_status(host), context.after)
