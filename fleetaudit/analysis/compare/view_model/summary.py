"""The view of the summary: coverage, and the sentences at the head of the page."""

from __future__ import annotations

import msgspec


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of hosts: `selected` is the sum of `audited`, `not_audited` and `not_selected`.

    `selected` follows --limit, `not_selected` are matched by no play. Of the audited hosts, the
    positive control failed on `void`, and `on_host` were measured in their own network namespace.
    """

    selected: int
    audited: int
    not_audited: int
    not_selected: int
    void: int
    on_host: int

    @property
    def valid(self) -> int:
        """How many audited hosts have observations that prove something."""
        return self.audited - self.void


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a sentence.

    `link` is an anchor of the page, "" without one; `hosts` is the query of the hosts that a number
    counts (`host_links`), "" if it counts none; `untrusted` text comes from a host or an inventory.
    """

    text: str
    link: str = ""
    hosts: str = ""
    strong: bool = False
    untrusted: bool = False


Sentence = tuple[TextPart, ...]


class SummaryItem(msgspec.Struct, frozen=True, kw_only=True):
    """One of the five questions and its answer.

    `key` is the anchor of the details. `coverage` says which hosts the answer is based on; it is ""
    if the answer says that itself. `is_brief`: there is nothing to report, so one line is enough.
    """

    key: str
    question: str
    sentences: tuple[Sentence, ...]
    coverage: str
    is_brief: bool = False
