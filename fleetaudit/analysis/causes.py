"""Groups the hosts that could not be audited by cause, for every output. Pure.

Rules: a cause is a stage, a kind (`errors.FailureKind`) and, if a jump host failed, that jump host.
Address, port and fingerprint are details of it. A failure without a kind, as runs of earlier
versions have, is grouped by its text, in which the names of the host are masked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from fleetaudit.text.host_ranges import MAX_RANGES, HostRanges, fold_hosts

from .stages import stage_order

HOST_PLACEHOLDER = "‹host›"
"""Replaces the names of a host in a reason that several hosts share."""

_COMMANDS = frozenset(
    [
        "ansible",
        "ansible-inventory",
        "ansible-playbook",
        "apk",
        "apt",
        "apt-get",
        "cat",
        "cd",
        "chage",
        "chmod",
        "command",
        "dnf",
        "doas",
        "echo",
        "file",
        "fleetaudit",
        "getent",
        "grep",
        "grubby",
        "ip",
        "iptables",
        "ls",
        "mkdir",
        "modprobe",
        "nc",
        "nft",
        "passwd",
        "printf",
        "reboot",
        "rpm",
        "sed",
        "service",
        "ss",
        "ssh",
        "ssh-add",
        "ssh-keygen",
        "ssh-keyscan",
        "su",
        "sudo",
        "sysctl",
        "systemctl",
        "tee",
        "ulimit",
        "uname",
        "yum",
        "zypper",
    ]
)
"""The first words of hints and remedies that are commands; other texts are sentences."""


class Failure(Protocol):
    """A host that could not be audited: `model.NotAudited` or `doctor.HostCheck`."""

    @property
    def name(self) -> str:
        """The host."""
        ...

    @property
    def stage(self) -> str | None:
        """The stage at which it failed."""
        ...

    @property
    def kind(self) -> str:
        """An `errors.FailureKind`; "" if the kind is unknown."""
        ...

    @property
    def at(self) -> str:
        """What failed, if not the host itself, such as "jump host gate"."""
        ...

    @property
    def reason(self) -> str:
        """The reason, a sentence."""
        ...

    @property
    def hint(self) -> str:
        """The next command to type."""
        ...


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A detail that hosts of one cause share, such as an address and a port."""

    reason: str
    hosts: HostRanges


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that could not be audited for one cause, which `title` describes.

    `details` are the reasons of its first dozen hosts, () if the title says everything;
    `undetailed` counts the hosts in none of them. `hints` are (host, next command to type) of its
    first dozen hosts; `typed` is false if they are sentences instead.
    """

    anchor: str
    stage: str
    title: str
    hosts: HostRanges
    details: tuple[Detail, ...]
    undetailed: int
    hints: tuple[tuple[str, str], ...]
    typed: bool


F = TypeVar("F", bound=Failure)


def _own_name(failure: Failure) -> tuple[str, ...]:
    """Returns the name of a host as the only one that may be in its reason."""
    return (failure.name,)


def group_by_cause(
    failures: Iterable[F], names: Callable[[F], Iterable[str]] = _own_name
) -> tuple[tuple[Cause, ...], dict[str, str]]:
    """Returns the causes in the order of their stages, and the anchor of each host's cause by the
    name of the host.

    `names` returns the names and addresses of a host that may be in its reason; they are masked
    where a failure has no kind. Anchors are "cause-1", "cause-2" and so on.
    """
    groups = dict[tuple[str, str], list[F]]()
    for failure in failures:
        key = (failure.stage or "", _group_title(failure, names))
        groups.setdefault(key, []).append(failure)
    causes, anchors = list[Cause](), dict[str, str]()
    for stage, title in sorted(groups, key=lambda key: stage_order(key[0])):
        group = groups[stage, title]
        anchor = f"cause-{len(causes) + 1}"
        causes.append(_make_cause(anchor, title, group))
        anchors |= {failure.name: anchor for failure in group}
    return tuple(causes), anchors


def _group_title(failure: F, names: Callable[[F], Iterable[str]]) -> str:
    """Returns the title by which a failure is grouped."""
    if failure.kind:
        return cause_title(failure)
    return f"{failure.stage}: {_mask_names(failure.reason, names(failure))}"


def cause_title(failure: Failure) -> str:
    """Returns the stage and kind of a failure: "connect: connection refused (jump host gate)".

    If the failure has no kind, it is the stage and the reason.
    """
    if not failure.kind:
        return f"{failure.stage}: {failure.reason}"
    if failure.kind == failure.stage:
        return failure.kind
    at = f" ({failure.at})" if failure.at else ""
    return f"{failure.stage}: {failure.kind}{at}"


def is_command(text: str) -> bool:
    """Returns whether a hint or a remedy is a command to type rather than a sentence.

    A command begins with the path of a program, or with a program that is known. A remedy that a
    playbook names may be either.
    """
    first = text.partition(" ")[0]
    return first in _COMMANDS or first.startswith("/")


def _make_cause(anchor: str, title: str, failures: Sequence[F]) -> Cause:
    """Returns the cause of failures that are grouped by `title`.

    Its reasons are details. Without a kind the title has the reason already: the original one if
    all hosts have the same, else the one in which names are masked.
    """
    reasons = _hosts_by_reason(failures)
    if not failures[0].kind:
        title = cause_title(failures[0]) if len(reasons) == 1 else title
        reasons = {}
    details = _make_details(reasons)
    return Cause(
        anchor=anchor,
        stage=failures[0].stage or "",
        title=title,
        hosts=fold_hosts(failure.name for failure in failures),
        details=details,
        undetailed=_count(reasons) - sum(detail.hosts.count for detail in details),
        hints=_first_hints(failures),
        typed=all(map(is_command, filter(None, (failure.hint for failure in failures)))),
    )


def _make_details(reasons: Mapping[str, Sequence[str]]) -> tuple[Detail, ...]:
    """Returns the first dozen reasons with their hosts."""
    first = itertools.islice(reasons.items(), MAX_RANGES)
    return tuple(Detail(reason=reason, hosts=fold_hosts(hosts)) for reason, hosts in first)


def _count(reasons: Mapping[str, Sequence[str]]) -> int:
    """Returns the number of hosts of all reasons."""
    return sum(map(len, reasons.values()))


def _first_hints(failures: Sequence[Failure]) -> tuple[tuple[str, str], ...]:
    """Returns the hints of the first dozen hosts, with the names of these."""
    first = failures[:MAX_RANGES]
    return tuple((failure.name, failure.hint) for failure in first if failure.hint)


def _hosts_by_reason(failures: Iterable[Failure]) -> dict[str, list[str]]:
    """Returns the names of the hosts by the reason of their failure."""
    reasons = dict[str, list[str]]()
    for failure in failures:
        reasons.setdefault(failure.reason, []).append(failure.name)
    return reasons


def _mask_names(reason: str, names: Iterable[str]) -> str:
    """Returns the reason with a placeholder for each name of the host.

    A longer name goes first, and a name counts only as a whole: "db3" is not masked in "db33", nor
    in "db3.example.net" or "x-db3". A port may follow.
    """
    longest_first = sorted(filter(None, set(names)), key=len, reverse=True)
    if not longest_first:
        return reason
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(
        rf"(?<![\w.:-])(?:{pattern})(?![\w-]|\.\w|:(?!\d+\b)\w)", HOST_PLACEHOLDER, reason
    )
