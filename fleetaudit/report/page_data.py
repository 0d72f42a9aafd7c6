"""The hosts of a page as data for its script: every host once, shared values once. Pure.

Rules: whatever a host sent, nothing in the data can end the element that it stands in: it has no <,
> or &, and nothing beyond ASCII. The script shows all of it as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from fleetaudit.analysis.compare import Comparison
from fleetaudit.analysis.compare.view_model import HostEntry, HostState

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
_SHARED = ("anchor", "group", "about", "finding", "change", "hint")
"""Properties of which hosts share values: each has an array of indexes, and one of the values."""


def page_data(comparison: Comparison, escape: Callable[[str], str]) -> str:
    """Returns the data as JSON, one array per property of the hosts, each as long as `names`.

    `escape` makes invisible characters visible. Arrays of numbers are indexes into the arrays of
    values; -1 stands for no value. For example `"group":[0,0,1]` with `"groups":[["web"],["db"]]`.
    """
    rows = [(*_own_values(host), *_shared_values(host)) for host in comparison.hosts]
    columns = list(zip(*rows, strict=True)) or [()] * len(_OWN + _SHARED)
    data: dict[str, Any] = {
        "run": comparison.run_argument,
        "kernels": [(b.kernel.release, b.kernel.version, b.anchor) for b in comparison.builds],
        "states": STATES,
        **dict(zip(_OWN, columns, strict=False)),
    }
    for name, column in zip(_SHARED, columns[len(_OWN) :], strict=True):
        data[name], data[f"{name}s"] = _index(column)
    text = json.dumps(_escape_all(data, escape), ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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
    return host.anchor, host.groups, host.about, host.findings, host.changes, _hint(host)


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
