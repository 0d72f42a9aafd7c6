"""Runs the steps of one trial."""

import select
import socket
import time
from typing import Any, Dict, Sequence

from .connecting import TRY, connect, prepare_listener
from .connection import Connection
from .constants import ERRORS, NOTICE, POLL_END, POLLRDHUP, SCARCE, SIDES, SIOCOUTQ, other
from .errors import StepFailed, TimedOut, call_or, errno_of, reason_of
from .files import write_file
from .finality import hasten_ack, wait_for_final_ending, wait_for_quiet
from .sysctls import sysctl_path
from .system import close_quietly
from .trace import micros
from .verbs import ENDINGS, VERBS
from .waiting import TIMEOUT, event_names, now, poll_events, wait_for_events, wait_until
from .witnesses import describe_trial, question_peer

# How the two are connected if no step has done so: by actor and verb, or by actor.
CONNECT_FOR = {
    ("others", "fill-queue"): "unaccepted",
    ("others", "queue-up"): "unaccepted",
    ("listener", "close"): "unaccepted",
    ("listener", "share"): "unaccepted",
    "closer": "tcp",
    "peer": "tcp",
    "both": "tcp",
}
BEFORE_CONNECTING = ("connect", "sign")


def run_trial(c):
    # type: (Connection) -> Dict[str, Any]
    """Runs the steps, and returns the trial as it is reported; raises Unsupported."""
    lab = c.lab
    TIMEOUT.begin_trial()
    if lab.capture:
        lab.capture.drain(-1, [])
        lab.capture.take_lost()
    c.before = lab.counters.read()
    c.began = int(time.time() * 1e6) / 1e6
    try:
        failure = run_steps(c)
        wait_for_final_ending(c)
        after = lab.counters.read()
        trial = describe_trial(c, question_peer(c), c.before, after)
        trial.update(failure)
        return trial
    finally:
        clean_up(c)


def run_steps(c):
    # type: (Connection) -> Dict[str, Any]
    """Runs the steps up to the first that fails; returns its error and number."""
    for number, step in enumerate(c.steps):
        c.step_times.append((micros(time.time() - c.began), number))
        try:
            run_step(c, number, step)
        except (StepFailed,) + ERRORS as e:
            if errno_of(e) in SCARCE:
                raise
            c.timed_out = isinstance(e, (TimedOut, socket.timeout))
            return {"error": reason_of(e), "failed_step": number}
    return {"error": ""}


def run_step(c, number, step):
    # type: (Connection, int, Sequence[Any]) -> None
    connect_if_needed(c, step)
    actor, verb = step[:2]
    ends = verb in ENDINGS and tuple(step[1:3]) != ("shutdown", "read")
    if c.kind == "unix":
        run_unix_step(c, number, step)
    elif ends:
        run_ending_step(c, number, step)
    elif c.ending and verb.startswith("send"):
        run_late_send(c, step)
    else:
        VERBS[verb](c, actor, *step[2:])


def connect_if_needed(c, step):
    # type: (Connection, Sequence[Any]) -> None
    """Connects the two if no step has done so; raises StepFailed."""
    actor, verb = step[:2]
    how = CONNECT_FOR.get((actor, verb), CONNECT_FOR.get(actor))
    if c.client_side or not how or verb in BEFORE_CONNECTING:
        return
    try:
        if tries_to_connect(c.steps):
            prepare_listener(c, TRY)
        else:
            connect(c, "peer", how)
    except (StepFailed,) + ERRORS as e:
        if errno_of(e) in SCARCE:
            raise
        raise StepFailed("the two sides could not be connected: " + reason_of(e))


def tries_to_connect(steps):
    # type: (Sequence[Any]) -> bool
    """Returns whether a step tries to connect, to a listener that steps before it use up."""
    return any(tuple(step[1:3]) == ("connect", TRY) for step in steps)


def run_unix_step(c, number, step):
    # type: (Connection, int, Sequence[Any]) -> None
    """Runs a step over AF_UNIX, which is complete when its call returns. Notes which of the peer's
    events an ending step of the closer adds.
    """
    actor, verb = step[:2]
    if actor != "closer" or verb not in ENDINGS:
        VERBS[verb](c, actor, *step[2:])
        return
    if not c.ending:
        note_queue(c)
        c.ending = True
    before = c.events("peer")
    VERBS[verb](c, actor, *step[2:])
    c.poll_added.append((number, event_names(c.events("peer") & ~before)))


def run_ending_step(c, number, step):
    # type: (Connection, int, Sequence[Any]) -> None
    """Runs a step that ends the connection, or one direction, until the other side notices."""
    actor, verb = step[:2]
    if actor in ("closer", "listener"):
        if not c.ending or verb != "shutdown":  # after a half-close more may have come
            note_queue(c)
        c.ending = True
    watch = Watch(c, other(actor))
    require_nothing_late(c, number)
    is_blocked = c.unacked(actor) > 0 if actor == "peer" else False
    note_unacknowledged(c, actor)
    VERBS[verb](c, actor, *step[2:])
    if actor == "peer":
        if not (watch.had_fin or is_blocked):
            watch.require_notice()
    else:
        watch.notices(notice_time(c))
        if watch.side == "peer" and not watch.had_fin:  # also if it arrives later
            c.segments_before_fin, c.fin_arrived_at = watch.segments, now()
    if number + 1 < len(c.steps) and not watch.had_fin:
        watch.wait_for_ack()


