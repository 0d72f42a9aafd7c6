"""What the probe observed in one scenario, and why its ending is believed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import Frozen, LongText, Microseconds, PortNumber, Seconds, ShortText, UInt32
from .playbook import Ending, Family

TcpState = Annotated[int, Meta(ge=0, le=13)]
"""tcpi_state (include/net/tcp_states.h)."""
WindowScale = Annotated[int, Meta(ge=0, le=0xFF)]
NamedCounts = Annotated[dict[ShortText, UInt32], Meta(max_length=64)]
"""Numbers of one trial by name."""
StepIndex = Annotated[int, Meta(ge=0, le=63)]
"""The index of a step in its scenario, from 0."""
StepTimes = Annotated[tuple[tuple[Microseconds, StepIndex], ...], Meta(max_length=64)]
"""[microseconds, index of the step]: when each step of a trial began."""
PollEvents = Annotated[tuple[ShortText, ...], Meta(max_length=16)]
"""Names of poll(2)'s events, without POLL."""


class Segment(Frozen, frozen=True, kw_only=True, array_like=True):
    """One captured segment; in JSON an array in this order, because a run has a great many.

    `at_us` is in microseconds since the trial began. `seq` and `ack` are relative to the initial
    sequence numbers, and `flags` are letters ("S", "S.", "P.", "P.U", "R."), both as tcpdump prints
    them. `length` is the payload's, in bytes. `urgent` is the urgent pointer, 0 without URG.
    `options` are those that matter ("TS", "MP_FASTCLOSE"). `window` is the field as it was sent,
    null in a run of an earlier version; `Connection.scales` says how to scale it.
    """

    at_us: Microseconds
    sender: Literal["closer", "peer"]
    flags: Annotated[str, Meta(max_length=12)]
    seq: UInt32
    ack: UInt32
    length: Annotated[int, Meta(ge=0, le=1 << 20)]
    urgent: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    options: ShortText = ""
    window: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None


class Connection(Frozen, frozen=True, kw_only=True):
    """What the segments of a trial have in common.

    `began` is when the trial began, in seconds since 1970 by the host's clock. `ports` are the
    closer's and the peer's. `scales` are the window scale options of the closer's and the peer's
    SYN, null for none: windows are scaled if both have one, and never that of a SYN (RFC 7323,
    section 2.2). `mapped`: the sockets are IPv6 and the packets IPv4. `headers` are the IP and TCP
    headers of the segments as captured, one after the other, compressed by zlib, in base64; "" if
    the trial neither deviates from the expectation nor differs from another trial, and if the
    host's Python has no zlib.
    """

    began: Seconds
    ports: tuple[PortNumber, PortNumber]
    scales: tuple[WindowScale | None, WindowScale | None] = (None, None)
    mapped: bool = False
    headers: Annotated[str, Meta(max_length=32768)] = ""


class PeerWitness(Frozen, frozen=True, kw_only=True):
    """What the peer's socket reported after the close; calls that consume nothing come first.

    `state` is tcpi_state (1 ESTABLISHED, 7 CLOSE, 8 CLOSE_WAIT; null over AF_UNIX). `poll` has
    event names ("IN", "OUT", "ERR", "HUP", "RDHUP", "PRI"). `recv` has the results of recv in
    order, after the errors that the steps themselves met: a number of bytes, "0" for end of file,
    the name of an errno ("ECONNRESET", "EAGAIN"), or the error of a step's send ("send:
    ECONNRESET"). `so_error` is SO_ERROR, read last ("0", "EPIPE"…). `poll_added`, over AF_UNIX
    only, has for each ending step of the closer its index and the event names that it added to the
    peer's.
    """

    state: TcpState | None = None
    poll: PollEvents = ()
    recv: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()
    so_error: ShortText = ""
    poll_added: Annotated[tuple[tuple[StepIndex, PollEvents], ...], Meta(max_length=64)] = ()


class Evidence(Frozen, frozen=True, kw_only=True):
    """Why an ending is believed: three witnesses, each null if it is not available.

    `wire` has the captured segments; `wire_note` says why there are none, and `wire_omitted` counts
    those that were cut out of the middle of a long trace. `connection` is null if no SYN was
    captured, and in runs of earlier versions. `kernel` has the counters that changed, by name.
    `steps` are [microseconds, index of the step] when each step began. `queue` is the closer's
    receive queue just before the close; in a scenario that sends until blocked it also has how many
    bytes of the receiver's window were left ("closer window", "peer window"). `bytes` counts what
    each side passed to send() and got from recv(). `same_as` names another host with the same
    evidence in all but time; run.json then has only that name.
    """

    wire: tuple[Segment, ...] | None = None
    connection: Connection | None = None
    wire_note: LongText = ""
    wire_omitted: UInt32 = 0
    peer: PeerWitness | None = None
    kernel: NamedCounts | None = None
    steps: StepTimes = ()
    queue: NamedCounts = {}
    bytes: NamedCounts = {}
    same_as: str = ""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The captured segments, also () if there was no capture."""
        return self.wire or ()


class Observation(Frozen, frozen=True, kw_only=True):
    """One scenario over one family on one host.

    `ending` is the verdict on all trials together; `endings` counts the ending of each trial and is
    never rewritten. `reason` says why a verdict is inconclusive, void or not run; it is empty where
    ending and endings agree. `evidence` is that of the first trial with this ending, or of the
    first trial that differs if trials disagree.
    """

    scenario: str
    family: Family
    ending: Ending
    trials: UInt32
    endings: dict[str, UInt32] = {}
    evidence: Evidence = Evidence()
    reason: str = ""

    @property
    def has_long_trace(self) -> bool:
        """Whether so much was sent that the trace is probably one of its own: how much data one
        segment acknowledges differs each time. It is not worth remembering.
        """
        return len(self.evidence.segments) > 40

    @property
    def is_mixed(self) -> bool:
        """Whether the trials disagree."""
        return len(self.endings) > 1
