"""Prints inventories as `ansible-inventory` does, read as `run` reads them."""

from __future__ import annotations

import msgspec

from fleetaudit.inventory.patterns import select_hosts
from fleetaudit.inventory.printing import render_graph, render_host, render_list

from .planning import read_inventory
from .reporter import Report, ignore_message


class ListingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to list. Exactly one of `host`, `graph`, `as_json` and `names_only` is set.

    `limit` applies to `as_json` and `names_only`. With `no_exec` no program is run.
    """

    sources: tuple[str, ...]
    vault_password_file: str | None = None
    limit: str | None = None
    host: str | None = None
    graph: bool = False
    as_json: bool = False
    names_only: bool = False
    no_exec: bool = False


def render_inventory(request: ListingRequest, report: Report = ignore_message) -> str:
    """Returns the listing; `report` gets the notes about the inventory.

    It connects to nothing. Raises `NothingToDoError` for a file that is missing or a pattern that
    selects no host, and `InputError` for what makes no sense in an inventory.
    """
    inventory = read_inventory(
        request.sources, request.vault_password_file, no_exec=request.no_exec, report=report
    ).inventory
    if request.host is not None:
        return render_host(inventory, request.host)
    if request.graph:
        return render_graph(inventory)
    names = tuple(host.name for host in inventory.hosts)
    if request.limit is not None:
        names = tuple(select_hosts(inventory, request.limit))
    if request.as_json:
        return render_list(inventory, names)
    return "".join(f"{name}\n" for name in names)
