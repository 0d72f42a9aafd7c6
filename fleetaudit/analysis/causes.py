"""Groups hosts that could not be audited by cause, for the page, the terminal, doctor and mail
alike. Pure.

Rules: a cause is a stage and a kind (`errors.FailureKind`), and the jump host where that failed.
Address, port and fingerprint are details of it. A failure without a kind, as runs of older releases
have them, is grouped by its text, in which the host's names are masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fleetaudit.text.host_ranges import MAX_RANGES, HostRanges, fold_hosts

HOST_PLACEHOLDER = "‹host›"
"""Stands for the names of a host in a reason that several hosts share."""

STAGES = (
    "inventory",
    "resolve",
    "connect",
    "host key",
    "authenticate",
    "become",
    "interpreter",
    "namespaces",
    "execute",
    "decode",
    "report",
    "interrupted",
)
"""The stages of a run and of `doctor`, in the order in which causes are reported."""

_COMMANDS = frozenset(
    [
        "ansible-inventory",
        "cat",
        "cd",
        "chage",
        "chmod",
        "command",
        "doas",
        "file",
        "fleetaudit",
        "getent",
        "grep",
        "ls",
        "mkdir",
        "nc",
        "passwd",
        "ssh",
        "ssh-add",
        "ssh-keygen",
        "ssh-keyscan",
        "su",
        "sudo",
    ]
)


class Failure(Protocol):
    """A host that could not be audited: `model.NotAudited`, or a visit of doctor."""

    @property
    def name(self) -> str:
        """The host."""
        ...

    @property
    def stage(self) -> str | None:
        """Where it failed."""
        ...

    @property
    def kind(self) -> str:
        """An `errors.FailureKind`; "" if the kind is unknown."""
        ...

    @property
    def at(self) -> str:
        """What failed, if that was not the host itself: such as "jump host gate"."""
        ...

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        ...

    @property
    def hint(self) -> str:
        """The next command to type."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A detail that hosts of one cause share, such as an address and a port."""

    reason: str
    hosts: HostRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Hosts that could not be audited for one cause, `title` in words.

    `details` are the reasons of its first dozen hosts, () if the title says everything;
    `undetailed` counts the hosts in none of them. `hints` are (host, next command to type) of its
    first dozen hosts; `typed` is false if they are sentences.
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


def group_by_cause(
    failures: Iterable[F], names: Callable[[F], Iterable[str]] = lambda failure: (failure.name,)
) -> tuple[tuple[Cause, ...], dict[str, str]]:
    """Returns the causes in the order of their stages, and the anchor of each host's cause by its
    name.

    `names` are the names and addresses of a host that may be in its reason.
    """
    groups = dict[tuple[str, str], list[F]]()
    for failure in failures:
        title = (
            cause_title(failure)
            if failure.kind
            else f"{failure.stage}: {_masked(failure.reason, names(failure))}"
        )
        groups.setdefault((failure.stage or "", title), []).append(failure)
    order = sorted(
        groups, key=lambda key: STAGES.index(key[0]) if key[0] in STAGES else len(STAGES)
    )
    causes = tuple(
        _cause(f"cause-{i}", title, groups[stage, title])
        for i, (stage, title) in enumerate(order, 1)
    )
    anchors = {
        f.name: cause.anchor for cause, key in zip(causes, order, strict=True) for f in groups[key]
    }
    return causes, anchors


def cause_title(failure: Failure) -> str:
    """Returns stage and kind in words; without a kind, stage and reason."""
    if not failure.kind:
        return f"{failure.stage}: {failure.reason}"
    at = f" ({failure.at})" if failure.at else ""
    return failure.kind if failure.kind == failure.stage else f"{failure.stage}: {failure.kind}{at}"


def is_command(hint: str) -> bool:
    """Returns whether a hint is a command to type rather than a sentence."""
    first = hint.partition(" ")[0]
    return first in _COMMANDS or first.startswith("/")


def _cause(anchor: str, title: str, failures: Sequence[F]) -> Cause:
    first = failures[0]
    reasons = dict[str, list[str]]()
    for failure in failures:
        reasons.setdefault(failure.reason, []).append(failure.name)
    if not first.kind:
        title = cause_title(first) if len(reasons) == 1 else title
        reasons = {}
    shown = list(reasons.items())[:MAX_RANGES]
    return Cause(
        anchor=anchor,
        stage=first.stage or "",
        title=title,
        hosts=fold_hosts(failure.name for failure in failures),
        details=tuple(Detail(reason=reason, hosts=fold_hosts(hosts)) for reason, hosts in shown),
        undetailed=sum(map(len, reasons.values())) - sum(len(hosts) for _, hosts in shown),
        hints=tuple(
            (failure.name, failure.hint) for failure in failures[:MAX_RANGES] if failure.hint
        ),
        typed=all(is_command(failure.hint) for failure in failures if failure.hint),
    )


def _masked(reason: str, names: Iterable[str]) -> str:
    """Returns the reason with a mark where the host is named."""
    longest_first = "|".join(
        re.escape(name) for name in sorted(set(names) - {""}, key=len, reverse=True)
    )
    if not longest_first:
        return reason
    return re.sub(
        rf"(?<![\w.:-])(?:{longest_first})(?![\w-]|\.\w|:(?!\d+\b)\w)", HOST_PLACEHOLDER, reason
    )
