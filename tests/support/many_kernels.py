"""Made-up fleets on many kernel builds, for the heat map and for the distributions of sysctls."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.model import Audited, AuditRun, Ending, HostResult, Kernel, Observation, Sysctl

from .runs import Fleet, by_name, observe, run_of

SERIES = ("5.4", "5.10", "5.15", "6.1", "6.6", "6.12", "6.17", "6.18")
"""The first three end reread-fin-close with RST, and two of the builds of 6.12."""
HOSTS = 3
"""How many hosts every build has."""
MEMORY = (100_000, 380_000, 760_000)
"""What a host has as the second number of tcp_mem, by its memory."""


def fleet_of(builds: int) -> AuditRun:
    """Returns a run on as many kernel builds, each with `HOSTS` hosts.

    Build 0 has a void host, and build 7 hosts with different endings. One host of build 1 has
    another tcp_fin_timeout.
    """
    return run_of(hosts(builds))


def hosts(builds: int) -> Iterator[HostResult]:
    """Yields the hosts of `fleet_of`."""
    for number in range(builds):
        for place in range(HOSTS):
            yield host(number, place)


def host(number: int, place: int) -> Audited:
    """Returns one host of a build."""
    series, of_series = SERIES[number % len(SERIES)], number // len(SERIES)
    kernel = Kernel(
        release=f"{series}.{100 + of_series}-{1 + of_series % 3}-cloud-amd64",
        version=f"#1 SMP PREEMPT_DYNAMIC Debian {series}.{100 + of_series}-1 (2026-09-14)",
        machine="x86_64",
    )
    return Fleet().host(
        f"host-{number:03}-{place}.{SERIES.index(series)}.example.net",
        kernel,
        groups=("web" if place else "db",),
        instead=_unusual(number, place),
        sysctls=_sysctls(number, place),
        void="the positive control ended in FIN" if (number, place) == (0, 0) else "",
    )


def _unusual(number: int, place: int) -> list[Observation]:
    """Returns what a host does otherwise than a kernel with all fixes."""
    series, of_series = SERIES[number % len(SERIES)], number // len(SERIES)
    unusual = list[Observation]()
    if series in SERIES[:3] or (series == "6.12" and of_series < 2) or (number, place) == (7, 0):
        unusual += _observe("reread-fin-close", "RST")
    if series == "5.4":
        unusual += _observe("unread-mptcp-close", "not run", "this kernel has no MPTCP")
    if series == "5.10":
        unusual += _observe("unread-mptcp-close", "FIN")
    if number % 11 == 3:
        unusual += _observe("urgent-read-close", "inconclusive", "the witnesses disagree")
    if number == 12 and place:
        unusual += _observe("unread-close", "FIN")
    return unusual


def _observe(name: str, ending: Ending, reason: str = "") -> list[Observation]:
    """Returns an ending of a scenario over each of its families."""
    scenario = by_name(name)
    return [observe(scenario, family, ending, reason=reason) for family in scenario.families]


def _sysctls(number: int, place: int) -> dict[str, Sysctl]:
    """Returns sysctls that vary: by choice, by kernel, and by the memory of the host."""
    pages = MEMORY[(number + place) % 3]
    share = pages * 4096 // 128
    timeout = "120" if (number, place) == (1, 1) else "60"
    limit = "1048576" if number % len(SERIES) < 3 else "4194304"
    somaxconn = ("4096", "4096", "65535")[place] if number % 5 else "1024"
    return {
        "net.ipv4.tcp_mem": Sysctl(value=f"{pages * 3 // 4}\t{pages}\t{pages * 3 // 2}"),
        "net.ipv4.tcp_rmem": Sysctl(value=f"4096\t131072\t{min(share, 6291456)}"),
        "net.ipv4.tcp_wmem": Sysctl(value=f"4096\t16384\t{min(share, 4194304)}"),
        "net.ipv4.tcp_fin_timeout": Sysctl(value=timeout, default="60"),
        "net.ipv4.tcp_limit_output_bytes": Sysctl(value=limit, default=limit),
        "net.core.somaxconn": Sysctl(value=somaxconn, default="4096"),
    }