def require_nothing_late(c, number):
    # type: (Connection, int) -> None
    """Raises TimedOut if the closer has unread bytes although its step before has read all. A
    reader opens the window of a sender that was blocked, and a process that does not run for a
    while leaves it the time to send.
    """
    steps = [tuple(step[:2]) for step in c.steps[number - 1 : number + 1]]
    if steps == [("closer", "read-all"), ("closer", "close")] and c.unread("closer"):
        raise TimedOut("more bytes came after it had read all")


def run_late_send(c, step):
    # type: (Connection, Sequence[Any]) -> None
    """Runs a send after the closer's first ending step, which may be answered by a RST."""
    actor, verb = step[:2]
    watch = Watch(c, "peer")
    note_unacknowledged(c, actor)
    VERBS[verb](c, actor, *step[2:])
    watch.notices(notice_time(c))


def notice_time(c):
    # type: (Connection) -> float
    """Returns how many seconds to wait for a RST that may not come. Over TCP it has arrived once
    all is delivered; MPTCP reports it to the socket later.
    """
    is_delivered = c.lab.fence.settle() and c.kind != "mptcp"
    return 0.0 if is_delivered else TIMEOUT.stretched(NOTICE)


def note_unacknowledged(c, actor):
    # type: (Connection, str) -> None
    """Records how many bytes of the closer are not acknowledged before the ending step."""
    if actor == "closer":
        counts = [c.number_of(sock, SIOCOUTQ) for sock in c.open_sockets("closer")]
        c.unacknowledged = max([0] + counts)


class Watch(object):
    """The state of a side before a step, to detect what the step changes."""

    def __init__(self, c, side):
        # type: (Connection, str) -> None
        self.c, self.side = c, side
        self.events = c.events(side)
        self.segments = c.segments_sent(side)
        self.had_fin = c.has_fin(side)

    def notices(self, seconds=None):
        # type: (Any) -> bool
        """Returns whether the side's socket shows a new FIN or RST within `seconds`, or TIMEOUT."""
        sock = self.c.sockets[self.side]
        if sock is None or self.events & (select.POLLERR | select.POLLHUP):
            return True
        if self.events & POLLRDHUP:
            if seconds is None:
                seconds = TIMEOUT.stretched(NOTICE / 2)
            return bool(poll_events(sock, 0, seconds))
        if seconds is None:
            return bool(wait_for_events(sock, POLLRDHUP))
        return bool(poll_events(sock, POLLRDHUP, seconds))

    def require_notice(self):
        # type: () -> None
        """Raises TimedOut unless the side's socket shows a new FIN or RST in time."""
        if not self.notices() and not self.c.has_fin(self.side):
            raise TimedOut("the %s did not notice it" % self.side)

    def wait_for_ack(self):
        # type: () -> None
        """Waits until a side that received a FIN has acknowledged it (delayed by up to 40 ms): a
        closer that is still in FIN_WAIT1 behaves differently.
        """
        before = self.segments
        if before is None or self.c.events(self.side) & POLL_END != POLLRDHUP:
            return
        if self.side == "peer":
            hasten_ack(self.c)
        sent = self.c.segments_sent
        wait_until(lambda: (sent(self.side) or 0) > before, TIMEOUT.stretched(0.25))
        self.c.lab.fence.settle()  # the acknowledgment was sent: wait until it has arrived


def note_queue(c):
    # type: (Connection) -> None
    """Records the closer's receive queue. rx_queue shows more than FIONREAD and costs more time."""
    if c.sockets["closer"] is None:
        return
    c.queue["fionread"] = c.unread("closer")
    c.queue.pop("rx_queue", None)
    if c.lab.private and c.kind in ("tcp", "mapped"):
        near, far = c.ends("closer")
        unread = c.lab.rx_queue(near, far, c.steps)
        if unread is not None:
            c.queue["rx_queue"] = unread


def clean_up(c):
    # type: (Connection) -> None
    """Ends the children, restores the settings, and closes all sockets by RST: no TIME_WAIT."""
    for child in c.children:
        child.close()
    for reference in c.references:
        close_quietly(reference, abort=True)
    if c.own_listener:
        c.lab.watch_ports()
    elif c.waiting:  # accept failed: the next trial must not find this connection in the queue
        close_quietly(c.lab.listeners.pop((c.family, c.kind)))
    for sock in filter(None, [c.sockets[side] for side in SIDES]):
        close_quietly(sock, abort=True)
    for undo in c.cleanups:  # after the sockets: they reset what the other side still sends
        call_or(None, undo)
    if c.own_listener and c.listener is not None:
        close_quietly(c.listener)
    for key, value in reversed(c.changed_sysctls):
        write_file(sysctl_path(key), value)
    if c.kind == "mptcp":  # the last segments of MPTCP's worker must not count for the next trial
        wait_for_quiet(c)
    c.lab.fence.settle()
