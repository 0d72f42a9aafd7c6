"""Lies whose evidence contradicts itself or its steps, and hosts that opt out of a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .genuine import Body, Genuine, Lie, observation, offset_of, trial, without_segment

UNREAD, DRAINED = "unread-close", "drained-close"


def lies(genuine: Genuine) -> Iterator[Lie]:
    """Yields the lies: each must leave its scenario without a verdict."""
    for name, (change, words) in _CONTRADICTIONS.items():
        yield Lie(f"evidence {name}", genuine.changed(change), "inconclusive", words)
    for name, (change, seen, words) in _OPTING_OUT.items():
        yield Lie(f"opts out: {name}", genuine.changed(change), seen, words)
    yield Lie("evidence of the control", genuine.changed(_transplanted), "refused", "from 0 to 1")
    yield Lie(
        "lies well: no SYN of the closer, as if the capture began late",
        genuine.changed(_without(UNREAD, "closer", "S")),
        "own row",
    )
    yield Lie("lies well: a FIN with all its witnesses", genuine.changed(_perfect_lie), "own row")


def _in(name: str, **values: Any) -> Callable[[Body], object]:
    """Returns a change of the first trial of a scenario."""
    return lambda body: trial(body, name).update(values)


def _within(name: str, key: str, **values: Any) -> Callable[[Body], object]:
    """Returns a change of an object in the first trial; "_" stands for a blank in its keys."""
    plain = {name.replace("_", " "): value for name, value in values.items()}
    return lambda body: trial(body, name)[key].update(plain)


def _index(body: Body, name: str, sender: str, flag: str = "", *, length: bool = False) -> int:
    """Returns the index of the first segment of a sender with a flag, or with data."""
    rows = trial(body, name)["wire"]
    return next(
        i
        for i, row in enumerate(rows)
        if row[0] == sender and flag in row[1] and (row[4] > 0 or not length)
    )


def _without(
    name: str, sender: str, flag: str = "", *, length: bool = False
) -> Callable[[Body], object]:
    """Returns a change that removes a segment."""
    return lambda body: without_segment(body, name, _index(body, name, sender, flag, length=length))


def _flags(name: str, old: str, new: str) -> Callable[[Body], object]:
    """Returns a change of the flags of the closer's segment."""

    def change(body: Body) -> None:
        trial(body, name)["wire"][_index(body, name, "closer", old)][1] = new

    return change


def _reset_first(body: Body) -> None:
    """Puts the RST before the SYN."""
    rows = trial(body, UNREAD)["wire"]
    rows.insert(0, rows.pop(_index(body, UNREAD, "closer", "R")))


def _fewer_steps(body: Body) -> None:
    """Has one step begin instead of two."""
    del body["times"]["steps"][offset_of(body, UNREAD, "steps") + 1]
    trial(body, UNREAD)["steps"] = 1


def _transplanted(body: Body) -> None:
    """Shows what the control showed, with the steps of the control."""
    one = trial(body, DRAINED)
    wire_at, steps_at = (offset_of(body, UNREAD, what) for what in ("wire", "steps"))
    old = trial(body, UNREAD)
    _resize(body["times"], ("at", "windows"), wire_at, len(old["wire"]), len(one["wire"]))
    _resize(body["times"], ("steps",), steps_at, old["steps"], one["steps"])
    observation(body, UNREAD)["trials"][0] = {**one, "count": old["count"]}


def _resize(times: Body, columns: tuple[str, ...], at: int, old: int, new: int) -> None:
    """Gives a trial another number of times."""
    for column in columns:
        times[column][at : at + old] = [1] * new


def _perfect_lie(body: Body) -> None:
    """Shows a FIN for unread data, and forges all that would contradict it."""
    _transplanted(body)
    _fewer_steps(body)
    del body["times"]["steps"][offset_of(body, UNREAD, "steps")]
    one = trial(body, UNREAD)
    one["steps"] = 2
    body["times"]["steps"].insert(offset_of(body, UNREAD, "steps"), 1)
    one["queue"] = {"fionread": 5, "rx_queue": 5}
    one["bytes"] = {**one["bytes"], "closer received": 0}


def _control_resets(body: Body) -> None:
    """Has the control end by RST, with all its witnesses."""
    _flags(DRAINED, "F", "R.")(body)
    trial(body, DRAINED).update(peer=PEER_RST, kernel={"OutRsts": 1, "TCPAbortOnData": 1})


