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
    name or by one of its other tags: "all" does not select it. In `only` and `skip`, "all" stands
    for everything, "tagged" for what has tags, and "untagged" for what has none. What both select
    is skipped.
    """
    own = set(tags)
    if _is_skipped(own, set(skip)):
        return False
    return _is_chosen(own, set(only) or {"all"})


def _is_chosen(own: Set[str], only: Set[str]) -> bool:
    """Returns whether --tags selects these tags."""
    if not only.isdisjoint(own) or "always" in own:
        return True
    return "never" not in own and not only.isdisjoint({"all", _kind(own)})


def _is_skipped(own: Set[str], skip: Set[str]) -> bool:
    """Returns whether --skip-tags leaves these tags out; "all" spares `always`, which is skipped by
    name.
    """
    if "all" in skip:
        return "always" not in own or "always" in skip
    return not skip.isdisjoint({*own, _kind(own)})


def _kind(own: Set[str]) -> str:
    """Returns Ansible's special tag for what has tags and for what has none."""
    return "tagged" if own else "untagged"
