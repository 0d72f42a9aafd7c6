"""Renders an inventory as `ansible-inventory` prints it: a list, one host, or a graph.

Pure. Rules: the same bytes as Ansible's, except that an invisible character of a value, such as one
that a terminal obeys, is written as JSON's escape for it. What is encrypted in the inventory stays
encrypted here.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Group, Inventory, by_name
from fleetaudit.text.json_schema import escape_json_text
from fleetaudit.text.sanitize import shorten

from .suggestions import did_you_mean
from .values import UNSAFE_KEY, VAULT_KEY, EncryptedText, Unsafe

MAX_GRAPH_LINES = 1_000_000
"""Maximum number of lines of a graph: groups that share groups at every level double them."""

# Names that Ansible itself fills, and so drops from what it prints.
_INTERNAL = {
    "ansible_async_path", "ansible_collection_name", "ansible_config_file",
    "ansible_dependent_role_names", "ansible_diff_mode", "ansible_facts", "ansible_forks",
    "ansible_inventory_sources", "ansible_limit", "ansible_play_batch", "ansible_play_hosts",
    "ansible_play_hosts_all", "ansible_play_role_names", "ansible_playbook_python",
    "ansible_role_name", "ansible_role_names", "ansible_run_tags", "ansible_skip_tags",
    "ansible_verbosity", "ansible_version", "inventory_dir", "inventory_file",
    "inventory_hostname", "inventory_hostname_short", "groups", "group_names", "hostvars",
    "playbook_dir", "play_hosts", "role_name", "role_names", "role_path", "role_uuid",
}  # fmt: skip


def render_list(inventory: Inventory, selected: Collection[str]) -> str:
    """Returns what `--list` prints of the hosts in `selected`, as JSON.

    `selected` are names of hosts; a group keeps its children even if no host of theirs is selected.
    Groups and hosts without content are left out, as in Ansible. Keys are sorted, four blanks a
    level, and a newline ends the text. Raises `InputError` for a variable with binary data.
    Ansible: `json_inventory` in cli/inventory.py.
    """
    chosen = frozenset(selected)
    bodies = {name: _group_body(name, group, chosen) for name, group in inventory.tree.items()}
    variables = {
        host.name: _visible(host.variables) for host in inventory.hosts if host.name in chosen
    }
    meta = {"hostvars": _without_empty(variables), "profile": "inventory_legacy"}
    return _render_json({**_without_empty(bodies), "_meta": meta})


def _group_body(name: str, group: Group, chosen: Collection[str]) -> dict[str, Any]:
    """Returns the parts of a group in a listing, without empty ones.

    The hosts of “all” are those of its children: “ungrouped” has what no other group has.
    """
    hosts = () if name == "all" else group.hosts
    listed = [host for host in hosts if host in chosen]
    return _without_empty({"hosts": listed, "children": list(group.children)})


def _without_empty(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a mapping whose values are not empty."""
    return {key: value for key, value in mapping.items() if value}


def render_host(inventory: Inventory, name: str) -> str:
    """Returns what `--host` prints: the variables of one host as JSON.

    What the host inherits from its groups is among them; what Ansible itself fills, such as
    `inventory_hostname`, is not. Raises `NothingToDoError`, with similar names, if there is no such
    host, and `InputError` for a variable with binary data. Ansible: `InventoryCLI.run` in
    cli/inventory.py.
    """
    hosts = by_name(inventory.hosts)
    if name not in hosts:
        hint = did_you_mean(name, hosts)
        raise NothingToDoError(f"no host “{shorten(name)}” in the inventory{hint}")
    return _render_json(_visible(hosts[name].variables))


def render_graph(inventory: Inventory) -> str:
    """Returns what `--graph` prints, groups and hosts as an indented tree.

    A group that is in several groups is printed in each. Raises `InputError` for more than
    `MAX_GRAPH_LINES` lines. Ansible: `inventory_graph` in cli/inventory.py.
    """
    lines = list(itertools.islice(_graph_lines(inventory, "all", 0), MAX_GRAPH_LINES + 1))
    if len(lines) > MAX_GRAPH_LINES:
        raise InputError(
            f"a graph of more than {MAX_GRAPH_LINES} lines",
            source=", ".join(inventory.sources),
            hint="its groups share groups at many levels: use --list",
        )
    return "\n".join(lines) + "\n"


def _graph_lines(inventory: Inventory, name: str, depth: int) -> Iterator[str]:
    """Yields the lines of a group and everything in it, groups first.

    The hosts directly in “all” are not printed, as in Ansible: they are in “ungrouped”.
    """
    group = inventory.tree[name]
    yield _graph_line(f"@{name}:", depth)
    for child in group.children:
        yield from _graph_lines(inventory, child, depth + 1)
    if name != "all":
        for host in group.hosts:
            yield _graph_line(host, depth + 1)


def _graph_line(text: str, depth: int) -> str:
    """Returns one line of a graph; the first one stands alone."""
    if depth == 0:
        return text
    return "  |" * depth + "--" + text


def _visible(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables without those that Ansible fills itself."""
    return {name: value for name, value in variables.items() if name not in _INTERNAL}


def _render_json(value: Any) -> str:
    """Returns a value as JSON as Ansible writes it, with invisible characters escaped.

    json.dumps escapes those of ASCII, but DEL.
    """
    text = json.dumps(_to_json(value), indent=4, sort_keys=True, ensure_ascii=False)
    return escape_json_text(text) + "\n"


def _to_json(value: Any) -> Any:
    """Returns a value of a variable as JSON has it; raises `InputError` for binary data."""
    match value:
        case Unsafe():
            return {UNSAFE_KEY: str(value)}
        case EncryptedText():
            return {VAULT_KEY: value.ciphertext}
        case datetime.date():
            return value.isoformat()
        case list():
            return list(map(_to_json, value))
        case dict():
            return {_key_text(key): _to_json(inner) for key, inner in value.items()}
        case bytes():
            raise InputError("binary data (!!binary), which JSON cannot hold", source="inventory")
        case _:
            return value


def _key_text(key: Any) -> str:
    """Returns a key as JSON has it, as text.

    Ansible turns keys into text before it sorts them; None becomes null, and True true.
    """
    if isinstance(key, str):
        return key
    if isinstance(key, bool | int | float | None):
        return json.dumps(key)
    return str(key)
