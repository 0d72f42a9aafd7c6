"""An inventory as `ansible-inventory` prints it: the listing, one host's variables, the graph.
Pure.

Rules: the same bytes as Ansible's, but that a character of a value which one cannot see, such as
one that a terminal obeys, is written as JSON's escape for it. What was encrypted in the inventory
stays encrypted here.
"""

from __future__ import annotations

import datetime
import difflib
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Inventory
from fleetaudit.text.sanitize import shorten

from .values import (
    UNSAFE_KEY,
    VAULT_KEY,
    EncryptedText,
    Unsafe,
)

MAX_TWIGS = 1_000_000
"""The most lines of a graph: groups that share groups at every level double them with each."""

# Names that Ansible itself fills, and so drops from what it prints.
_INTERNAL = {
    *(f"ansible_{name}" for name in (
        "async_path", "collection_name", "config_file", "dependent_role_names", "diff_mode", "facts", "forks",
        "inventory_sources", "limit", "play_batch", "play_hosts", "play_hosts_all", "play_role_names",
        "playbook_python", "role_name", "role_names", "run_tags", "skip_tags", "verbosity", "version",
    )),
    *(f"inventory_{name}" for name in ("dir", "file", "hostname", "hostname_short")),
    *("groups", "group_names", "hostvars", "playbook_dir", "play_hosts"),
    *("role_name", "role_names", "role_path", "role_uuid"),
}  # fmt: skip


def render_list(inventory: Inventory, selected: Collection[str]) -> str:
    """Returns what `--list` prints of the hosts in `selected`, as JSON."""
    chosen = frozenset(selected)
    listing: dict[str, Any] = {}
    for name, group in inventory.tree.items():
        # The hosts of “all” are those of its children: “ungrouped” has what no other group has.
        hosts = [host for host in group.hosts if host in chosen] if name != "all" else []
        body = {
            key: value
            for key, value in (("hosts", hosts), ("children", list(group.children)))
            if value
        }
        if body:
            listing[name] = body
    variables = {
        host.name: _shown(host.variables) for host in inventory.hosts if host.name in chosen
    }
    hostvars = {name: shorten for name, shorten in variables.items() if shorten}
    return _dumped({**listing, "_meta": {"hostvars": hostvars, "profile": "inventory_legacy"}})


def render_host(inventory: Inventory, name: str) -> str:
    """Returns what `--host` prints: the variables of one host as JSON; raises `NothingToDoError`."""
    host = next((host for host in inventory.hosts if host.name == name), None)
    if host is None:
        near = difflib.get_close_matches(name, [host.name for host in inventory.hosts[:5000]], 3)
        hint = f"; did you mean {' or '.join(f'“{other}”' for other in near)}?" if near else ""
        raise NothingToDoError(f"no host “{shorten(name)}” in the inventory{hint}")
    return _dumped(_shown(host.variables))


def render_graph(inventory: Inventory) -> str:
    """Returns what `--graph` prints: groups and hosts as an indented tree; raises `InputError` for
    a huge one.
    """
    twigs = list(itertools.islice(_branches(inventory, "all", 0), MAX_TWIGS + 1))
    if len(twigs) > MAX_TWIGS:
        hint = "its groups share groups at many levels: use --list"
        raise InputError(
            f"a graph of more than {MAX_TWIGS} lines",
            source=", ".join(inventory.sources),
            hint=hint,
        )
    return "\n".join(twigs) + "\n"


def _branches(inventory: Inventory, name: str, depth: int) -> Iterator[str]:
    group = inventory.tree[name]
    yield _twig(f"@{name}:", depth)
    for child in group.children:
        yield from _branches(inventory, child, depth + 1)
    if name != "all":
        for host in group.hosts:
            yield _twig(host, depth + 1)


def _twig(text: str, depth: int) -> str:
    return "  |" * depth + "--" + text if depth else text


def _shown(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name not in _INTERNAL}


def _dumped(value: Any) -> str:
    text = json.dumps(_encoded(value), indent=4, sort_keys=True, ensure_ascii=False)
    # Only texts have characters beyond ASCII, and json.dumps has escaped those of ASCII that cannot
    # be seen, but DEL.
    return _BEYOND.sub(lambda found: "".join(map(_seen, found[0])), text) + "\n"


_BEYOND = re.compile("[^\n -~]+")


def _seen(character: str) -> str:
    """Returns a character that one can see as it is, and any other as JSON writes it where it must
    be ASCII.
    """
    return (
        character
        if character.isprintable()
        else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
    )


def _encoded(value: Any) -> Any:
    match value:
        case Unsafe():
            return {UNSAFE_KEY: str(value)}
        case EncryptedText():
            return {VAULT_KEY: value.ciphertext}
        case datetime.date():
            return value.isoformat()
        case list():
            return [_encoded(inner) for inner in value]
        case dict():
            return {_key(key): _encoded(inner) for key, inner in value.items()}
        case bytes():
            raise InputError(
                "binary data (!!binary), which JSON has no word for", source="inventory"
            )
        case _:
            return value


def _key(key: Any) -> str:
    """Returns the text that JSON has for a key; Ansible turns keys into text before it sorts them."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    return str(key)
