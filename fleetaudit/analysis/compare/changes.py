"""Folds the changes between two runs: one row per change, with all its hosts. Pure.

Rules: nothing is compared here; `analysis.drift` did that, and its order stays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from fleetaudit.analysis.causes import HOST_PLACEHOLDER
from fleetaudit.analysis.memory_sysctls import differ_by_memory
from fleetaudit.model import (
    Change,
    Drift,
    Effect,
    ResetRate,
)
from fleetaudit.text.host_ranges import HostRanges, fold_hosts
from fleetaudit.text.phrases import surround

from .common import group_by
from .findings import join_family_ids, parse_finding_id
from .host_links import unique_labels
from .view_model import ChangeRow, Changes

MOST_CHANGES = 200
"""How many rows are listed before the rest is counted."""
MOST_RATES = 10
"""How many hosts with most aborts are listed."""
EFFECT_TEXTS: dict[Effect, str] = {"no longer told": "no longer known", "told again": "now known"}
"""Effects whose word in run.json is not the word that people read."""
REGRESSED = "regressed"
_COUNTED_TEXTS: dict[Effect, str] = {"regression": REGRESSED, "fix": "fixed", "new host": "new"}
"""Effects that read differently after "2 hosts"."""
LISTED_EFFECTS: dict[str, Effect] = {text: effect for effect, text in _COUNTED_TEXTS.items()}
"""Such a text, and the effect that filters the list of hosts down to exactly the counted ones."""
_FOLLOWS_MEMORY = "with another value that follows from the memory"


def summarize_changes(drift: Drift, links: Mapping[str, str] | None = None) -> Changes:
    """Returns `drift` for a reader; `links` are anchors by the name of a scenario or sysctl.

    Without `links` no row has a link. At most `MOST_CHANGES` rows and `MOST_RATES` rates are
    listed; more rows are counted.
    """
    return number_changes(drift, links)[0]


def number_changes(
    drift: Drift, links: Mapping[str, str] | None = None
) -> tuple[Changes, Mapping[int, int]]:
    """Returns what `summarize_changes` returns, and the index of the row of each change.

    The index is by the id() of the change; a change in a row that is not listed has none.
    """
    by_text = group_by(drift.changes, _counted_text)
    grouped = list(group_by(_same_changes(drift.changes), _row_key).values())
    rows = _label_rows([_row(groups, links or {}) for groups in grouped[:MOST_CHANGES]])
    changes = Changes(
        before=drift.before,
        since=drift.since,
        refused=drift.refused,
        notes=drift.notes,
        compared=drift.hosts,
        # In the order of the changes, which drift has sorted; what the memory explains is last.
        counts=tuple((_count_hosts(by_text[text]), text) for text in sorted(by_text, key=_is_last)),
        regressed=count_by_subject(by_text.get(_COUNTED_TEXTS["regression"], ())),
        rows=rows,
        omitted=len(grouped[MOST_CHANGES:]),
        rates=_highest_rates(drift.rates),
        unrated=_hosts_without_rate(drift.rates),
    )
    return changes, _index_rows(grouped[:MOST_CHANGES])


def _index_rows(grouped: Iterable[Sequence[Sequence[Change]]]) -> dict[int, int]:
    """Returns the index of the row of each change, by its id()."""
    return {
        id(change): row
        for row, groups in enumerate(grouped)
        for change in chain.from_iterable(groups)
    }


def _label_rows(rows: Sequence[ChangeRow]) -> tuple[ChangeRow, ...]:
    """Returns the rows with their labels: "regression: unread-close IPv4", and more if needed."""
    labels = unique_labels(list(map(_row_texts, rows)))
    return tuple(map(_with_label, rows, labels))


def _with_label(row: ChangeRow, label: str) -> ChangeRow:
    return msgspec.structs.replace(row, label=label)


def _row_texts(row: ChangeRow) -> tuple[str, ...]:
    """Returns texts that name a row, each with more detail than the one before it."""
    subject = f"{row.effect_text}: {row.subject}{surround(' ', row.detail)}"
    values = f"{subject}, {row.before} → {row.after}"
    return subject, values, f"{values}, since {row.since}", f"{values}, {row.waived or ''}"


def effect_text(effect: Effect) -> str:
    """Returns an effect in the words that people read; run.json has other words for some.

    That of "no longer told" is "no longer known".
    """
    return EFFECT_TEXTS.get(effect, effect)


def _counted_text(change: Change) -> str:
    """Returns the effect of a change as it reads after "2 hosts".

    Such as "regressed" for "regression". A value that changed only as the memory did is apart.
    """
    if _follows_memory(change):
        return _FOLLOWS_MEMORY
    return _COUNTED_TEXTS.get(change.effect) or effect_text(change.effect)


def _follows_memory(change: Change) -> bool:
    """Returns whether a sysctl has another value only because the host has another memory."""
    if (change.kind, change.effect) != ("sysctl", "changed"):
        return False
    return differ_by_memory(_subject(change)[0], (change.before, change.after))


def _is_last(text: str) -> bool:
    return text == _FOLLOWS_MEMORY


def _count_hosts(changes: Iterable[Change]) -> int:
    """Returns how many different hosts the changes are on."""
    return len({change.host for change in changes})


def count_by_subject(changes: Iterable[Change]) -> tuple[tuple[str, int], ...]:
    """Returns scenarios and sysctls with their number of hosts, most hosts first."""
    by_subject = group_by(changes, lambda change: _subject(change)[0])
    counts = [(subject, _count_hosts(of)) for subject, of in by_subject.items()]
    return tuple(sorted(counts, key=lambda count: -count[1]))


def _highest_rates(rates: Iterable[ResetRate]) -> tuple[ResetRate, ...]:
    """Returns the hosts with most aborts per connection, highest first."""
    known = [rate for rate in rates if rate.per_thousand is not None]
    known.sort(key=lambda rate: -(rate.per_thousand or 0.0))
    return tuple(known[:MOST_RATES])


def _hosts_without_rate(rates: Iterable[ResetRate]) -> tuple[tuple[str, HostRanges], ...]:
    """Returns (reason, hosts) of the hosts whose rate is unknown."""
    unknown = [rate for rate in rates if rate.per_thousand is None]
    by_reason = group_by(unknown, lambda rate: rate.reason)
    return tuple((reason, _fold_hosts(of)) for reason, of in by_reason.items())


def _fold_hosts(changes: Iterable[Change | ResetRate]) -> HostRanges:
    """Returns the hosts of changes or rates, folded."""
    return fold_hosts(change.host for change in changes)


def _same_changes(changes: Iterable[Change]) -> Iterable[Sequence[Change]]:
    """Returns the changes in groups: the hosts of each group have the same change.

    The groups of a scenario's families with the same hosts share a row.
    """
    return group_by(changes, _change_key).values()


def _change_key(change: Change) -> Hashable:
    """Returns what hosts must share to be in one group."""
    return change.what, _content(change)


def _row_key(group: Sequence[Change]) -> Hashable:
    """Returns what the groups of several families must share to be in one row."""
    hosts = tuple(change.host for change in group)
    return _subject(group[0])[0], _content(group[0]), hosts


def _content(change: Change) -> Hashable:
    """Returns everything about a change but its subject and its host."""
    texts = _masked_texts(change)
    return change.effect, change.kind, texts, change.since, change.severity, change.waived


def _masked_texts(change: Change) -> tuple[str, str]:
    """Returns before and after; a reason that names its host is the same reason on all of them.

    The name is replaced by HOST_PLACEHOLDER in changes of a host's status only. A renamed host
    keeps its names, because they are the change.
    """
    if change.kind != "host" or change.effect == "renamed":
        return change.before, change.after
    return change.before.replace(change.host, HOST_PLACEHOLDER), change.after.replace(
        change.host, HOST_PLACEHOLDER
    )


def _subject(change: Change) -> tuple[str, str]:
    """Returns the scenario or sysctl and its family, or the noun that changed and "".

    For "scenario:unread-close/ipv4" it is ("unread-close", "ipv4"), for "kernel" ("kernel", "").
    """
    if ":" not in change.what:
        return change.what, ""
    _, subject, family = parse_finding_id(change.what)
    return subject, family


def _present_waiver(change: Change) -> str | None:
    """Returns the waiver of the present finding, None if there is no finding or no waiver now.

    A fix has the waiver of a finding that is gone, and a change of a waiver has it in its texts.
    """
    if change.effect == "fix" or change.kind == "waiver":
        return None
    return change.waived


def _row(groups: Sequence[Sequence[Change]], links: Mapping[str, str]) -> ChangeRow:
    """Returns the row of one change; each group of `groups` is a family with the same hosts.

    The name of the host is masked only if the row has several hosts.
    """
    hosts = groups[0]
    first = hosts[0]
    subject = _subject(first)[0]
    families = dict.fromkeys(_subject(group[0])[1] for group in groups)
    texts: Callable[[Change], tuple[str, str]] = _masked_texts if len(hosts) > 1 else _texts
    before, after = texts(first)
    return ChangeRow(
        effect=first.effect,
        effect_text=effect_text(first.effect),
        kind=first.kind,
        subject=subject,
        detail=join_family_ids(filter(None, families)),
        link=links.get(subject, ""),
        before=before,
        after=after,
        since=first.since,
        severity=first.severity,
        waived=_present_waiver(first),
        hosts=_fold_hosts(hosts),
    )


def _texts(change: Change) -> tuple[str, str]:
    """Returns before and after as they are."""
    return change.before, change.after
