"""The sentences at the head of a difference: one that decides, then what is not known. Pure.

Rules: a sentence is true of one host and of ten thousand. What is unknown in one of the two runs is
never called good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetaudit.analysis.compare.changes import count_by_subject
from fleetaudit.analysis.compare.common import group_by
from fleetaudit.analysis.compare.view_model import Sentence, TextPart, Verdict
from fleetaudit.model import SEVERITIES, Change, Drift, Effect
from fleetaudit.text.host_ranges import HostRanges, fold_hosts
from fleetaudit.text.phrases import and_more, count_noun

from .view_model import Headline

NOTHING_CHANGED, CHANGED, NOT_COMPARED = 0, 8, 65
"""The exit status of `fleetaudit diff`."""
MOST_NAMES = 6
"""How many scenarios and sysctls a sentence names."""
_UNKNOWN: tuple[tuple[Effect, str], ...] = (
    ("no longer told", "An ending or a value is no longer known"),
    ("newly not audited", "Not audited in the later run"),
    ("no longer selected", "Not selected by any play in the later run"),
    ("rebuilt", "Another machine under the same name, so not compared"),
    ("gone", "Only in the earlier run"),
    ("new host", "Only in the later run"),
)
"""Effects after which something is not known of a host in one of the runs, and what to say."""
_FIRST_UNKNOWN = frozenset[Effect](
    ("no longer told", "newly not audited", "no longer selected", "rebuilt")
)
"""Those that may hide a regression on a host of both runs."""


def make_headline(drift: Drift, never_audited: HostRanges) -> Headline:
    """Returns the sentences about `drift`; `never_audited` are the hosts of both runs that none of
    them audited.
    """
    if drift.refused:
        return Headline(
            verdict="unknown",
            sentence=(
                TextPart(text="The two runs cannot be compared: "),
                TextPart(text=drift.refused, untrusted=True),
                TextPart(text="."),
            ),
            more=(),
            status=NOT_COMPARED,
        )
    by_effect = group_by(drift.changes, lambda change: change.effect)
    by_waiver = group_by(by_effect.get("regression", ()), lambda change: change.waived is None)
    still_open, waived = by_waiver.get(True, []), by_waiver.get(False, [])
    unknown = never_audited.count > 0 or not _FIRST_UNKNOWN.isdisjoint(by_effect)
    verdict, sentence = _decide(drift, still_open, waived, unknown=unknown)
    more = (
        *_named("Waived regressions", waived if still_open else ()),
        *_named("Fixed", by_effect.get("fix", ())),
        *(_hosts(title, of) for effect, title in _UNKNOWN if (of := by_effect.get(effect))),
        *_never_audited(never_audited),
    )
    status = CHANGED if drift.changes else NOTHING_CHANGED
    return Headline(verdict=verdict, sentence=sentence, more=more, status=status)


def _decide(
    drift: Drift, still_open: Sequence[Change], waived: Sequence[Change], *, unknown: bool
) -> tuple[Verdict, Sentence]:
    """Returns the sentence that decides, with its verdict.

    The order of the checks matters: the worst that is known comes first. `unknown`: something is
    not known of a host of both runs.
    """
    if still_open:
        (sentence,) = _named("Regressions", still_open)
        return _worst(still_open), sentence
    if waived:
        (sentence,) = _named("Every regression is waived", waived)
        return "info", sentence
    if unknown:
        what = "got worse" if drift.changes else "changed"
        return "unknown", _text(f"Nothing {what}, as far as both runs know it.")
    if drift.changes:
        return "met", _text("Nothing got worse.")
    return "met", _text(f"Nothing changed on {count_noun(drift.hosts, 'host')}.")


def _worst(regressions: Sequence[Change]) -> Verdict:
    """Returns the worst severity of at least one regression."""
    severities = [change.severity or "warning" for change in regressions]
    return max(severities, key=SEVERITIES.index)


def _text(text: str) -> Sentence:
    """Returns a sentence of one part."""
    return (TextPart(text=text),)


def _named(title: str, changes: Sequence[Change]) -> Iterator[Sentence]:
    """Yields a sentence with the scenarios and sysctls of `changes`; none if there is no change."""
    if not changes:
        return
    subjects = count_by_subject(changes)
    parts = [TextPart(text=f"{title}: ")]
    for subject, hosts in subjects[:MOST_NAMES]:
        parts.append(TextPart(text=subject, link="changes", untrusted=True))
        parts.append(TextPart(text=f" on {count_noun(hosts, 'host')}"))
        parts.append(TextPart(text=", "))
    parts[-1] = TextPart(text=f"{and_more(len(subjects) - MOST_NAMES)}.")
    yield tuple(parts)


def _hosts(title: str, changes: Sequence[Change]) -> Sentence:
    """Returns a sentence with the hosts of `changes`: "Only in the later run: 1 host (web9)."."""
    return _list_hosts(title, fold_hosts({change.host: None for change in changes}))


def _never_audited(hosts: HostRanges) -> Iterator[Sentence]:
    """Yields the sentence about the hosts of which nothing is known, if there are any."""
    if hosts.count:
        yield _list_hosts("Audited in neither run", hosts)


def _list_hosts(title: str, hosts: HostRanges) -> Sentence:
    """Returns a sentence with the number and the names of hosts."""
    parts = [TextPart(text=f"{title}: {count_noun(hosts.count, 'host')} (")]
    for name in hosts.ranges:
        parts += [TextPart(text=name, untrusted=True), TextPart(text=", ")]
    parts[-1] = TextPart(text=f"{and_more(hosts.more)}).")
    return tuple(parts)
