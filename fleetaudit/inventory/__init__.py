"""Ansible's inventories and host patterns: from what the command line names to an `Inventory`.

Rules: `load_inventory` is the only function that opens inventories. The reader of each format adds
to an `InventoryBuilder`; the builder alone knows membership and precedence. What means something to
Ansible and is not supported here is an error, never skipped: a host that is silently missing is the
worst bug of an audit. Nothing here is about connecting.

    sources.py               each source goes to its reader
    yaml_format.py           YAML, and JSON in YAML's form
    ini_format.py            INI, with the words and values of ini_values.py
    listing.py               what `ansible-inventory --list` or a program prints
    script.py                runs an inventory that is a program
    host_list.py             `host,host,`
    json_text.py             JSON whose values know their lines
    host_names.py            names and ports, with the ranges of name_ranges.py
    folders.py               what is in a folder
    variable_names.py        names of variables
    suggestions.py           names that may be meant by a misspelt one
    vars_files.py            group_vars and host_vars next to a source
    builder.py               membership: entries of hosts and groups become the Inventory
    precedence.py            what a host inherits from its groups
    layered_mapping.py       a host's own variables over those of its groups
    values.py                what `!vault` and `!unsafe` make, yes and no
    vault.py                 decrypts what ansible-vault encrypted
    unsupported_settings.py  an unsupported setting of ansible.cfg, and the way without it
    settings_check.py        which of these would change what is read
    patterns.py              what --limit and `hosts:` select
    printing.py              an inventory as `ansible-inventory` prints it
"""

from __future__ import annotations

from .patterns import select_hosts
from .printing import render_graph, render_host, render_list
from .sources import load_inventory
from .unsupported_settings import UnsupportedSetting
from .vault import Vault, load_vault

__all__ = [
    "UnsupportedSetting",
    "Vault",
    "load_inventory",
    "load_vault",
    "render_graph",
    "render_host",
    "render_list",
    "select_hosts",
]
