"""Ansible's inventories: from what the command line names to an `Inventory`, patterns and targets.

Rules: `load_inventory` is the only door to files. Every format has a reader that fills a `Draft`;
the draft alone knows membership and precedence. What means something to Ansible and is not read
here is refused, never passed over: a host that is silently missing, or reached in another way than
Ansible would, is the worst bug of an audit.

    sources.py       what a source is; each goes to its reader
    yaml_format.py   YAML, and JSON in YAML's form, into a draft
    ini_format.py    INI into a draft
    listing.py       what `ansible-inventory --list` or a program prints, into a draft
    program.py       runs an inventory that is a program
    host_list.py     `host,host,` into a draft
    json_text.py     JSON whose values know their lines
    names.py         ranges and ports in names
    draft.py         membership and precedence: a draft becomes the Inventory
    layered.py       a host's own variables above those of its groups
    beside.py        group_vars and host_vars beside a source
    values.py        what `!vault` and `!unsafe` make, yes and no
    vault.py         opens what ansible-vault encrypted
    templates.py     Jinja2 in values, rendered for a host
    sandbox.py       what of Jinja2 there is
    bounds.py        how much a template may do
    settings.py      ansible.cfg
    unsupported.py    a setting that is not followed, and the command without it; which of them would change
                     how inventories are read (unfollowed_reading.py), and how hosts are reached (…_connecting.py)
    way_out.py       what to type where something is not read
    patterns.py      what --limit and `hosts:` select
    variables.py     a host's variables, rendered, decrypted and typed
    connection.py    a host's variables become its target
    become.py        as whom the probe runs there
    overruled.py     which options of the command line a host's variables overrule
    ssh_arguments.py which arguments for OpenSSH may be let be, and which only it can follow
    printing.py      an inventory as `ansible-inventory` prints it
"""

from __future__ import annotations

from .sources import load_inventory

__all__ = ["load_inventory"]
