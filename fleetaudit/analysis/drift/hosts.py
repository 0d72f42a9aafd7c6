"""What became of a host: reached or not, another kernel, another machine, gone or new. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.causes import cause_title
from fleetaudit.model import (
    Audited,
    Change,
    Effect,
    HostResult,
    NotAudited,
    NotSelected,
    RunInfo,
)

from .comparable import selected
from .findings import other_findings, waivers
from .host_diff import HostDiff, RunContext, by_id
from .host_pairs import Pair, Pairs
from .scenarios import scenarios
from .sysctls import sysctls


def on_host(pair: Pair, ground: RunContext) -> Iterator[Change]:
    """Yields all that changed on a host that both runs have."""
    before, after = pair.before, pair.after
    if before.name != after.name:
        yield _host("renamed", after.name, before.name, after.name, ground.after)
    if not isinstance(before, Audited) or not isinstance(after, Audited):
        if effect := _reached(before, after):
            yield _host(effect, after.name, _standing(before), _standing(after), ground.after)
        return
    laid = HostDiff(before, after, ground, by_id(before), by_id(after))
    yield from _what_it_is(laid)
    yield from scenarios(laid)
    yield from sysctls(laid)
    yield from other_findings(laid)
    yield from waivers(laid)


def _reached(before: HostResult, after: HostResult) -> Effect | None:
    """Returns what it means that a host was audited in one of the two runs at most, None where
    nothing changed.
    """
    match before, after:
        case NotSelected(), NotSelected():
            return None
        case _, NotSelected():
            return "no longer selected"
        case NotSelected(), Audited():
            return "newly selected"
        case NotAudited(), NotAudited():
            other = (
                before.stage != after.stage
                or _kind_changed(before, after)
                or _ids(before) != _ids(after)
            )
            return "changed" if other else None
        case _, NotAudited():
            return "newly not audited"
        case _:
            return "audited again"


def _kind_changed(before: NotAudited, after: NotAudited) -> bool:
    """Returns whether a host fails in another way; runs of older releases have no kinds."""
    return bool(before.kind) and (before.kind, before.at) != (after.kind, after.at)


def _ids(host: NotAudited) -> set[str]:
    return {finding.id for finding in host.findings}


def _standing(host: HostResult) -> str:
    match host:
        case Audited():
            return "audited"
        case NotAudited():
            return f"not audited: {cause_title(host)}"
        case NotSelected():
            return host.reason


def _host(effect: Effect, name: str, before: str, after: str, since: str) -> Change:
    return Change(
        effect=effect, kind="host", host=name, what="host", before=before, after=after, since=since
    )


def _what_it_is(laid: HostDiff) -> Iterator[Change]:
    before, after = laid.before, laid.after
    if before.kernel != after.kernel:
        words = (
            (before.kernel.release, after.kernel.release)
            if before.kernel.release != after.kernel.release
            else tuple(
                f"{k.release} {k.version} {k.machine}" for k in (before.kernel, after.kernel)
            )
        )
        yield laid.change("changed", "kernel", "kernel", *words)
    systems = [h.os.pretty_name or f"{h.os.id} {h.os.version_id}".strip() for h in (before, after)]
    if systems[0] != systems[1]:
        yield laid.change("changed", "system", "operating system", *systems)
    if before.isolation != after.isolation:
        yield laid.change("changed", "isolation", "isolation", before.isolation, after.isolation)
    if bool(before.void) != bool(after.void):
        effect: Effect = "no longer told" if after.void else "told again"
        words = tuple(
            f"void: {h.void}" if h.void else "the positive control holds" for h in (before, after)
        )
        yield laid.change(effect, "controls", "every scenario", *words)


def hosts_that_differ(
    pairs: Pairs, before: RunInfo, after: RunInfo, ground: RunContext
) -> Iterator[Change]:
    """Yields the hosts that were rebuilt and, where both runs were about the same hosts, those that
    are gone or new.
    """
    for pair in pairs.rebuilt:
        yield _host(
            "rebuilt",
            pair.after.name,
            "one machine",
            "another machine-id under this name",
            ground.after,
        )
    if selected(before) == selected(after):
        yield from (
            _host("gone", h.name, _standing(h), "not in the run", ground.after) for h in pairs.gone
        )
        yield from (
            _host("new host", h.name, "not in the run", _standing(h), ground.after)
            for h in pairs.new
        )
