"""Lists of hosts on the command line, `web1,web[2:4],db:2222,`: into a draft. No I/O."""

from __future__ import annotations

from .builder import InventoryBuilder, Origin
from .host_names import InvalidNameError, parse_host_name

HOST_LIST_ORIGIN = Origin("host list")


def read_host_list(text: str, draft: InventoryBuilder) -> None:
    """Puts every host of `text` into `draft`, ungrouped unless a file says otherwise; raises
    `InputError`.

    A bare `localhost` that no file mentions is this machine without SSH, as Ansible's implicit
    localhost is.
    """
    for word in map(str.strip, text.split(",")):
        if not word:
            continue
        try:
            names, port = parse_host_name(word)
        except InvalidNameError as e:
            raise HOST_LIST_ORIGIN.error(e.message, e.hint) from e
        for name in names:
            draft.host(name, "ungrouped", port, HOST_LIST_ORIGIN, listed=True)
