"""The steps of stories that few playbooks tell: sent only to hosts whose plan has one of them."""

from .bpf import REJECT_ALL, assemble, attach_filter
from .connecting import connect_stranger, connect_to_listener, make_client
from .connection import Connection
from .constants import ERRORS, NO_PORT
from .errors import StepFailed, errno_of, error_name
from .listeners import open_listener
from .needs import add_needs, need_capture
from .system import close_quietly
from .verbs import add_verbs


def vanish(c, actor):
    # type: (Connection, str) -> None
    """Has a side's kernel drop every segment for it: sk_filter() comes before the connection."""
    attach_filter(c.sock(actor), assemble(REJECT_ALL))
    c.vanished = True


def queue_up(c, actor, count):
    # type: (Connection, str, int) -> None
    """Connects strangers that nobody accepts."""
    if c.listener is None:
        raise StepFailed("nothing listens any more")
    for _ in range(count):
        c.strangers.append(connect_stranger(c))
    c.lab.fence.settle()


def share(c, actor):
    # type: (Connection, str) -> None
    """Opens another listener on the port of the first."""
    if c.listener is None or c.second_listener is not None:
        raise StepFailed("a second listener joins one that is open, and only once")
    second = open_listener(c.family, c.kind, 16, c.listener_address[2])
    c.cleanups.append(lambda: close_quietly(second))
    c.second_listener = second


def reconnect(c, actor):
    # type: (Connection, str) -> None
    """Makes a second connection between the same ports, and begins to observe again."""
    if actor != c.client_side:
        raise StepFailed("it was not the %s that connected" % actor)
    if list(c.sockets.values()) != [None, None] or c.listener is None:
        raise StepFailed("the first connection is not over, or nothing listens any more")
    c.lab.fence.settle()
    c.drain()
    c.observe()
    c.before = c.lab.counters.read()
    try:
        connect_to_listener(c, make_client(c), "tcp", 0)
    except ERRORS as e:
        if errno_of(e) not in NO_PORT:
            raise
        raise StepFailed("the kernel does not use the ports again (%s)" % error_name(e))


STORY_VERBS = add_verbs(
    {"queue-up": queue_up, "reconnect": reconnect, "share": share, "vanish": vanish}
)
STORY_NEEDS = add_needs({"vanish": need_capture})
