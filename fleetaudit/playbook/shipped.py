"""Scenarios that a play takes from a shipped playbook by name, with their controls."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from fleetaudit.model import Family, Playbook, Scenario
from fleetaudit.text.document import Document, ValuePath
from fleetaudit.text.typed_documents import did_you_mean

from .controls import DEFAULT_PLAYBOOK, names_with_controls


class ShippedPlaybooks(NamedTuple):
    """The playbooks that come with fleetaudit: their names, and how one is read."""

    names: Sequence[str]
    read: Callable[[str], Playbook]


def shipped_scenarios(
    document: Document,
    reference: str,
    where: ValuePath,
    families: Sequence[Family],
    shipped: ShippedPlaybooks,
) -> list[Scenario]:
    """Returns the shipped scenarios that `reference` names, with their controls, in their order.

    `reference` is PLAYBOOK/NAME, where the name may be a glob and upper and lower case differ;
    `where` is its path in the document. The scenarios run over those of their families that are in
    `families`, the play's; one that runs over none of them is left out. Raises `InputError` if
    there is no such scenario.
    """
    source, glob = _split_reference(document, reference, where, shipped)
    offered = {s.name: s for play in shipped.read(source).plays for s in play.scenarios}
    selected = [s for name, s in offered.items() if fnmatch.fnmatchcase(name, glob)]
    if not selected:
        raise document.error(
            f"{source} has no scenario “{glob}”{did_you_mean(glob, offered)}", where
        )
    names = names_with_controls(selected, offered.values())
    narrowed = [_over(s, families) for name, s in offered.items() if name in names]
    # One that runs over IPv6 alone does not belong in a play for IPv4.
    return [s for s in narrowed if s.families]


def _split_reference(
    document: Document, reference: str, where: ValuePath, shipped: ShippedPlaybooks
) -> tuple[str, str]:
    """Returns the playbook and the glob of a reference: ("unread-close", "zero-*") for
    "unread-close/zero-*".

    Raises `InputError` without a slash or a glob, if no such playbook is shipped, and in a shipped
    playbook for a reference to itself, which would be read without end.
    """
    source, _, glob = reference.partition("/")
    if not glob:
        raise document.error(
            f"not a scenario: “{reference}”",
            where,
            hint=(
                "a scenario is a mapping (name:, title:, steps:) or a shipped one, such as"
                f" {DEFAULT_PLAYBOOK}/unread-close"
            ),
        )
    if source not in shipped.names:
        raise document.error(
            f"no playbook “{source}” is shipped{did_you_mean(source, shipped.names)}", where
        )
    if f"playbooks/{source}.yml" == document.source:
        raise document.error(f"“{reference}” is a scenario of this very playbook", where)
    return source, glob


def _over(scenario: Scenario, families: Sequence[Family]) -> Scenario:
    """Returns a scenario over those of its families that the play has; AF_UNIX stays."""
    accepted = {*families, "unix"}
    kept = tuple(family for family in scenario.families if family in accepted)
    return msgspec.structs.replace(scenario, families=kept)
