"""Selects by --tags and --skip-tags as Ansible does. Pure.

Source: Ansible's documentation, "Tags", "Special tags".
"""

from __future__ import annotations

from collections.abc import Collection, Set


def is_selected_by_tags(
    tags: Collection[str], only: Collection[str], skip: Collection[str]
) -> bool:
    """Returns whether --tags `only` and --skip-tags `skip` select what has these tags.

    An empty `only` means all. `always` is selected unless it is skipped by name, `never` only by
    one of its other tags.
    """
    own = set(tags)
    return _is_chosen(own, set(only) or {"all"}) and not _is_skipped(own, set(skip))


def _is_chosen(own: Set[str], only: Set[str]) -> bool:
    """Returns whether --tags selects these tags."""
    if own & only or "always" in own:
        return True
    return "never" not in own and bool({"all", _kind(own)} & only)


def _is_skipped(own: Set[str], skip: Set[str]) -> bool:
    """Returns whether --skip-tags leaves these tags out."""
    if "all" in skip:
        return "always" not in own or "always" in skip
    return bool((own | {_kind(own)}) & skip)


def _kind(own: Set[str]) -> str:
    """Returns Ansible's special tag for what has tags and for what has none."""
    return "tagged" if own else "untagged"
