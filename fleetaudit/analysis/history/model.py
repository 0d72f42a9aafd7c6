"""One job over time: its kept runs, and its findings and kernel builds over them. Pure.

Rules: `JobHistory` is what `fleetaudit history --format json` prints (format
"fleetaudit-history/1", schema in `fleetaudit/schema/`), so renaming a field is a breaking change.
Every tuple with one number a run is as long as `JobHistory.runs`, and in its order.
"""

from __future__ import annotations

from typing import Literal

from fleetaudit.model import Frozen, Severity
from fleetaudit.store.run_head import FindingCounts, HostCounts

HISTORY_FORMAT: Literal["fleetaudit-history/1"] = "fleetaudit-history/1"
HostStatus = Literal["audited", "void", "not audited", "not selected", "absent"]
"""The status of a host in one run; "absent" if the run does not have it."""


class HistoryRun(Frozen, frozen=True, kw_only=True):
    """One kept run of a job.

    `hosts_unmet` counts the hosts that have a finding without a waiver, null if unknown.

    `endings` are (ending of the main scenario, hosts): the ending in words, "RST and FIN" if the
    families differ, "void" if the positive control failed, "not run" without an observation.
    `series` are (kernel series such as "6.12", hosts), in numeric order; the series of a release
    without two numbers is "". Both add up to the audited hosts, of which `void` are void.

    The other fields compare the run with the kept runs before it, and are () in the first run.
    `opened` and `closed` are the ids of findings: first seen on some host or seen again, and no
    longer seen on any host, because a host was audited and meets the expectation now. `gone` are
    the ids of findings that no host can have any more: the hosts with them are no longer in the
    run, or nothing checks for them. `added` and `removed` are the hosts that are new in the run and
    those that are missing from it, folded ("web[1-3]"). A renamed host is in both.

    `resets_per_thousand` is the number of connections closed with unread data per 1,000
    connections, since the run `resets_since`, over the `hosts_measured` whose counters grew from
    one run to the other; null if there is no such host.
    """

    id: str
    started: str
    finished: str
    status: int | None
    hosts: HostCounts
    void: int
    hosts_unmet: int | None = None
    findings: FindingCounts
    endings: tuple[tuple[str, int], ...]
    series: tuple[tuple[str, int], ...]
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    hosts_added: int = 0
    hosts_removed: int = 0
    resets_per_thousand: float | None = None
    resets_since: str = ""
    hosts_measured: int = 0


class Seen(Frozen, frozen=True, kw_only=True):
    """A run in which something was seen, and when that run started (RFC 3339)."""

    run: str
    started: str


class FindingHistory(Frozen, frozen=True, kw_only=True):
    """One finding over the kept runs; `severity` is that of the last run that has it.

    `hosts` counts the hosts with it in each run, waived or not; null in a run that cannot say,
    because none has it and some host that may have it was not audited. `waived` counts those of
    them with a waiver. `since` is the date of the first known run that had it, which may have been
    removed since; "" if unknown. `open`: some host has it without a waiver as of the last run, or
    had it when that host was last audited.
    """

    id: str
    subject: str
    severity: Severity
    first_seen: Seen
    last_seen: Seen
    since: str
    open: bool
    hosts: tuple[int | None, ...]
    waived: tuple[int, ...]


class BuildHistory(Frozen, frozen=True, kw_only=True):
    """One kernel release over the kept runs; `hosts` counts its audited hosts in each run."""

    release: str
    series: str
    first_seen: Seen
    last_seen: Seen
    hosts: tuple[int, ...]


class HostState(Frozen, frozen=True, kw_only=True):
    """What hosts showed in a run: the kernel, null unless audited, and the ids of open findings."""

    status: HostStatus
    release: str | None = None
    findings: tuple[str, ...] = ()


class HostTimeline(Frozen, frozen=True, kw_only=True):
    """Hosts that changed in the same way.

    `changes` are (index of a run, index of a state in `host_states`), for each run in which their
    state is not that of the run before. Before the first one they were not in the job.
    """

    hosts: tuple[str, ...]
    changes: tuple[tuple[int, int], ...]


class LeftOutRun(Frozen, frozen=True, kw_only=True):
    """A run that cannot be read, and why."""

    id: str
    reason: str


class JobHistory(Frozen, frozen=True, kw_only=True):
    """The kept runs of one job, oldest first.

    `description` is the job as in a command line. `scenario` is the main scenario, whose endings
    the runs have; it is the one of the last run, "" without one. `findings` come most severe first,
    those that are open before the others; `builds` in numeric order of their releases.
    `host_timelines` have every host once.
    `unreadable` are the runs of the output folder that cannot be read, whatever job they are of.
    """

    format: Literal["fleetaudit-history/1"] = HISTORY_FORMAT
    job: str
    description: str
    scenario: str
    runs: tuple[HistoryRun, ...]
    findings: tuple[FindingHistory, ...]
    builds: tuple[BuildHistory, ...]
    host_states: tuple[HostState, ...] = ()
    host_timelines: tuple[HostTimeline, ...] = ()
    unreadable: tuple[LeftOutRun, ...] = ()
