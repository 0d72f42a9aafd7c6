"""Names the rows of resets and services, and finds the rows of each host. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Protocol

from fleetaudit.text.host_ranges import HostRanges

from .host_links import unique_labels
from .view_model import ListedHosts, ListFilter, ResetsView, RowLabel, ServicesView

MOST_TEXTS = 3
"""How many units or namespaces of a row are named."""


class HasHosts(Protocol):
    """A row of a folded table."""

    @property
    def hosts(self) -> HostRanges: ...
    @property
    def names(self) -> tuple[str, ...]: ...


def list_hosts(
    rows: Sequence[HasHosts], texts: Sequence[Sequence[str]], name: ListFilter
) -> tuple[ListedHosts, ...]:
    """Returns the hosts of each row; `texts` name the rows, each with more detail than before."""
    labels = unique_labels(texts)
    return tuple(
        ListedHosts(row=(name, label), hosts=row.hosts, names=row.names)
        for row, label in zip(rows, labels, strict=True)
    )


def name_first(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the first texts, and how many more there are."""
    more = len(texts) - MOST_TEXTS
    rest = (f"{more:,} more",) if more > 0 else ()
    return (*texts[:MOST_TEXTS], *rest)


def rows_by_host(
    resets: ResetsView | None, services: ServicesView | None
) -> tuple[tuple[RowLabel, ...], Mapping[str, tuple[int, ...]]]:
    """Returns the labels of all rows, and the indexes of the rows of each host."""
    listed = [*_of_resets(resets), *_of_services(services)]
    found = defaultdict[str, list[int]](list)
    for i, at in enumerate(listed):
        for name in at.names:
            found[name].append(i)
    # Hosts with the same rows share them.
    kept = dict[tuple[int, ...], tuple[int, ...]]()
    rows = {name: kept.setdefault(tuple(own), tuple(own)) for name, own in found.items()}
    return tuple(at.row for at in listed), rows


def _of_resets(view: ResetsView | None) -> Iterator[ListedHosts]:
    """Yields the hosts of each row of who resets."""
    if view is not None:
        yield from _hosts_of(chain(view.lines, view.unread, view.not_watched))


def _of_services(view: ServicesView | None) -> Iterator[ListedHosts]:
    """Yields the hosts of each row of services."""
    if view is not None:
        yield from _hosts_of(chain(view.cards, view.not_asked))


def _hosts_of(rows: Iterable[object]) -> Iterator[ListedHosts]:
    """Yields the hosts of each row."""
    return map(attrgetter("at"), rows)
