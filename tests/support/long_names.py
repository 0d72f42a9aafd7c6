"""Fleets whose names are as long as names get: those of an ordinary company, and the worst ones.

The same call returns the same run, so that a picture of its page can be kept.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fleetaudit.model import (
    Audited,
    AuditRun,
    Evidence,
    HostResult,
    Kernel,
    Observation,
    Os,
    Segment,
    Stage,
    Sysctl,
)
from fleetaudit.playbook import load_playbook
from tests import ROOT
from tests.support.many_kernels import fleet_of
from tests.support.runs import Fleet, exposure_of, missing, observe, run_of

PLAYBOOK = Path("playbooks") / "unread-close.yml"
RELEASES = (
    "5.10.0-35-cloud-amd64-hardened-storage-vendor-lts1",
    "5.15.0-1084-aws-fips-confidential-compute-preview2",
    "6.1.0-41-cloud-arm64-realtime-telecom-distribution",
    "6.6.104-6.6.y-generic-high-performance-networking3",
    "6.12.43+deb13-cloud-amd64-some-vendor-hypervisor-7",
    "6.18.2-rc4-next-20261104-mainline-integration-team",
)
"""Six kernel releases of 50 characters each."""
DATA_CENTRES = ("frankfurt-am-main-data-centre-02", "amsterdam-zuidoost-data-centre-1")
ROLES = ("orders-api-frontend", "billing-ledger-work", "search-index-shard1")
GROUPS = (
    "customer_facing_payment_gateways_primary",
    "internal_batch_processing_workers_europe",
    "regulated_storage_nodes_with_encryption1",
)
"""Three groups, their names of 40 characters each."""
LONG_KEY = "net.ipv4.conf.vlan-uplink-to-the-frankfurt-backbone.accept_redirects"
PORTS = ",".join(str(port) for port in range(30000, 30040))


def fqdn(number: int) -> str:
    """Returns a host's name of 60 characters."""
    centre = DATA_CENTRES[number % 2]
    name = f"{ROLES[number % 3]}-{number:02}.{centre}"
    return f"{name}.{'example.net'[: 60 - len(name) - 1]}"


def ordinary_names() -> AuditRun:
    """Returns 24 hosts on six kernels, with the scenarios of the real playbook.

    Old kernels reset where new ones send FIN, one trace carries urgent data and MPTCP options, one
    build is mixed, one host is void and three could not be audited.
    """
    fleet = Fleet(scenarios=load_playbook(ROOT / PLAYBOOK).plays[0].scenarios)
    hosts: list[HostResult] = [_audited(fleet, number) for number in range(21)]
    stages: tuple[Stage, ...] = ("resolve", "connect", "authenticate")
    for number, stage in enumerate(stages, start=21):
        name = fqdn(number)
        reason = f"no answer from {name}:22 within 10 s"
        hosts.append(missing(name, stage, reason, f"ssh -v deploy@{name} true", GROUPS[0]))
    return run_of(hosts, fleet.scenarios)


def six_kernels() -> AuditRun:
    """Returns the first host of each kernel of `ordinary_names`."""
    run = ordinary_names()
    return msgspec.structs.replace(run, hosts=run.hosts[:6])


def many_long_kernels() -> AuditRun:
    """Returns hosts on 16 kernels, more than the matrix shows as a table, with long releases."""
    run = fleet_of(16)
    hosts = [_with_long_release(host) for host in run.hosts]
    return msgspec.structs.replace(run, hosts=tuple(hosts))


def _with_long_release(host: HostResult) -> HostResult:
    """Returns the host on a kernel whose release has 50 characters."""
    assert isinstance(host, Audited)
    release = f"{host.kernel.release}-some-vendor-hypervisor-integration-team-7"[:50]
    kernel = msgspec.structs.replace(host.kernel, release=release)
    return msgspec.structs.replace(host, kernel=kernel)


