"""Reads a list of hosts on the command line, `web1,web[2:4],db:2222,`. No I/O."""

from __future__ import annotations

from .builder import InventoryBuilder
from .entries import Origin
from .host_names import parse_host_name_at

HOST_LIST_ORIGIN = Origin("host list")
"""The origin of every host of such a list."""


def read_host_list(text: str, builder: InventoryBuilder) -> None:
    """Adds every host of `text`, ungrouped unless a file puts it into a group.

    `text` is one or more names with ranges and ports, as an INI inventory has them, and a comma
    after each but perhaps the last. Blanks around a name and empty names do not count. A bare
    `localhost` that no file names is this machine without SSH, as Ansible's implicit localhost is
    ("Implicit localhost"). Raises `InputError` for an invalid name. Ansible: its inventory plugin
    host_list, and advanced_host_list for ranges.
    """
    for word in filter(None, map(str.strip, text.split(","))):
        names, port = parse_host_name_at(word, HOST_LIST_ORIGIN)
        for name in names:
            builder.add_host(name, "ungrouped", port, HOST_LIST_ORIGIN, listed=True)
