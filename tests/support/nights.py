"""Sixty made-up nights of one job, as the runs that a fleet would leave.

What happens in them: Linux 6.1 is replaced by 6.12 over two weeks, a few hosts first; 6.12 gets a
new build; a finding of twelve hosts opens and closes; one night half the fleet cannot be reached;
one night has no run; three hosts are renamed. Nothing here knows what a test expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import Audited, AuditRun, Exposure, HostResult, Kernel, RunInfo
from fleetaudit.store.jobs import job_name
from fleetaudit.store.run_folder import create_run_folder
from tests.support.runs import K510, PYTHONS, Fleet, by_name, exposure_of, missing, observe, run_of

NIGHTS = 60
FIRST = datetime(2026, 9, 28, 2, 0, tzinfo=UTC)
HOSTS = 180
K61 = Kernel(
    release="6.1.0-41-amd64", version="#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1", machine="x86_64"
)
K612 = Kernel(
    release="6.12.43+deb13-amd64", version="#1 SMP PREEMPT_DYNAMIC Debian 6.12.43", machine="x86_64"
)
K612_NEXT = Kernel(
    release="6.12.57+deb13-amd64", version="#1 SMP PREEMPT_DYNAMIC Debian 6.12.57", machine="x86_64"
)
ROLLOUT = (0, 2, 2, 5, 9, 9, 16, 25, 36, 36, 52, 70, 84, 95, 100)
"""How many percent of the hosts on 6.1 have 6.12, by night of the rollout."""
ROLLOUT_NIGHT = 20
NEXT_BUILD_NIGHT = 53
FINDING_NIGHTS = range(11, 27)
FINDING_HOSTS = range(20, 32)
OUTAGE_NIGHT = 41
NO_RUN_NIGHT = 47
RENAME_NIGHT = 50
RENAMED = 3
FLEET = Fleet()


def night_time(night: int) -> datetime:
    """Returns when the run of a night starts."""
    return FIRST + timedelta(days=night)


def nights(count: int = NIGHTS, hosts: int = HOSTS) -> Iterator[AuditRun]:
    """Yields the runs of `count` nights, each compared with the run before.

    The night `NO_RUN_NIGHT` has none.
    """
    before = None
    for night in range(count):
        if night != NO_RUN_NIGHT:
            run = run_of_night(night, hosts)
            yield run if before is None else replace(run, drift=compute_drift(before, run))
            before = run


def run_of_night(night: int, hosts: int = HOSTS) -> AuditRun:
    """Returns the run of one night."""
    started = night_time(night)
    run = run_of(host_of_night(number, night, hosts) for number in range(hosts))
    info = RunInfo(
        id=f"{started:%Y-%m-%dT%H%M%SZ}",
        started=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        finished=f"{started + timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}",
        fleetaudit="0.1.0",
        playbooks=("playbooks/unread-close.yml",),
        controller="Python 3.11.2",
        inventory=("fleet.yml",),
        sequence=night + 1,
        scheduled=True,
        status=0 if night not in FINDING_NIGHTS else 2,
    )
    return replace(run, run=replace(info, job=job_name(info)))


def host_of_night(number: int, night: int, hosts: int) -> HostResult:
    """Returns the result of one host in one night."""
    name, group = name_of(number, night), group_of(number)
    if night == OUTAGE_NIGHT and number % 2:
        return missing(
            name, "connect", f"no answer from {name}:22 within 10 s", f"nc -vz {name} 22", group
        )
    host = _audited(
        name,
        group,
        kernel_of(number, night, hosts),
        night in FINDING_NIGHTS and number in FINDING_HOSTS,
    )
    return replace(host, exposure=exposure_on(number, night, hosts))


def name_of(number: int, night: int) -> str:
    """Returns the name of a host: the first of group web get another one."""
    if number < RENAMED and night >= RENAME_NIGHT:
        return f"edge{number + 1:03}.example.net"
    return f"{group_of(number)}{number + 1:03}.example.net"


def group_of(number: int) -> str:
    """Returns the group of a host."""
    return ("web", "web", "app", "app", "db")[number // 36 % 5]


@cache
def kernel_of(number: int, night: int, hosts: int) -> Kernel:
    """Returns the kernel of a host: every tenth has 5.10, and half of those get 6.12 late."""
    if number % 10 == 9 and (number % 20 == 9 or night < 36 + number // 20):
        return K510
    place = number * 61 % hosts * 100 / hosts
    if place >= ROLLOUT[min(max(night - ROLLOUT_NIGHT, 0), len(ROLLOUT) - 1)]:
        return K61
    if night >= NEXT_BUILD_NIGHT + number % 5:
        return K612_NEXT
    return K612


@cache
def _audited(name: str, group: str, kernel: Kernel, has_finding: bool) -> Audited:
    """Returns a judged host; `has_finding`: it sends FIN although data is unread."""
    of = by_name("unread-close")
    instead = [observe(of, family, "FIN") for family in of.families if has_finding]
    host = FLEET.host(name, kernel, groups=(group,), instead=instead)
    return replace(host, python=PYTHONS.get(kernel, "3.11.2"))


def exposure_on(number: int, night: int, hosts: int) -> Exposure:
    """Returns the counters of a host, which grow each night and start again with a new kernel."""
    boot = night
    while boot and kernel_of(number, boot - 1, hosts) == kernel_of(number, night, hosts):
        boot -= 1
    per_day = 6 if kernel_of(number, night, hosts).release.startswith("6.12") else 35
    days = night - boot + (40 if boot == 0 else 1)
    aborts = per_day * days + night * night % 5
    return replace(exposure_of(aborts, days * 4_000), uptime_s=days * 86_400.0 - 3_600)


def store_nights(output: Path, count: int = NIGHTS, hosts: int = HOSTS) -> list[str]:
    """Writes the runs of the nights into an output folder, as `fleetaudit run` leaves them.

    Returns their ids, oldest first.
    """
    ids = []
    for run in nights(count, hosts):
        started = datetime.fromisoformat(run.run.started)
        with create_run_folder(output, started, b"{}") as folder:
            folder.finish(run)
        ids.append(folder.id)
    return ids
