"""An inventory in YAML or JSON: places of values, trees of groups, listings, tags.

A success is an inventory of which every host can be selected and printed, and a place in the file
for each value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from tests.fuzz.harness import few_hosts, fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.errors import InputError
    from fleetaudit.inventory.builder import InventoryBuilder
    from fleetaudit.inventory.json_text import parse_json
    from fleetaudit.inventory.listing import is_listing, read_listing
    from fleetaudit.inventory.patterns import select_hosts
    from fleetaudit.inventory.printing import render_list
    from fleetaudit.inventory.values import TAGS
    from fleetaudit.inventory.yaml_format import read_yaml
    from fleetaudit.text.document import Document
    from fleetaudit.text.yaml_lines import decode_utf8, parse_yaml
    from tests import DATA

WORDS = (
    *words_of("all: hosts: children: vars: _meta hostvars ungrouped: !vault !unsafe & * << ? |"),
    "__ansible_vault", "__ansible_unsafe", "!!python/object:os.system", "!!binary", "!!set",
    "&a", "*a", "<<: *a", "- ", "? ", "%YAML 1.1", "---", "...", "0o17", "1:30", ".inf", "~",
    "2001-01-01", "\\ud800", "web[1:3]", "{", "}", "[", "]", '"', "'", "\t", "\u2028", "\ufeff",
)  # fmt: skip
MAX_SEED = 4000


def TestOneInput(data: bytes) -> None:
    """Reads an inventory as `inventory.sources` does, and selects each of its hosts."""
    with few_hosts():
        _read(data)


def _read(data: bytes) -> None:
    builder = InventoryBuilder()
    try:
        text = decode_utf8(data, source="hosts.yml")
        json = parse_json(text, source="hosts.yml")
        document = json or parse_yaml(text, source="hosts.yml", tags=TAGS)
        if is_listing(document.value, json=json is not None):
            read_listing(document, builder)
        else:
            read_yaml(document, builder)
        inventory = builder.build(["hosts.yml"])
    except InputError as e:
        assert len(str(e)) < 4000
        return
    _check_places(document, text)
    names = [host.name for host in inventory.hosts]
    if names:
        assert select_hosts(inventory, "all") == tuple(names)
    with contextlib.suppress(InputError):  # binary data in a variable
        assert render_list(inventory, names)


def _check_places(document: Document, text: str) -> None:
    """Checks that each group's place is within the file."""
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + 1
    lines += text.count("\u2028") + text.count("\u2029")
    for key in document.value:
        assert 1 <= document.key_at((key,)).line <= lines


def seeds() -> Iterable[bytes]:
    """Yields the inventories of the tests, and a small one of each form."""
    files = (p for p in sorted((DATA / "inventories").iterdir()) if p.suffix in (".yml", ".json"))
    yield from (data for data in map(_bytes_of, files) if len(data) < MAX_SEED)
    yield b"all:\n  hosts:\n    web[1:3]: {ansible_port: 22}\n  children: {db: {hosts: {b: }}}\n"
    yield b"a: &a {hosts: {x: {k: !unsafe '{{ 1 }}'}}}\nb: {<<: *a}\n"
    yield b'{"_meta": {"hostvars": {"h": {"k": [1e3]}}}, "g": {"hosts": ["h"]}}'
    yield b"g:\n  vars:\n    v: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      3132\n"


def _bytes_of(path: object) -> bytes:
    from pathlib import Path

    return Path(str(path)).read_bytes()


if __name__ == "__main__":
    fuzz(TestOneInput)
