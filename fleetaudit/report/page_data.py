"""The hosts of a page as data for its script: every host once, what many share kept once. Pure.

Rules: nothing in it can end the element that it stands in, whatever a host said: no <, > or & is
left, and nothing beyond ASCII. The script shows all of it as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from fleetaudit.analysis.compare import Comparison
from fleetaudit.analysis.compare.view_model import HostLine

T = TypeVar("T")


def page_data(comparison: Comparison, visible: Callable[[str], str]) -> str:
    """Returns the data as JSON, a column a property, each as long as `names`; `visible` writes out
    what one cannot see.

    Columns of numbers point into the lists beside them; -1 points nowhere.
    """
    hosts = comparison.hosts
    groups, abouts, findings, changes, hints = (_Once[Any]() for _ in range(5))
    data: dict[str, Any] = {
        "run": comparison.run.id,
        "kernels": [[b.kernel.release, b.kernel.version, b.anchor] for b in comparison.builds],
        "names": [h.name for h in hosts],
        "state": [STATES.index(h.state) for h in hosts],
        "anchor": [h.anchor for h in hosts],
        "kernel": [-1 if h.build is None else h.build for h in hosts],
        "group": [groups.place(h.groups) for h in hosts],
        "about": [abouts.place(h.about) for h in hosts],
        "finding": [findings.place(h.findings) for h in hosts],
        "change": [changes.place(h.changes) for h in hosts],
        "hint": [hints.place(_hint(h)) for h in hosts],
        "rate": [None if h.per_thousand is None else round(h.per_thousand, 3) for h in hosts],
        "unread": [h.unread_sockets for h in hosts],
    }
    anchors = _Once[str]()
    data["anchor"] = [anchors.place(anchor) for anchor in data["anchor"]]
    data |= {
        "states": STATES,
        "anchors": anchors.met(),
        "groups": groups.met(),
        "abouts": abouts.met(),
        "findings": findings.met(),
        "changes": changes.met(),
        "hints": hints.met(),
    }
    text = json.dumps(_seen(data, visible), ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


STATES = ("error", "warning", "info", "untold", "void", "not audited", "not selected", "met")
"""A host's state by its number, gravest first, as the page sorts by it."""


def _hint(host: HostLine) -> tuple[tuple[str, ...], bool] | tuple[()]:
    """Returns the next command split at the host's name, so that hosts share the parts; () without
    one.
    """
    if not host.hint:
        return ()
    return tuple(host.hint.split(host.name) if host.name else [host.hint]), host.typed


class _Once(dict[T, int]):
    """Things by the place at which they were first met."""

    def place(self, thing: T) -> int:
        return self.setdefault(thing, len(self))

    def met(self) -> list[T]:
        return list(self)


def _seen(value: Any, visible: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list | tuple):
        return [_seen(item, visible) for item in value]
    if isinstance(value, dict):
        return {key: _seen(item, visible) for key, item in value.items()}
    return value