PEER_RST = {"state": 7, "poll": ["ERR", "HUP"], "recv": ["ECONNRESET", "0"], "so_error": "0"}
PEER_FIN = {"state": 8, "poll": ["IN", "OUT", "RDHUP"], "recv": ["0"], "so_error": "0"}
_CONTRADICTIONS: dict[str, tuple[Callable[[Body], object], str]] = {
    "RST before SYN": (_reset_first, "before any SYN"),
    "no SYN of the peer": (_without(UNREAD, "peer", "S"), ""),
    "no data of the peer": (_without(UNREAD, "peer", length=True), "none of them"),
    "no end on the wire": (_without(UNREAD, "closer", "R"), "disagree"),
    "FIN on the wire, RST at the peer": (_flags(UNREAD, "R", "F."), "disagree"),
    "FIN and RST on the wire, counted once less": (_flags(UNREAD, "R", "RF."), ""),
    "RST in the trace of a FIN": (_flags(DRAINED, "F", "R."), "disagree"),
    "RST on the wire, FIN at the peer": (_in(UNREAD, peer=PEER_FIN), "disagree"),
    "RST at the peer, FIN on the wire": (
        _in(DRAINED, peer=PEER_RST),
        "disagree",
    ),
    "peer sent 0": (_within(UNREAD, "bytes", peer_sent=0), "“peer sent” is 0"),
    "peer sent 4 of 5": (_within(UNREAD, "bytes", peer_sent=4), "“peer sent” is 4"),
    "closer received what nobody sent": (_within(UNREAD, "bytes", closer_received=99), "received"),
    "peer received what nobody sent": (_within(UNREAD, "bytes", peer_received=9), "received"),
    "empty queue": (_within(UNREAD, "queue", fionread=0), "has 0 bytes"),
    "queue of 4 GB": (_within(UNREAD, "queue", fionread=2**32 - 1), "and the steps leave 5"),
    "queue that was drained": (_within(DRAINED, "queue", fionread=3), "and the steps leave 0"),
    "one step of two": (_fewer_steps, "1 of 2 steps began"),
    "only TCPAbortOnMemory moved": (
        _in(UNREAD, kernel={"OutRsts": 1, "TCPAbortOnMemory": 1}),
        "TCPAbortOnMemory",
    ),
    "a billion aborts of one connection": (
        _within(UNREAD, "kernel", TCPAbortOnClose=10**9),
        "moved by 1000000000",
    ),
    "a billion resets of one connection": (_within(UNREAD, "kernel", EstabResets=10**9), ""),
    "an RST that no counter counted": (_in(UNREAD, kernel={}), "OutRsts did not move"),
    "two RSTs for one": (_within(UNREAD, "kernel", OutRsts=2), "OutRsts moved by 2"),
    "aborts without an RST": (_within(DRAINED, "kernel", TCPAbortOnClose=3), "TCPAbortOnClose"),
    "no witness": (_in(UNREAD, peer=None, kernel=None, wire_lost=5), "no witness"),
    "a step that failed": (_in(UNREAD, error="x", failed_step=1), "x"),
    "more may come": (_in(DRAINED, outstanding="x"), "more may come"),
    "an error that no socket has": (
        _in(UNREAD, peer={**PEER_FIN, "so_error": "EOTHER"}),
        "disagree",
    ),
    "trials that disagree": (
        lambda body: (
            observation(body, UNREAD)["trials"].append(
                {
                    "count": 1,
                    "wire": None,
                    "peer": PEER_FIN,
                    "kernel": None,
                    "steps": 0,
                    "error": "x",
                }
            )
            or trial(body, UNREAD).update(count=1)
        ),
        "",
    ),
    "an RST of AF_UNIX without an end": (
        lambda body: trial(body, "unix-close", "unix")["peer"].update(
            poll_added=[], recv=["EAGAIN"]
        ),
        "",
    ),
    "a control that ends by RST": (_control_resets, "its control"),
}


def _not_run_but(*kept: str, failed: bool = False) -> Callable[[Body], object]:
    """Returns a change after which only these scenarios ran."""

    def change(body: Body) -> None:
        for each in body["observations"]:
            if each["scenario"] not in kept:
                each.update(trials=[], not_run="this host has no TCP", failed=failed)
        _without_times(body)

    return change


def only_the_control(body: Body) -> None:
    """Has nothing run but a control."""
    _not_run_but(DRAINED)(body)


def _without_times(body: Body) -> None:
    """Shortens the times to those of the trials that are left."""
    trials = [one for each in body["observations"] for one in each.get("trials", ())]
    connections = sum(one.get("connection") is not None for one in trials)
    segments = sum(len(one["wire"] or ()) for one in trials)
    times = body["times"]
    times.update(
        began=times["began"][:connections],
        ports=times["ports"][: 2 * connections],
        steps=times["steps"][: sum(one["steps"] for one in trials)],
        at=times["at"][:segments],
        windows=times["windows"][:segments],
        headers=[],
    )


def _leave_out(name: str) -> Callable[[Body], object]:
    """Returns a change that removes a scenario altogether."""

    def change(body: Body) -> None:
        body["observations"] = [each for each in body["observations"] if each["scenario"] != name]
        _without_times(body)

    return change


_ALL = ("zero-linger-close", DRAINED, UNREAD, "late-data", "unix-drained-close", "unix-close")
_OPTING_OUT: dict[str, tuple[Callable[[Body], object], str, str]] = {
    "all but the control": (_not_run_but(DRAINED), "inconclusive", "needs nothing more"),
    "all but the positive control": (
        _not_run_but("zero-linger-close"),
        "inconclusive",
        "needs nothing more",
    ),
    "all but both controls": (
        _not_run_but(DRAINED, "zero-linger-close", "unix-drained-close"),
        "inconclusive",
        "needs nothing more",
    ),
    "all over TCP": (
        _not_run_but("unix-drained-close", "unix-close"),
        "inconclusive",
        "nothing ran over TCP",
    ),
    "one scenario": (
        _not_run_but(*(name for name in _ALL if name != UNREAD)),
        "inconclusive",
        "needs nothing more",
    ),
    "all failed but the control": (_not_run_but(DRAINED, failed=True), "inconclusive", ""),
    "all": (_not_run_but(), "refused", "no scenario ran"),
    "all failed": (_not_run_but(failed=True), "refused", "no scenario ran"),
    "unread-close is not mentioned": (_leave_out(UNREAD), "inconclusive", "did not say"),
    "the control is not mentioned": (_leave_out(DRAINED), "inconclusive", ""),
}
