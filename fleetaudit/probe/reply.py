"""The reply of the probe: the types that decode its one line."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from fleetaudit.model import (
    Connection,
    Exposure,
    Family,
    Frozen,
    Kernel,
    LongText,
    NamedCounts,
    Os,
    PeerWitness,
    Seconds,
    Segment,
    ShortText,
    StepTimes,
    Sysctl,
    SysctlLines,
    UInt32,
)


class RawTrial(Frozen, frozen=True, kw_only=True):
    """One trial, or `count` trials that differ in nothing but time.

    `wire`: each captured packet once, of this trial's connection only; null if it could not be
    read, and then `wire_note` says why. `wire_lost`: records that the packet socket dropped
    (PACKET_STATISTICS). `wire_omitted`: segments left out of the middle of a long trace, never one
    with SYN, FIN, RST or URG. `connection`: what the segments have in common, null without a SYN.
    `peer`: null if its socket was gone. `kernel`: the counters that changed, null if they could not
    be read. `steps`: [microseconds, index] when each step began.

    `queue`: just before the closer ended, the closer's receive queue by FIONREAD ("fionread") and
    by /proc/net/tcp ("rx_queue", in a private namespace only); and after "sends until blocked" the
    bytes that are left of the receiver's window ("closer window", "peer window"). `bytes`: "closer
    sent", "closer received", "peer sent", "peer received". `error`: why the trial could not be
    completed ("Broken pipe (EPIPE)"). `failed_step`: the index of the step that failed, null if
    none did; the probe does not know the step's text, and a program before this field named the
    step itself in `error`. `outstanding`: what may still follow although the probe waited.
    """

    count: Annotated[int, Meta(ge=1, le=1000)]
    wire: Annotated[tuple[Segment, ...], Meta(max_length=200)] | None
    wire_note: LongText = ""
    connection: Connection | None = None
    wire_lost: UInt32 = 0
    wire_omitted: UInt32 = 0
    peer: PeerWitness | None
    kernel: NamedCounts | None
    steps: StepTimes = ()
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


class Reply(Frozen, frozen=True, kw_only=True):
    """Everything that a probe reports.

    `isolation_note` says why it is "host" although a namespace was allowed, `capture_note` why no
    packet is captured. `notes` are sentences about the whole run: settings that could not be copied
    into the namespace, trials that were repeated, the alarm. `fleetaudit` and `digest` are the
    request's own: the version that made it, and what it asked.
    """

    protocol: Literal[1]
    fleetaudit: ShortText = ""
    digest: ShortText = ""
    kernel: Kernel
    os: Os
    python: ShortText
    interpreter: ShortText = ""
    machine_id: ShortText = ""
    isolation: Literal["namespace", "host"]
    isolation_note: LongText = ""
    capture_note: LongText = ""
    notes: Annotated[tuple[LongText, ...], Meta(max_length=50)] = ()
    observations: Annotated[tuple[RawObservation, ...], Meta(max_length=2000)]
    sysctls: Annotated[dict[ShortText, Sysctl], Meta(max_length=5000)]
    sysctl_places: Annotated[dict[ShortText, SysctlLines], Meta(max_length=5000)] | None = None
    sysctls_writable: bool = True
    exposure: Exposure | None
    elapsed_s: Seconds
    cpu_s: Seconds = 0.0
