"""The timelines of hosts for the history page: the changes in words, and data for its script. Pure.

Rules: hosts that changed in the same way share a timeline, and changes that read the same share a
text. In a night in which a host was not audited everything about it is unknown; the next change is
compared with what was last known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from fleetaudit.analysis.history.model import HostState, HostTimeline, JobHistory
from fleetaudit.text.host_ranges import HostRanges, fold_hosts
from fleetaudit.text.kernel_releases import release_series

from .history_charts import NO_SERIES

MOST_TIMELINES = 100
"""Maximum number of timelines in the table; the script has the others, too."""
_STATUS_TEXTS = {
    "audited": "audited again",
    "void": "void: the positive control failed",
    "not audited": "not audited, so unknown",
    "not selected": "not selected by any play",
    "absent": "not in the run any more",
}
_UNKNOWN = HostState(status="absent")
"""Stands for what is known of a host before its first run."""


class _Step(msgspec.Struct, frozen=True):
    """A run that changed a host: its index, the states before and after, and what was known."""

    run: int
    before: HostState
    after: HostState
    known: HostState


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that changed in the same way, and the texts by the index of the run, newest first."""

    hosts: HostRanges
    changes: tuple[tuple[int, tuple[str, ...]], ...]


def host_rows(history: JobHistory) -> Iterator[HostRow]:
    """Yields at most `MOST_TIMELINES` timelines in words, those with most changes first."""
    longest = sorted(history.host_timelines, key=lambda timeline: -len(timeline.changes))
    for timeline in longest[:MOST_TIMELINES]:
        steps = _steps(timeline, history.host_states)
        changes = [(step.run, _texts(step)) for step in steps]
        yield HostRow(hosts=fold_hosts(timeline.hosts), changes=tuple(reversed(changes)))


def host_data(history: JobHistory, kinds: Mapping[str, str]) -> dict[str, object]:
    """Returns the timelines as data: every host once, shared values once.

    `kinds` are the classes of the layers of kernel series, by series. A state is [status, release,
    class of its series, indexes of findings], a change [run, state, index of its texts].
    """
    findings = {finding.id: n for n, finding in enumerate(history.findings)}
    texts = dict[tuple[str, ...], int]()
    timelines = list[object]()
    for timeline in history.host_timelines:
        found = map(_texts, _steps(timeline, history.host_states))
        shared = [texts.setdefault(text, len(texts)) for text in found]
        changes = [(*change, text) for change, text in zip(timeline.changes, shared, strict=True)]
        timelines.append((timeline.hosts, changes))
    return {
        "findings": [(finding.id, finding.severity) for finding in history.findings],
        "states": [_state_data(state, kinds, findings) for state in history.host_states],
        "texts": list(texts),
        "timelines": timelines,
    }


def _state_data(
    state: HostState, kinds: Mapping[str, str], findings: Mapping[str, int]
) -> tuple[object, ...]:
    """Returns a state as the script reads it."""
    release = state.release or ""
    kind = kinds.get(release_series(release) or NO_SERIES, "other")
    return state.status, release, kind, [findings[id_] for id_ in state.findings]


def _steps(timeline: HostTimeline, states: Sequence[HostState]) -> Iterator[_Step]:
    """Yields the runs that changed something, in their order."""
    before = known = _UNKNOWN
    for run, state in timeline.changes:
        after = states[state]
        yield _Step(run, before, after, known)
        before = after
        if after.release is not None:
            known = after


def _texts(step: _Step) -> tuple[str, ...]:
    """Returns what a run changed, in words."""
    texts = [*_status_texts(step)]
    if step.after.release is not None:
        texts += [*_kernel_texts(step), *_finding_texts(step)]
    return tuple(texts) or ("as before",)


def _status_texts(step: _Step) -> Iterable[str]:
    """Returns what changed in whether the host was audited."""
    if step.before is _UNKNOWN and step.after.status == "audited":
        return ("first seen",) if step.run else ("in the first kept run",)
    if step.before.status == step.after.status:
        return ()
    return (_STATUS_TEXTS[step.after.status],)


def _kernel_texts(step: _Step) -> Iterable[str]:
    """Returns the kernel, if it is another one than was known."""
    old, new = step.known.release, step.after.release
    if old == new:
        return ()
    return (f"kernel {old} → {new}",) if old else (f"kernel {new}",)


def _finding_texts(step: _Step) -> Iterator[str]:
    """Yields the findings that are new, and those that are not there any more."""
    old, new = set(step.known.findings), set(step.after.findings)
    yield from (f"opened: {id_}" for id_ in sorted(new - old))
    yield from (f"no longer open: {id_}" for id_ in sorted(old - new))
