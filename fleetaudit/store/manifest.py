"""The plan of a run, recorded in plan.json when it begins, so that it can be resumed. Pure.

Rules: resuming finishes the very same run. If a host, its connection or its experiment differs from
the record, the run is refused with the reason; results are never mixed. The record has no host's
variables: only digests of what follows from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from fleetaudit.errors import InputError
from fleetaudit.model import (
    DECODE_ERRORS,
    Frozen,
    HostPlan,
    HostResult,
    NoTarget,
    NotAudited,
    OtherCommand,
    Plan,
    Secret,
    by_name,
)
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.json_schema import encode_json

PLAN_FORMAT: Literal["fleetaudit-plan/1"] = "fleetaudit-plan/1"
_START_AGAIN = "start the run again; this folder keeps its results"


class ManifestHost(NamedTuple):
    """One host of the plan: digests of its connection and of its experiment."""

    name: str
    connection: str
    experiment: str


class RunManifest(Frozen, frozen=True, kw_only=True):
    """A run as it began. `started` is RFC 3339; relative names start at `folder`; `inventory` is as
    typed. `job` and `command` are as in run.json; `job` is "" in a plan of an earlier version.

    `options` are the options that define the run, by name, as plain JSON values. `explicit_options`
    are the names of those that were set, on the command line or elsewhere, null in a plan of an
    earlier version.
    """

    format: Literal["fleetaudit-plan/1"] = PLAN_FORMAT
    started: str
    fleetaudit: str
    folder: str
    inventory: tuple[str, ...]
    job: str = ""
    command: OtherCommand | UnsetType = UNSET
    options: dict[str, Any] = msgspec.field(name="words")
    explicit_options: tuple[str, ...] | None = msgspec.field(name="given", default=None)
    hosts: tuple[ManifestHost, ...]

    @property
    def verb(self) -> str:
        """The command that began the run and that resumes it: "run" unless it was another one."""
        return self.command or "run"


_decoder = msgspec.json.Decoder(RunManifest)

# The line of a host in the inventory does not count: lines move.
_NOT_IN_EXPERIMENT = ("name", "groups", "target", "scenarios", "sysctls_collect", "origin")
_EXPERIMENT_FIELDS = tuple(
    field for field in HostPlan.__struct_fields__ if field not in _NOT_IN_EXPERIMENT
)


def manifest_hosts(plan: Plan) -> tuple[ManifestHost, ...]:
    """Returns the hosts of the plan as they are recorded.

    Each has a digest of its groups and its connection, and one of its experiment: scenarios,
    trials, isolation and what else the probe gets. Hosts with the same scenarios share one tuple of
    them, so that the tuple is encoded only once.
    """
    shared = dict[tuple[int, int], str]()  # hosts with equal scenarios share one tuple of them

    def experiment(host: HostPlan) -> str:
        key = (id(host.scenarios), id(host.sysctls_collect))
        if key not in shared:
            shared[key] = _digest((host.scenarios, host.sysctls_collect))
        return _digest((shared[key], [getattr(host, field) for field in _EXPERIMENT_FIELDS]))

    return tuple(
        ManifestHost(host.name, _digest((host.groups, _connection(host))), experiment(host))
        for host in plan.hosts
    )


def _connection(host: HostPlan) -> tuple[object, ...]:
    """Returns the target of a host without the line that sets its interpreter: lines move."""
    if isinstance(host.target, NoTarget) or host.target.interpreter is None:
        return (host.target,)
    return msgspec.structs.replace(host.target, interpreter=None), host.target.interpreter.value


def _digest(value: object) -> str:
    """Returns a digest of a value that msgspec can encode; a secret counts only as present."""
    encoded = msgspec.json.encode(value, enc_hook=_encode_secret, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]


def _encode_secret(value: object) -> object:
    """Returns a mark in place of a secret: the digest of a password could be guessed."""
    if isinstance(value, Secret):
        return {"secret": True}
    raise NotImplementedError(f"{type(value).__name__} is not recorded")


def encode_manifest(manifest: RunManifest) -> bytes:
    """Returns the bytes of plan.json, with a line feed at the end.

    Values of options that JSON does not have, such as paths, are written as text.
    """
    return encode_json(manifest, enc_hook=str) + b"\n"


def decode_manifest(text: bytes, *, source: str) -> RunManifest:
    """Returns the manifest in the bytes of a plan.json.

    `source` is the name of the file, for errors. Raises `InputError` if it is not the plan of a
    run, or is the plan of another format.
    """
    try:
        return _decoder.decode(text)
    except DECODE_ERRORS as e:
        raise InputError(
            f"not the plan of a run: {e}", source=source, hint="start the run again"
        ) from e


def refuse_changed_plan(manifest: RunManifest, plan: Plan, version: str, *, source: str) -> None:
    """Raises `InputError` if the plan is not the recorded one.

    A plan is a different one if its hosts, their order, their connections or experiments, or the
    version of fleetaudit changed. `version` is that of this process, and `source` the name of the
    recorded plan, for the error. The error names the hosts, as ranges: "the playbook has changed:
    other experiments: web[1-4], db1".
    """
    if problem := _find_change(manifest, plan, version):
        raise InputError(problem, source=source, hint=_START_AGAIN)


def _find_change(manifest: RunManifest, plan: Plan, version: str) -> str:
    """Returns the first difference between a plan and the recorded one, "" if there is none."""
    if manifest.fleetaudit != version:
        return f"begun by fleetaudit {manifest.fleetaudit}, but this is version {version}"
    recorded = by_name(manifest.hosts)
    planned = by_name(manifest_hosts(plan))
    for message, names in _differences(recorded, planned):
        if names:
            return f"{message}: {_list_hosts(names)}"
    if list(recorded) != list(planned):
        return "the inventory has changed: the order of its hosts is different"
    return ""


def _list_hosts(names: Iterable[str]) -> str:
    """Returns hosts as ranges: "web[1-4], db1 and 3 more"."""
    hosts = fold_hosts(names)
    ranges = ", ".join(hosts.ranges)
    if not hosts.more:
        return ranges
    return f"{ranges} and {hosts.more} more"


def _differences(
    recorded: Mapping[str, ManifestHost], planned: Mapping[str, ManifestHost]
) -> Iterator[tuple[str, list[str]]]:
    """Yields each kind of difference between two plans, and the names of its hosts."""
    changed = "the inventory or the limit has changed"
    yield f"{changed}: removed hosts", _missing(recorded, planned)
    yield f"{changed}: new hosts", _missing(planned, recorded)
    yield (
        "the inventory or the options of the connection have changed: these hosts would be reached"
        " differently",
        _changed(recorded, planned, "connection"),
    )
    yield (
        "the playbook has changed: these hosts would run different scenarios",
        _changed(recorded, planned, "experiment"),
    )


def _missing(hosts: Iterable[str], others: Mapping[str, ManifestHost]) -> list[str]:
    """Returns the names that `others` does not have."""
    return [name for name in hosts if name not in others]


def _changed(
    recorded: Mapping[str, ManifestHost], planned: Mapping[str, ManifestHost], field: str
) -> list[str]:
    """Returns the names of the hosts in both plans that have another digest in `field`."""
    return [
        name
        for name, host in recorded.items()
        if getattr(planned.get(name, host), field) != getattr(host, field)
    ]


def results_to_keep(journal: Iterable[HostResult]) -> dict[str, HostResult]:
    """Returns the results of a journal by host, without the hosts that were only interrupted.

    Those are audited when the run resumes. A host that is in the journal twice has its last result.
    """
    return {host.name: host for host in journal if not _was_interrupted(host)}


def _was_interrupted(host: HostResult) -> bool:
    """Returns whether a host is still to be audited."""
    return isinstance(host, NotAudited) and host.stage == "interrupted"


def remaining_plan(plan: Plan, kept: Mapping[str, HostResult]) -> Plan:
    """Returns the plan without the hosts that have a result already.

    `kept` are the results by host. The hosts stay in the order of the plan.
    """
    rest = tuple(host for host in plan.hosts if host.name not in kept)
    return msgspec.structs.replace(plan, hosts=rest)


def merge_results(
    plan: Plan, kept: Mapping[str, HostResult], new: Iterable[HostResult]
) -> tuple[HostResult, ...]:
    """Returns the result of every host of the plan once, in the plan's order.

    It is a new result, or else a kept one. Raises `KeyError` for a host that has neither, which
    would be a bug: a resumed run audits every host that has no kept result.
    """
    results = {**kept, **by_name(new)}
    return tuple(results[host.name] for host in plan.hosts)
