"""The reply of the probe: the types that decode its one line.

Rules: what was seen (`observations`, the shape) has nothing in it that depends on time, and
`Times` has nothing else. So hosts with one kernel build send the same bytes of observations, and
whatever judges a trial cannot see a time: the same bytes give the same verdict.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fleetaudit.model import (
    Exposure,
    Family,
    Frozen,
    Kernel,
    LongText,
    Microseconds,
    NamedCounts,
    Os,
    PeerWitness,
    PortNumber,
    ProbeName,
    Seconds,
    ServiceResult,
    ShortText,
    Sysctl,
    SysctlLines,
    UInt32,
    Watched,
    WindowScale,
)

MAX_OBSERVATIONS = 2000
MAX_SYSCTLS = 5000
PROTOCOL = 2

Duration = Annotated[float, Meta(ge=0, le=86400)]
"""Seconds that the probe took; no deadline is longer than a day."""


class RawSegment(Frozen, frozen=True, kw_only=True, array_like=True):
    """One captured segment without its time and window, in the words of `model.Segment`; in JSON an
    array in this order.
    """

    sender: Literal["closer", "peer"]
    flags: Annotated[str, Meta(max_length=12)]
    seq: UInt32
    ack: UInt32
    length: Annotated[int, Meta(ge=0, le=1 << 20)]
    urgent: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    options: ShortText = ""


class RawConnection(Frozen, frozen=True, kw_only=True):
    """What the segments of a trial have in common without its time, in the words of
    `model.Connection`.
    """

    scales: tuple[WindowScale | None, WindowScale | None] = (None, None)
    mapped: bool = False


class RawTrial(Frozen, frozen=True, kw_only=True):
    """One trial, or `count` trials that differ in nothing but time.

    `wire`: each captured packet once, of this trial's connection only; null if it could not be
    read, and then `wire_note` says why. `wire_lost`: records that the packet socket dropped
    (PACKET_STATISTICS). `wire_omitted`: segments left out of the middle of a long trace, never one
    with SYN, FIN, RST or URG. `connection`: what the segments have in common, null without a SYN.
    `peer`: null if its socket was gone. `kernel`: the counters that changed, null if they could not
    be read. `steps`: how many steps began, in the order of the scenario.

    `queue`: just before the closer ended, the closer's receive queue by FIONREAD ("fionread") and
    by /proc/net/tcp ("rx_queue", in a private namespace only); and after "sends until blocked" the
    bytes that are left of the receiver's window ("closer window", "peer window"). Of the strangers
    in the accept queue it has how many waited, and how many were reset at the end. `bytes`: "closer
    sent", "closer received", "peer sent", "peer received". `error`: why the trial could not be
    completed ("Broken pipe (EPIPE)"). `failed_step`: the index of the step that failed, null if
    none did; the probe does not know the step's text, and a program before this field named the
    step itself in `error`. `outstanding`: what may still follow although the probe waited.
    """

    count: Annotated[int, Meta(ge=1, le=1000)]
    wire: Annotated[tuple[RawSegment, ...], Meta(max_length=200)] | None
    wire_note: LongText = ""
    connection: RawConnection | None = None
    wire_lost: UInt32 = 0
    wire_omitted: UInt32 = 0
    peer: PeerWitness | None
    kernel: NamedCounts | None
    steps: Annotated[int, Meta(ge=0, le=64)] = 0
    queue: NamedCounts = {}
    bytes: NamedCounts = {}
    error: LongText = ""
    outstanding: LongText = ""
    failed_step: Annotated[int, Meta(ge=0, le=63)] | None = None

    @property
    def lacks_counters(self) -> bool:
        """Whether the counters could not be read although the trial was completed."""
        return self.kernel is None and not self.error

    def counter(self, name: str) -> int:
        """Returns by how much a counter of the kernel moved; 0 also if none could be read."""
        if self.kernel is None:
            return 0
        return self.kernel.get(name, 0)


class RawObservation(Frozen, frozen=True, kw_only=True):
    """One scenario over one family.

    Without trials `not_run` says why: what the host lacks, or, if `failed`, what prevented the
    probe on a host that lacks nothing.
    """

    scenario: ShortText
    family: Family
    trials: Annotated[tuple[RawTrial, ...], Meta(max_length=100)] = ()
    not_run: LongText = ""
    failed: bool = False

    @property
    def has_run(self) -> bool:
        """Whether there are trials to judge."""
        return bool(self.trials) and not self.not_run

    @property
    def is_impossible(self) -> bool:
        """Whether it did not run because the host lacks something that it needs."""
        return bool(self.not_run) and not self.failed


class Times(Frozen, frozen=True, kw_only=True):
    """The times of all reported trials, and what else depends on time: flat lists, in the order of
    the trials of all observations.

    For each connection: `began`, when its trial began (seconds since 1970 by the host's clock), and
    two `ports`, the closer's and the peer's. For each step that began: `steps`, microseconds since
    its trial began. For each segment: `at`, the same, and `windows`, the field as it was sent, null
    if unknown. `headers`: the index of a connection, and its captured headers as
    `model.Connection` has them.
    """

    began: tuple[Seconds, ...] = ()
    ports: tuple[PortNumber, ...] = ()
    steps: tuple[Microseconds, ...] = ()
    at: tuple[Microseconds, ...] = ()
    windows: tuple[PortNumber | None, ...] = ()
    headers: tuple[tuple[UInt32, Annotated[str, Meta(max_length=32768)]], ...] = ()


class ReplyBase(Frozen, frozen=True, kw_only=True):
    """What a probe reports, without its observations and sysctls.

    `isolation_note` says why it is "host" although a namespace was allowed, `capture_note` why no
    packet is captured. `notes` are sentences about the whole run: settings that could not be copied
    into the namespace, trials that were repeated, the alarm. `probe` is the program
    that measured; the native one has no `python`. `fleetaudit`, `digest` and `nonce` are the
    request's own: the version that made it, what it asked, and which one it was.
    """

    protocol: Literal[2]
    fleetaudit: ShortText = ""
    digest: ShortText = ""
    nonce: ShortText = ""
    kernel: Kernel
    os: Os
    probe: ProbeName = "python"
    python: ShortText
    interpreter: ShortText = ""
    machine_id: ShortText = ""
    isolation: Literal["namespace", "host"]
    isolation_note: LongText = ""
    capture_note: LongText = ""
    notes: Annotated[tuple[LongText, ...], Meta(max_length=50)] = ()
    times: Times = Times()
    sysctl_places: Annotated[dict[ShortText, SysctlLines], Meta(max_length=MAX_SYSCTLS)] | None = (
        None
    )
    sysctls_writable: bool = True
    exposure: Exposure | None
    watch: Watched | None = None
    services: Annotated[tuple[ServiceResult, ...], Meta(max_length=1000)] = ()
    elapsed_s: Duration
    cpu_s: Duration = 0.0


class Reply(ReplyBase, frozen=True, kw_only=True):
    """Everything that a probe reports."""

    observations: Annotated[tuple[RawObservation, ...], Meta(max_length=MAX_OBSERVATIONS)]
    sysctls: Annotated[dict[ShortText, Sysctl], Meta(max_length=MAX_SYSCTLS)]


class SealedReply(ReplyBase, frozen=True, kw_only=True):
    """A reply whose observations and sysctls are still JSON: equal on many hosts, they are decoded
    once (`verdict_cache`).
    """

    observations: msgspec.Raw
    sysctls: msgspec.Raw
