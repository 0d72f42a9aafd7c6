"""The hosts of a page as data for its script: every host once, shared values once. Pure.

Rules: whatever a host sent, nothing in the data can end the element that it stands in: it has no <,
> or &, and nothing beyond ASCII. The script shows all of it as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from fleetaudit.analysis.compare import Comparison
from fleetaudit.analysis.compare.view_model import (
    Build,
    HostEntry,
    HostState,
    Profile,
    SysctlView,
)

STATES: tuple[HostState, ...] = (
    "error",
    "warning",
    "info",
    "unknown",
    "void",
    "not audited",
    "not selected",
    "met",
)
"""The states in the order in which the page sorts; a host has the index of its state."""


_OWN = ("names", "state", "kernel", "rate", "unread")
_SHARED = ("anchor", "group", "about", "finding", "change", "hint", "sysctl")
"""Properties of which hosts share values: each has an array of indexes, and one of the values."""


def page_data(comparison: Comparison, escape: Callable[[str], str]) -> str:
    """Returns the data as JSON, one array per property of the hosts, each as long as `names`.

    `escape` makes invisible characters visible. Arrays of numbers are indexes into the arrays of
    values; -1 stands for no value. For example `"group":[0,0,1]` with `"groups":[["web"],["db"]]`.
    What filters need besides that is in `_filter_data`.
    """
    rows = [(*_own_values(host), *_shared_values(host)) for host in comparison.hosts]
    columns = list(zip(*rows, strict=True)) or [()] * len(_OWN + _SHARED)
    data: dict[str, Any] = {
        "run": comparison.run_argument,
        "kernels": list(map(_kernel, comparison.builds)),
        "states": STATES,
        **dict(zip(_OWN, columns, strict=False)),
    }
    for name, column in zip(_SHARED, columns[len(_OWN) :], strict=True):
        data[name], data[f"{name}s"] = _index(column)
    data |= _filter_data(comparison, data["anchors"], escape)
    return encode_data(data, escape)


def encode_data(data: Any, escape: Callable[[str], str]) -> str:
    """Returns data of a page as JSON that cannot end the element that it stands in.

    `escape` makes invisible characters visible.
    """
    text = json.dumps(_escape_all(data, escape), ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _kernel(build: Build) -> tuple[str, ...]:
    """Returns release, version, anchor, series and label of a build."""
    return build.kernel.release, build.kernel.version, build.anchor, build.series, build.label


def _filter_data(
    comparison: Comparison, anchors: Sequence[str], escape: Callable[[str], str]
) -> dict[str, object]:
    """Returns what the filters of the hosts compare with (analysis/compare/host_links.py).

    - `behaviour` is the index of a behaviour for each of `anchors`. `behaviours` are [] for a
      cause, else [endings, on_host, reasons]: a letter for each of `columns`, "a" for the first of
      `endings`; whether it was measured in the host's namespace; indexes of `reasons`.
    - `causes` are titles by anchor.
    - `settings` are the listed sysctls: [key, row of most sets of hosts, label of each row].
    - `changerows` are the labels of the changes.
    - `labels` name the rows of resets and services: [filter, value]. `row` has, for each host, the
      index in `rows` of the labels of its rows. A page without such rows has none of the three.
    - `disguised` are the indexes of hosts whose name has invisible characters.
    """
    by_anchor = {profile.anchor: profile for profile in comparison.profiles}
    words = dict[str, int]()
    reasons = [row.reason for row in comparison.not_run]
    found = [_behaviour(by_anchor.get(anchor), words, reasons) for anchor in anchors]
    behaviour, behaviours = _index(found)
    return {
        "behaviour": behaviour,
        "behaviours": behaviours,
        "columns": [(column.scenario, column.families) for column in comparison.columns],
        "endings": list(words),
        "reasons": reasons,
        "causes": {cause.anchor: cause.title for cause in comparison.causes},
        "settings": list(map(_setting, comparison.sysctls_listed)),
        "changerows": _change_labels(comparison),
        **_listed_rows(comparison),
        "disguised": [i for i, h in enumerate(comparison.hosts) if escape(h.name) != h.name],
    }


def _listed_rows(comparison: Comparison) -> dict[str, object]:
    """Returns the rows of resets and services that each host is in, {} without any row."""
    if not comparison.labels:
        return {}
    row, rows = _index(host.rows for host in comparison.hosts)
    return {"labels": comparison.labels, "row": row, "rows": rows}


def _behaviour(
    profile: Profile | None, words: dict[str, int], reasons: Sequence[str]
) -> tuple[object, ...]:
    """Returns the behaviour of a profile, () for hosts that were not audited; adds to `words`."""
    if profile is None:
        return ()
    numbers = [words.setdefault(ending, len(words)) for ending in profile.endings]
    letters = "".join(chr(ord("a") + number) for number in numbers)
    # Reasons that are not listed are the last row of the table, as in `group_not_run`.
    known = [reasons.index(r) if r in reasons else len(reasons) - 1 for r in profile.not_run]
    return letters, profile.on_host, tuple(dict.fromkeys(known))


def _setting(sysctl: SysctlView) -> tuple[object, ...]:
    """Returns key, usual row and the labels of the rows of a sysctl."""
    return sysctl.key, sysctl.usual_row, tuple(value.label for value in sysctl.values)


def _change_labels(comparison: Comparison) -> list[str]:
    """Returns the labels of the changes in their order, [] without an earlier run."""
    if comparison.changes is None:
        return []
    return [row.label for row in comparison.changes.rows]


def _own_values(host: HostEntry) -> tuple[object, ...]:
    """Returns the properties in `_OWN`."""
    return (
        host.name,
        STATES.index(host.state),
        _index_of_build(host),
        _round(host.per_thousand),
        host.unread_sockets,
    )


def _index_of_build(host: HostEntry) -> int:
    """Returns the index of the kernel of a host among the builds, -1 without one."""
    if host.build is None:
        return -1
    return host.build


def _shared_values(host: HostEntry) -> tuple[object, ...]:
    """Returns the properties in `_SHARED`."""
    shared = (host.anchor, host.groups, host.about, host.findings, host.changes)
    return *shared, _hint(host), host.sysctls


def _index(values: Iterable[Hashable]) -> tuple[list[int], list[Hashable]]:
    """Returns the index of each value, and the distinct values in order of appearance."""
    places = dict[Hashable, int]()
    indexes = [places.setdefault(value, len(places)) for value in values]
    return indexes, list(places)


def _round(rate: float | None) -> float | None:
    """Returns a rate with three digits, None if it is unknown."""
    if rate is None:
        return None
    return round(rate, 3)


def _hint(host: HostEntry) -> tuple[tuple[str, ...], bool] | tuple[()]:
    """Returns the next command split at the name of the host, so that hosts share the parts.

    Returns () without one.
    """
    if not host.hint:
        return ()
    if not host.name:
        return (host.hint,), host.hint_is_command
    return tuple(host.hint.split(host.name)), host.hint_is_command


def _escape_all(value: Any, escape: Callable[[str], str]) -> Any:
    """Returns JSON data with every text in it escaped."""
    match value:
        case str():
            return escape(value)
        case list() | tuple():
            return [_escape_all(item, escape) for item in value]
        case dict():
            return {key: _escape_all(item, escape) for key, item in value.items()}
        case _:
            return value
