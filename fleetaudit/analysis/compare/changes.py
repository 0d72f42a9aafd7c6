"""What changed since the run before, folded: one row a change, with all the hosts that it happened
to. Pure.

Rules: nothing is compared here; drift.py did that, and its order stays. Rates say what production
felt in between.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from fleetaudit.analysis.causes import HOST_PLACEHOLDER
from fleetaudit.model import (
    Change,
    Drift,
    Effect,
    ResetRate,
)
from fleetaudit.text.host_ranges import fold_hosts

from .common import grouped
from .findings import family_words, parts_of
from .view_model import ChangeRow, Changes

MOST_CHANGES = 200
"""How many rows are listed before the rest is counted."""
WORDS: dict[Effect, str] = {"regression": "regressed", "fix": "fixed", "new host": "new"}
"""Effects as words after "2 hosts"; the other effects are such words already."""
MOST_RATES = 10
"""How many hosts are named among those that aborted most in between."""


def summarize_changes(drift: Drift, links: Mapping[str, str] | None = None) -> Changes:
    """Returns `drift` for a reader; `links` are the anchors of scenarios and sysctls by name, where
    there are any.
    """
    by_effect = grouped(drift.changes, lambda change: change.effect)
    rows = _rows(drift.changes, links or {})
    told = [rate for rate in drift.rates if rate.per_thousand is not None]
    untold = grouped(
        (rate for rate in drift.rates if rate.per_thousand is None), lambda rate: rate.reason
    )
    return Changes(
        before=drift.before,
        since=drift.since,
        refused=drift.refused,
        notes=drift.notes,
        compared=drift.hosts,
        # As they come: drift.py has sorted them.
        counts=tuple((_hosts(of), WORDS.get(effect, effect)) for effect, of in by_effect.items()),
        regressed=_by_subject(by_effect.get("regression", ())),
        rows=rows[:MOST_CHANGES],
        omitted=len(rows) - len(rows[:MOST_CHANGES]),
        rates=tuple(sorted(told, key=_felt)[:MOST_RATES]),
        unrated=tuple(
            (reason, fold_hosts(rate.host for rate in rates)) for reason, rates in untold.items()
        ),
    )


def _hosts(changes: Iterable[Change]) -> int:
    return len({change.host for change in changes})


def _by_subject(changes: Iterable[Change]) -> tuple[tuple[str, int], ...]:
    """Returns scenarios and sysctls with the number of hosts, most hosts first."""
    found = grouped(changes, lambda change: _subject(change)[0])
    counts = ((subject, _hosts(of)) for subject, of in found.items())
    return tuple(sorted(counts, key=lambda item: -item[1]))


def _felt(rate: ResetRate) -> float:
    return -(rate.per_thousand or 0.0)


def _rows(changes: Sequence[Change], links: Mapping[str, str]) -> tuple[ChangeRow, ...]:
    alike = grouped(changes, lambda c: (c.what, *_said(c))).values()
    # The families of one scenario share a row where the same happened to the same hosts.
    rows = grouped(
        alike, lambda group: (_subject(group[0])[0], *_said(group[0]), tuple(c.host for c in group))
    )
    return tuple(_row(groups, links) for groups in rows.values())


def _said(change: Change) -> tuple[Hashable, ...]:
    return change.effect, change.kind, *_words(change), change.since, change.severity, change.waived


def _words(change: Change) -> tuple[str, str]:
    if change.kind != "host" or change.effect == "renamed":
        return change.before, change.after
    # A reason that names its host is the same reason.
    return change.before.replace(change.host, HOST_PLACEHOLDER), change.after.replace(
        change.host, HOST_PLACEHOLDER
    )


def _subject(change: Change) -> tuple[str, str]:
    """The scenario or sysctl and its family, or the noun that changed."""
    return parts_of(change.what)[1:] if ":" in change.what else (change.what, "")


def _accepted(change: Change) -> str | None:
    """Returns the waiver of the present finding, None if there is no finding or no waiver any more."""
    return None if change.effect == "fix" or change.kind == "waiver" else change.waived


def _row(groups: Sequence[Sequence[Change]], links: Mapping[str, str]) -> ChangeRow:
    first = groups[0][0]
    subject = _subject(first)[0]
    families = dict.fromkeys(_subject(group[0])[1] for group in groups)
    before, after = _words(first) if len(groups[0]) > 1 else (first.before, first.after)
    return ChangeRow(
        effect=first.effect,
        kind=first.kind,
        subject=subject,
        detail=family_words(filter(None, families)),
        link=links.get(subject, ""),
        before=before,
        after=after,
        since=first.since,
        severity=first.severity,
        waived=_accepted(first),
        hosts=fold_hosts(change.host for change in groups[0]),
    )
