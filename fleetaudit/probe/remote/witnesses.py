"""Collects the three witnesses of a trial: the wire, the peer's socket and the counters."""

import errno
import select
import socket
from typing import Any, Dict, Optional

from .connection import Connection
from .constants import ERRORS, IS_RESET, MAX_STATE, MAX_WORD, POLLRDHUP, SIDES
from .counters import NEEDED
from .errors import error_name, would_block
from .receiving import receive, record_result
from .trace import describe_connection, trace_rows
from .waiting import event_names, poll_events

ALL_EVENTS = select.POLLIN | select.POLLPRI | select.POLLOUT | POLLRDHUP


def question_peer(c):
    # type: (Connection) -> Optional[Dict[str, Any]]
    """Returns what the peer's socket shows, None if it is closed. State and poll(2) change nothing,
    so they come first; SO_ERROR last: it shares one pending error with recv.
    """
    sock = c.sockets["peer"]
    if sock is None:
        return None
    info = c.tcp_info("peer")
    state = ord(info[0:1] or b"\xff")
    events = poll_events(sock, ALL_EVENTS, 0)
    c.ending = True
    read_rest(c)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return {
        "state": state if state <= MAX_STATE else None,
        "poll": event_names(events),
        "recv": c.peer_results,
        "so_error": errno.errorcode.get(error, str(error)),
        "poll_added": c.poll_added,
    }


def read_rest(c):
    # type: (Connection) -> None
    """Calls the peer's recv up to three times, as evidence."""
    for _ in range(3):
        try:
            if not receive(c, "peer", 65536):
                return
        except ERRORS as e:
            if would_block(e):
                record_result(c, "peer", error_name(e))
                return


def note_strangers(c):
    # type: (Connection) -> None
    """Notes how many waited in the accept queue, and how many of them were reset."""
    if c.strangers:
        states = [c.tcp_info_of(sock)[0:1] for sock in c.strangers]
        c.queue["others waiting"] = len(states)
        c.queue["others reset"] = states.count(IS_RESET)


def describe_trial(c, peer, before, after):
    # type: (Connection, Any, Any, Any) -> Dict[str, Any]
    """Returns a trial as it is reported, without its error."""
    note_strangers(c)
    trial = {
        "count": 1,
        "wire": None,
        "wire_note": c.lab.wire_note,
        "connection": None,
        "peer": peer,
        "kernel": moved_counters(before, after),
        "steps": c.step_times,
        "queue": c.queue,
        "bytes": {},
        "outstanding": c.outstanding,
    }  # type: Dict[str, Any]
    for side in SIDES:
        trial["bytes"][side + " sent"] = c.sent[side]
        trial["bytes"][side + " received"] = c.received[side]
    if c.kind == "unix":
        trial["wire_note"] = "AF_UNIX has no segments"
    elif c.lab.capture:
        trial["wire_lost"] = c.lab.capture.take_lost()
        add_wire(c, trial)
    return trial


def add_wire(c, trial):
    # type: (Connection, Dict[str, Any]) -> None
    where = (c.client_port, c.client_side, c.began)
    trial["wire"], c.reported_packets = trace_rows(c.packets, *where)
    trial["wire_omitted"] = len(c.packets) - len(c.reported_packets)
    trial["connection"] = describe_connection(c.packets, *where)
    if trial["connection"] and c.kind == "mapped":
        trial["connection"]["mapped"] = True


def moved_counters(before, after):
    # type: (Dict[str, int], Dict[str, int]) -> Optional[Dict[str, int]]
    """Returns by how much counters grew, None if the needed ones are unknown."""
    known = set(before).intersection(after)
    if not known.issuperset(NEEDED):
        return None
    grown = ((name, after[name] - before[name]) for name in known)
    return {name: min(by, MAX_WORD) for name, by in grown if by > 0}
