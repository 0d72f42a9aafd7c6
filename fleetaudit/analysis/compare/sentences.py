"""Makes sentences of texts, numbers and names that are links. Pure."""

from __future__ import annotations

from .host_links import NO_FILTERS, Filters, host_query
from .view_model import Sentence, TextPart


def make_sentence(*parts: str | TextPart) -> Sentence:
    """Returns a sentence of texts and links."""
    return tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)


def linked_number(text: str, anchor: str, filters: Filters = NO_FILTERS) -> TextPart:
    """Returns a number that is a link to its details, and to its hosts if `filters` find them."""
    return TextPart(text=text, link=anchor, hosts=host_query(filters), strong=True)


def linked_name(text: str, anchor: str) -> TextPart:
    """Returns a link whose text comes from a host or a playbook."""
    return TextPart(text=text, link=anchor, untrusted=True)
