"""Ansible's inventories: from what the command line names to an `Inventory`, patterns and targets.

Rules: `load_inventory` is the only door to files. Every format has a reader that fills a `Draft`; the draft alone knows
membership and precedence. What means something to Ansible and is not read here is refused, never passed over:
a host that is silently missing, or reached in another way than Ansible would, is the worst bug of an audit.

    sources.py       what a source is, and what is refused at first sight
    yaml_format.py   YAML into a draft
    host_list.py     `host,host,` into a draft
    names.py         ranges and ports in names
    draft.py         membership and precedence: a draft becomes the Inventory
    beside.py        group_vars, host_vars and ansible.cfg beside a source
    way_out.py       what to type where something is not read yet
    patterns.py      what --limit and `hosts:` select
    connection.py    a host's variables become its target
"""

from __future__ import annotations

from .sources import load_inventory

__all__ = ["load_inventory"]
