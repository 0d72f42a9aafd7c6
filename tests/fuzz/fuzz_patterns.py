"""Host patterns, of --limit, `hosts:` and waivers: `inventory.patterns`.

A success is some of the hosts, in their order. No pattern takes long, whatever its regular
expression.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import as_text, changed, fuzz, instrumented

with instrumented():
    from fleetaudit.errors import InputError, NothingToDoError
    from fleetaudit.inventory import patterns
    from fleetaudit.inventory.builder import InventoryBuilder
    from fleetaudit.inventory.ini_format import read_ini
    from fleetaudit.inventory.patterns import select_hosts

_builder = InventoryBuilder()
read_ini(
    "[web]\nweb[1:9]\n[db]\ndb-a\n2001:db8::1\n10.0.0.[1:3]\n[all2:children]\nweb\ndb\n"
    f"[long]\n{'a' * 60}b\n",
    "hosts",
    _builder,
)
INVENTORY = _builder.build(["hosts"])
NAMES = tuple(host.name for host in INVENTORY.hosts)
WORDS = (
    "all", "web", "db", "long", "ungrouped", "~", "!", "&", ":", ",", "[0]", "[1:3]", "[-1]", "*",
    "~(a+)+$", "~(a|a)*b", "~^", "(?i)", "\\1", "(?=", "{1,99}", "2001:db8::1", "web[1:3]",
)  # fmt: skip


MATCHING_S = 0.2
"""Of CPU, so that an expression without end costs few executions."""


def TestOneInput(data: bytes) -> None:
    """Selects hosts."""
    with changed(patterns, "MATCHING_S", MATCHING_S):
        _select(data)


def _select(data: bytes) -> None:
    pattern = as_text(data).replace("@", "")  # which would read a file
    try:
        selected = select_hosts(INVENTORY, pattern)
    except (InputError, NothingToDoError):
        return
    assert selected
    assert selected == tuple(name for name in NAMES if name in selected)
    excluded = f"all,!{selected[0]}"
    assert selected[0] not in select_hosts(INVENTORY, excluded)


def seeds() -> Iterable[bytes]:
    """Yields every kind of pattern."""
    for pattern in (
        "all", "web:!web1", "web:&all2", "web[0:2]", "web[-1]", "~web[0-9]", "*b*", "db-a,web3",
        "2001:db8::1", "10.0.0.1", "~(a+)+$", "all:!~^(a|b|ab)*c", "web[1:3]:db",
    ):  # fmt: skip
        yield pattern.encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
