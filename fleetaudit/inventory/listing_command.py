"""The one way out of everything that Ansible reads and we do not: its own listing of it."""

from __future__ import annotations

import shlex


def conversion_hint(source: str) -> str:
    """Returns, for a hint, the command that makes an inventory of `source` that is read; in a
    folder of its own, because group_vars beside it are folded in already.
    """
    command = f"mkdir -p new && ansible-inventory -i {shlex.quote(source)} --list > new/hosts.json"
    return f"convert it:  {command}  and name new/hosts.json"
