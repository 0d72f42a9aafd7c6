"""Compares what a host did while it was watched with expectations, and names who reset. Pure.

Rules:
- A host that could not be watched has a finding that says so: nobody knows whether it resets.
- A program that resets because of unread data has a finding of severity info, expected or not: its
  peers lose data, and somebody must know the program.
- Such a finding has neither a count nor a rate: they differ in every run, and hosts with the same
  program share the finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from msgspec import UNSET

from fleetaudit.analysis.production import HostResets, ProgramPort, host_resets
from fleetaudit.analysis.remediation import CLOSE_REMEDY, WATCH_REMEDIES
from fleetaudit.model import UNREAD_DATA, Audited, Finding, HostPlan, Watched
from fleetaudit.text.phrases import and_more
from fleetaudit.text.sanitize import printable_line

from .findings import UNKNOWN, applying_by_name, find_unmet, make_finding
from .numbers import Number, check_number

NOT_WATCHED = "not-watched:host"
"""The id of the finding of a host that could not be watched."""
MOST_PROGRAMS = 20
"""How many programs of a host have a finding, those with most resets first."""
MOST_NAMED = 3
MOST_NAME = 64

_BECAUSE = (
    "A program that closes a connection with unread data makes the kernel send a RST (RFC 2525"
    " section 2.17): what the peer has not read yet is lost."
)


def judge_watch(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields the findings of a host that was to be watched: that it could not be, the numbers that
    do not meet their expectations, and the programs that reset because of unread data.
    """
    if plan.watch is None or audited.watch is UNSET:
        return
    watched = audited.watch
    rows = host_resets(watched)
    for name, expectations in applying_by_name(plan.watch_expect, audited):
        number = _measure(name, watched, rows)
        if unmet := find_unmet(partial(check_number, number), expectations):
            remedy = watched.hint or WATCH_REMEDIES.get(name, "")
            yield make_finding(f"watch:{name}", unmet, str(number), remedy)
    if watched.problem:
        yield _not_watched(watched, plan.watch.seconds)
    yield from _programs(rows)


def _not_watched(watched: Watched, seconds: float) -> Finding:
    """Returns the finding of a host that could not be watched."""
    return Finding(
        id=NOT_WATCHED,
        severity="warning",
        expected=f"watched for {seconds:g} s",
        observed=UNKNOWN + watched.problem,
        because="Nobody knows which programs of this host reset connections.",
        fix=watched.hint,
    )


# ---- the programs


def _programs(rows: Iterable[HostResets]) -> Iterator[Finding]:
    """Yields a finding for each program and port that reset because of unread data."""
    programs = dict.fromkeys(row.program for row in rows if row.reason == UNREAD_DATA)
    findings = dict[str, Finding]()
    for program in programs:
        finding = _program_finding(program)
        findings.setdefault(finding.id, finding)
    yield from [*findings.values()][:MOST_PROGRAMS]


def _program_finding(program: ProgramPort) -> Finding:
    """Returns the finding of one program; its name is the host's text, made printable."""
    return Finding(
        id=program_id(program),
        severity="info",
        expected="no reset because of unread data",
        observed=f"resets by {printable_line(program.executable) or program.name}",
        because=_BECAUSE,
        fix=CLOSE_REMEDY,
    )


def program_id(program: ProgramPort) -> str:
    """Returns the id of the finding of a program: "resets:haproxy:8443"."""
    return f"resets:{printable_line(program.name, MOST_NAME)}:{program.port_text}"


# ---- the numbers


def _every_reason(_row: HostResets) -> bool:
    return True


def _is_unread_data(row: HostResets) -> bool:
    return row.reason == UNREAD_DATA


def _count(watched: Watched, rows: Iterable[HostResets]) -> Number:
    """Returns how many resets the rows have, with the programs that sent most."""
    listed = [*rows]
    value = sum(row.count for row in listed)
    return Number(value, watched.is_partial, _describe(listed))


def _rate(watched: Watched, rows: Iterable[HostResets]) -> Number:
    """Returns how many resets a minute the rows have."""
    count = _count(watched, rows)
    if not watched.seconds or count.value is None:
        return Number(None, note="the host does not say for how long it was watched")
    return count._replace(value=60.0 * count.value / watched.seconds)


def _describe(rows: list[HostResets]) -> str:
    """Returns the programs with most resets: "haproxy:8443 12, nginx:80 2 and 1 more"."""
    named = [
        f"{printable_line(str(row.program), MOST_NAME)} {row.count:,}" for row in rows[:MOST_NAMED]
    ]
    return ", ".join(named) + and_more(len(rows) - MOST_NAMED)


Measure = Callable[[Watched, Iterable[HostResets]], Number]
_NUMBERS: Mapping[str, tuple[Measure, Callable[[HostResets], bool]]] = {
    "resets": (_count, _every_reason),
    "resets_per_minute": (_rate, _every_reason),
    "unread_data_resets": (_count, _is_unread_data),
}
"""How each number is measured, and which rows it counts, by its name in a playbook."""


def _measure(name: str, watched: Watched, rows: Iterable[HostResets]) -> Number:
    """Returns a number by its name in a playbook, unknown if the host could not be watched."""
    if watched.problem:
        return Number(None, note=watched.problem)
    measure, is_counted = _NUMBERS[name]
    return measure(watched, filter(is_counted, rows))
