"""The steps of stories that few playbooks tell: sent only to hosts whose plan has one of them."""

from .bpf import REJECT_ALL, assemble, attach_filter
from .connection import Connection
from .needs import add_needs, need_capture
from .verbs import add_verbs


def vanish(c, actor):
    # type: (Connection, str) -> None
    """Has a side's kernel drop every segment for it: sk_filter() comes before the connection."""
    attach_filter(c.sock(actor), assemble(REJECT_ALL))
    c.vanished = True


STORY_VERBS = add_verbs({"vanish": vanish})
STORY_NEEDS = add_needs({"vanish": need_capture})
