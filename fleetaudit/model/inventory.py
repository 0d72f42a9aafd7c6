"""Hosts, groups and variables of an inventory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Frozen


class Host(Frozen, frozen=True, kw_only=True):
    """One host of an inventory.

    `groups` are all groups that the host is in, nearest last, without `all`. `origin` is file:line.
    `variables` are merged by Ansible's precedence and not rendered yet; `variable_origins` has the
    file:line of each. Hosts share these mappings.
    """

    name: str
    groups: tuple[str, ...] = ()
    variables: Mapping[str, Any] = {}
    variable_origins: Mapping[str, str] = {}
    origin: str = ""


class Group(Frozen, frozen=True, kw_only=True):
    """The hosts and child groups that are written directly in a group."""

    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


class Inventory(Frozen, frozen=True, kw_only=True):
    """Hosts in the order of the file.

    `groups` maps every group (also `all` and `ungrouped`) to its hosts' names; `tree` has the same
    groups as they are nested. `notes` are sentences for people: what Ansible would read and
    fleetaudit did not.
    """

    sources: tuple[str, ...]
    hosts: tuple[Host, ...]
    groups: dict[str, tuple[str, ...]]
    tree: dict[str, Group] = {}
    notes: tuple[str, ...] = ()
