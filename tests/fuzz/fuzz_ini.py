"""An inventory in INI: `inventory.ini_format`, and the names, ranges and values in it.

A success is an inventory of which every host can be selected and printed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from tests.fuzz.harness import as_text, few_hosts, fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.errors import InputError
    from fleetaudit.inventory.builder import InventoryBuilder
    from fleetaudit.inventory.ini_format import read_ini
    from fleetaudit.inventory.patterns import select_hosts
    from fleetaudit.inventory.printing import render_list

SEEDS = (
    "[web]\nweb[1:3] ansible_port=2222\ndb ansible_host='192.0.2.1' x=\"a b\" # c\n",
    "a\n[one:children]\ntwo\n[two]\n[one:vars]\nname = {'a': [1, 2, (3,)]}\nn=0x10\n",
    "[g]\nh[a:f:2].example[001:9]:22 ansible_user=r ; c\n::1\n[2001:db8::1]:22\n",
    "h v=b'\\xff' w=[1,2 x={1,2} y=1e999 z=True\n",
    "[a:children]\nb\n[b:children]\na\n",
)
WORDS = (
    *words_of("[web] [web:vars] [web:children] all ungrouped ansible_host= ansible_port="),
    "[1:9]", "[a:z:2]", "{'a':1}", "b'\\x00'", "0o17", "1_0", "...", "é", "---", "#", ";", "\\",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Reads an inventory and selects each of its hosts."""
    with few_hosts():
        _read(data)


def _read(data: bytes) -> None:
    builder = InventoryBuilder()
    try:
        read_ini(as_text(data), "hosts", builder)
        inventory = builder.build(["hosts"])
    except InputError as e:
        assert e.line >= 0
        assert len(str(e)) < 4000
        return
    names = [host.name for host in inventory.hosts]
    assert len(set(names)) == len(names)
    if names:
        assert select_hosts(inventory, "all") == tuple(names)
    with contextlib.suppress(InputError):  # binary data in a variable
        assert render_list(inventory, names)


def seeds() -> Iterable[bytes]:
    """Yields inventories with every kind of line."""
    return (seed.encode() for seed in SEEDS)


if __name__ == "__main__":
    fuzz(TestOneInput)
