"""What a run was asked, recorded when it begins, so that it can be resumed: plan.json. Pure.

Rules: resuming finishes the very same run, so a host, a way to it or an experiment that differs
from the record is refused in words, never mixed in. The record has no host's variables: only
digests of what follows from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from fleetaudit.errors import InputError
from fleetaudit.model import (
    DECODE_ERRORS,
    Frozen,
    HostPlan,
    HostResult,
    LocalTarget,
    NotAudited,
    Plan,
    Secret,
    SshTarget,
)
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.json_schema import encode_json

PLAN_FORMAT: Literal["fleetaudit-plan/1"] = "fleetaudit-plan/1"


class ManifestHost(NamedTuple):
    """One host of the plan: `way` is a digest of how it is reached, `what` one of what it is asked."""

    name: str
    way: str
    what: str


class RunManifest(Frozen, frozen=True, kw_only=True):
    """A run as it began. `started` is RFC 3339; `folder` is where relative names start; `inventory`
    as it was typed. `job` is as in run.json, "" in a plan of an earlier version.

    `words` are the options that make the run what it is, by name, as plain JSON values; `given` are
    the names of those that somebody gave, on the command line or elsewhere, null in a plan of an
    earlier version.
    """

    format: Literal["fleetaudit-plan/1"] = PLAN_FORMAT
    started: str
    fleetaudit: str
    folder: str
    inventory: tuple[str, ...]
    job: str = ""
    words: dict[str, Any]
    given: tuple[str, ...] | None = None
    hosts: tuple[ManifestHost, ...]


_decoder = msgspec.json.Decoder(RunManifest)


def manifest_hosts(plan: Plan) -> tuple[ManifestHost, ...]:
    """Returns the plan's hosts as they are recorded."""
    # The line of a host in the inventory does not count: lines move.
    apart = ("name", "groups", "target", "scenarios", "sysctls_collect", "origin")
    rest = [field for field in HostPlan.__struct_fields__ if field not in apart]
    whats = dict[
        tuple[int, int], str
    ]()  # hosts that are asked the same share one tuple of scenarios

    def what(host: HostPlan) -> str:
        key = (id(host.scenarios), id(host.sysctls_collect))
        if key not in whats:
            whats[key] = _digest((host.scenarios, host.sysctls_collect))
        return _digest((whats[key], [getattr(host, field) for field in rest]))

    return tuple(
        ManifestHost(host.name, _digest((host.groups, _way(host))), what(host))
        for host in plan.hosts
    )


def _way(host: HostPlan) -> tuple[object, ...]:
    """Returns how a host is reached, without the line that sets its interpreter: lines move."""
    if not isinstance(host.target, SshTarget | LocalTarget) or host.target.interpreter is None:
        return (host.target,)
    return msgspec.structs.replace(host.target, interpreter=None), host.target.interpreter.value


def _digest(value: object) -> str:
    return hashlib.sha256(
        msgspec.json.encode(value, enc_hook=_no_secret, order="deterministic")
    ).hexdigest()[:16]


def _no_secret(value: object) -> object:
    """A digest of a password could be guessed at, so the record only has that there is one."""
    if isinstance(value, Secret):
        return {"secret": True}
    raise NotImplementedError(f"{type(value).__name__} is not recorded")


def encode_manifest(asked: RunManifest) -> bytes:
    """Returns the bytes of plan.json."""
    return encode_json(asked, enc_hook=str) + b"\n"


def decode_manifest(text: bytes, *, source: str) -> RunManifest:
    """Returns the record in the bytes of a plan.json; raises `InputError`."""
    try:
        return _decoder.decode(text)
    except DECODE_ERRORS as e:
        raise InputError(
            f"not the plan of a run: {e}", source=source, hint="run it again from its beginning"
        ) from e


def refuse_changed_plan(asked: RunManifest, plan: Plan, version: str, *, source: str) -> None:
    """Raises `InputError` where the plan of now is not the recorded one: by whom, what, or which
    fleetaudit.
    """
    hint = "run it again from its beginning; the folder keeps what was gathered"
    if asked.fleetaudit != version:
        raise InputError(
            f"begun by fleetaudit {asked.fleetaudit}, and this is {version}",
            source=source,
            hint=hint,
        )
    then, now = (
        {host.name: host for host in hosts} for hosts in (asked.hosts, manifest_hosts(plan))
    )
    for names, words in (
        (
            [name for name in then if name not in now],
            "the inventory or the limit has changed: no longer there",
        ),
        (
            [name for name in now if name not in then],
            "the inventory or the limit has changed: not there before",
        ),
        (
            _differing(then, now, "way"),
            "the inventory or the options of the connection have changed: reached otherwise",
        ),
        (_differing(then, now, "what"), "the playbook has changed: asked something else"),
    ):
        if names:
            folded = fold_hosts(names)
            more = f" and {folded.more} more" if folded.more else ""
            raise InputError(f"{words}: {', '.join(folded.ranges)}{more}", source=source, hint=hint)
    if list(then) != list(now):
        raise InputError(
            "the inventory has changed: its hosts are in another order", source=source, hint=hint
        )


def _differing(
    then: Mapping[str, ManifestHost], now: Mapping[str, ManifestHost], field: str
) -> list[str]:
    return [
        name
        for name in then
        if name in now and getattr(then[name], field) != getattr(now[name], field)
    ]


def results_to_keep(journal: Iterable[HostResult]) -> dict[str, HostResult]:
    """Returns what a journal has told of each host; one that was only interrupted is still to be
    audited.
    """
    return {
        host.name: host
        for host in journal
        if not (isinstance(host, NotAudited) and host.stage == "interrupted")
    }


def remaining_plan(plan: Plan, told: Mapping[str, HostResult]) -> Plan:
    """Returns the plan without the hosts that are told already."""
    return msgspec.structs.replace(
        plan, hosts=tuple(host for host in plan.hosts if host.name not in told)
    )


def merge_results(
    plan: Plan, told: Mapping[str, HostResult], new: Iterable[HostResult]
) -> tuple[HostResult, ...]:
    """Returns every host of the plan once, in its order: those `told` before and the `new` ones."""
    every = {**told, **{host.name: host for host in new}}
    return tuple(every[host.name] for host in plan.hosts)