def _audited(fleet: Fleet, number: int) -> Audited:
    """Returns an audited host of the ordinary fleet."""
    kernel = Kernel(
        release=RELEASES[number % 6],
        version=f"#{number % 6 + 1} SMP PREEMPT_DYNAMIC Vendor build server 3 (2026-10-01)",
        machine="x86_64",
    )
    host = fleet.host(
        fqdn(number),
        kernel,
        groups=(GROUPS[number % 3],),
        instead=list(_endings(fleet, number)),
        sysctls=_sysctls(number),
        exposure=exposure_of(700 * number, 3_000_000, number % 4),
        void="the control zero-linger-close ended in FIN, so no ending proves anything"
        if number == 20
        else "",
    )
    system = Os(id="vendor", version_id="13.2", pretty_name="Vendor Enterprise Linux Server 13.2")
    return msgspec.structs.replace(host, os=system)


def _endings(fleet: Fleet, number: int) -> list[Observation]:
    """Returns what this host does otherwise than the playbook expects."""
    of = {scenario.name: scenario for scenario in fleet.scenarios}
    resets = ["reread-fin-close"] if number % 6 < 2 else []
    resets += ["urgent-read-stepped-over-close"] if number % 6 < 3 else []
    resets += ["drained-close-late-data-linger2"] if number in (4, 10) else []
    seen = [observe(of[name], f, "RST") for name in resets for f in of[name].families]
    return [_with_options(observation) for observation in seen]


def _with_options(observation: Observation) -> Observation:
    """Returns the observation with segments that carry everything that a segment can carry."""
    wire = tuple(
        msgspec.structs.replace(
            segment, urgent=10 * ("P" in segment.flags), options=_options(segment)
        )
        for segment in observation.evidence.wire or ()
    )
    evidence: Evidence = msgspec.structs.replace(observation.evidence, wire=wire)
    return msgspec.structs.replace(observation, evidence=evidence)


def _options(segment: Segment) -> str:
    """Returns TCP options as a real capture names them."""
    return "TS MP_CAPABLE" if "S" in segment.flags else "TS DSS MP_FASTCLOSE"


def _sysctls(number: int) -> dict[str, Sysctl]:
    """Returns long keys and long values."""
    return {
        LONG_KEY: Sysctl(value=str(number % 2), default="1"),
        "net.ipv4.ip_local_reserved_ports": Sysctl(value=PORTS if number % 3 else "", default=""),
        "net.ipv4.tcp_available_congestion_control": Sysctl(
            value="reno cubic bbr dctcp htcp" if number % 4 else "reno cubic", default="reno cubic"
        ),
        "net.ipv4.tcp_fin_timeout": Sysctl(value="120" if number % 5 == 0 else "60", default="60"),
    }


LONGEST = "x" * 253
"""As many characters as a host name may have, without a place to break."""
EXTREME = (
    LONGEST,
    ("label-of-a-host." * 16)[:253],
    "שרת-הנתונים-של-החברה-בתל-אביב-01.example.net",
    "خادم-قاعدة-البيانات-الرئيسي.example.net",
    "\N{ROCKET}\N{PARTY POPPER}" * 20,
    "数据库服务器" * 20,
)


def extreme_names() -> AuditRun:
    """Returns hosts with names of 253 characters, right-to-left, wide and of emoji."""
    fleet = Fleet()
    hosts: list[HostResult] = []
    for number, name in enumerate(EXTREME):
        kernel = Kernel(release=f"6.{number}.0-{name[:64]}", version=name[:120], machine="x86_64")
        resets = [s for s in fleet.scenarios if s.name == "reread-fin-close"]
        seen = [observe(s, f, "RST") for s in resets for f in s.families]
        hosts.append(fleet.host(name, kernel, groups=(name,), instead=seen[: 2 * (number % 2)]))
        hosts.append(missing(f"{name}-2", "connect", f"no answer from {name}", f"ssh {name}", name))
    return run_of(hosts)
