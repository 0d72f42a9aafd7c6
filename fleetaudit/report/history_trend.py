"""The answer to "is it getting better", in sentences, from the first and the newest run. Pure.

Rules: two runs are compared only if both audited almost all hosts. A night in which hosts could not
be reached is no improvement.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal

import msgspec

from fleetaudit.analysis.history.model import HistoryRun
from fleetaudit.text.phrases import agree, count_noun

COMPARABLE = 0.9
"""A run counts if it audited at least this share of the hosts that plays select."""


Sentence = tuple[str | HistoryRun, ...]
"""Texts, and runs that stand for their day."""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: the state that gives it its mark, a sentence, and what supports it."""

    state: Literal["met", "info", "warning", "unknown"]
    answer: Sentence
    details: tuple[Sentence, ...]


def trend_of(runs: Sequence[HistoryRun]) -> Trend:
    """Returns the trend over at least one run, earliest first."""
    complete = [run for run in runs if is_complete(run) and run.hosts_unmet is not None]
    details = tuple(filter(None, (_since(complete), _newest(runs[-1]))))
    if len(complete) < 2:
        return Trend(
            state="unknown",
            answer=("Unknown: at least two runs that audited almost all hosts are needed.",),
            details=details,
        )
    then, now = complete[0], complete[-1]
    state, word = _direction(_unmet(then), _unmet(now))
    return Trend(state=state, answer=(word, *_counts(then, now)), details=details)


def is_complete(run: HistoryRun) -> bool:
    """Returns whether a run audited almost all hosts that plays select."""
    return 0 < COMPARABLE * expected_hosts(run) <= run.hosts.audited


def expected_hosts(run: HistoryRun) -> int:
    """Returns how many hosts plays select, audited or not."""
    return run.hosts.audited + run.hosts.not_audited


def _direction(then: int, now: int) -> tuple[Literal["met", "info", "warning"], str]:
    """Returns the state and the word of a change in hosts with open findings."""
    if now < then:
        return "met", "Better"
    if now > then:
        return "warning", "Worse"
    return ("info", "No change") if now else ("met", "As good as it was")


def _counts(then: HistoryRun, now: HistoryRun) -> Sentence:
    """Returns how many hosts have open findings, now and then."""
    total = count_noun(now.hosts.audited, "audited host")
    verb = agree(_unmet(now), "has", "have")
    return (
        f": {_unmet(now):,} of {total} {verb} open findings on ",
        now,
        f"; {_unmet(then):,} of {then.hosts.audited:,} had them on ",
        then,
        ".",
    )


def _unmet(run: HistoryRun) -> int:
    """Returns how many hosts have open findings in a run that knows it."""
    return run.hosts_unmet or 0


def _since(complete: Sequence[HistoryRun]) -> Sentence:
    """Returns since when the number is what it is, () without two runs to compare."""
    if len(complete) < 2:
        return ()
    now = _unmet(complete[-1])
    same = list(takewhile(lambda run: _unmet(run) == now, reversed(complete)))
    if len(same) == len(complete):
        return (f"The number of hosts was the same in all {len(same):,} complete runs.",)
    before = complete[-len(same) - 1]
    was = f"; it was {_unmet(before):,} on "
    return (f"It has been {now:,} since ", same[-1], was, before, ".")


def _newest(run: HistoryRun) -> Sentence:
    """Returns a warning if the newest run left out many hosts."""
    if is_complete(run):
        return ()
    total = count_noun(expected_hosts(run), "host")
    return (
        "The newest run, of ",
        run,
        f", audited only {run.hosts.audited:,} of {total}, so it is not compared.",
    )
