"""Makes runs as they look in practice, for tests of everything after the protocol.

Rules: endings follow what kernels do (5.10.0-30 resets on reread-fin-close, kernels with the 2025
fix send FIN); findings come from the real judge; nothing here knows what a test expects of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import (
    Audited,
    AuditRun,
    Connection,
    Ending,
    Evidence,
    Exposure,
    Family,
    HostPlan,
    HostResult,
    Kernel,
    LocalTarget,
    NotAudited,
    Observation,
    Os,
    PeerWitness,
    RunInfo,
    Scenario,
    ScenarioRow,
    Segment,
    Stage,
    Sysctl,
    SysctlExpectation,
    UnreadSockets,
)
from fleetaudit.playbook.steps import parse_step


def scenario(
    name: str,
    title: str,
    steps: str,
    expect: Ending = "RST",
    *,
    control: str | None = "drained-close",
    severity: Literal["info", "warning", "error"] = "warning",
    families: tuple[Family, ...] = ("ipv4", "ipv6"),
    because: str = "",
) -> Scenario:
    """Returns a scenario; `steps` are separated by semicolons."""
    return Scenario(
        name=name,
        title=title,
        steps=tuple(parse_step(step) for step in steps.split(";")),
        expect=(expect,),
        control=control,
        severity=severity,
        families=families,
        because=because,
    )


SCENARIOS = (
    scenario(
        "drained-close",
        "Close with everything read",
        "peer sends 5 bytes;closer reads all;closer closes",
        "FIN",
        control=None,
        severity="error",
        because="RFC 9293 section 3.6: nothing was lost.",
    ),
    scenario(
        "zero-linger-close",
        "Close with SO_LINGER on and 0 seconds",
        "closer sets SO_LINGER 1 0;closer closes",
        control=None,
        severity="error",
        because="socket(7): the run's positive control.",
    ),
    scenario(
        "unread-close",
        "Close with unread data",
        "peer sends 5 bytes;closer closes",
        severity="error",
        because="RFC 2525 section 2.17: data was lost, so the peer must learn of it.",
    ),
    scenario(
        "partly-read-close",
        "Close after reading a part",
        "peer sends 10 bytes;closer reads 4 bytes;closer closes",
        because="RFC 2525 section 2.17.",
    ),
    scenario(
        "urgent-read-close",
        "Close after the urgent byte was read out of line",
        "peer sends 1 urgent bytes;closer reads the urgent byte;closer closes",
        because="tcp(7): recv with MSG_OOB leaves the byte in the receive queue.",
    ),
    scenario(
        "reread-fin-close",
        "Close after the peer sent read data again, with its FIN",
        "peer sends 10 bytes;closer reads all;peer resends 10 bytes with FIN;closer closes",
        "FIN",
        control=None,
        severity="info",
        because="Linux 5f9238530970; older kernels reset here.",
    ),
    scenario(
        "unread-half-close",
        "Half-close, then close, with unread data",
        "peer sends 5 bytes;closer half-closes;closer closes",
        "FIN, then RST",
        because="The FIN of the half-close is already out when the data is thrown away.",
    ),
    scenario(
        "unread-mptcp-close",
        "Close an MPTCP connection with unread data",
        "peer connects over MPTCP;peer sends 5 bytes;closer closes",
        because="RFC 8684 section 3.5: MP_FASTCLOSE.",
    ),
    scenario(
        "unread-unix-close",
        "Close an AF_UNIX stream with unread data",
        "peer connects over AF_UNIX;peer sends 5 bytes;closer closes",
        families=("unix",),
        because="unix(7): ECONNRESET at the peer.",
    ),
)

RULES = {
    "net.ipv4.tcp_fin_timeout": SysctlExpectation(
        at_most=60, because="Orphans are held for this long."
    ),
    "net.ipv4.tcp_rfc1337": SysctlExpectation(
        equals="1", because="RFC 1337: TIME_WAIT assassination."
    ),
    "net.ipv4.tcp_abort_on_overflow": SysctlExpectation(
        equals="0", severity="error", because="tcp(7): last resort only."
    ),
}

K510 = Kernel(
    release="5.10.0-30-amd64", version="#1 SMP Debian 5.10.218-1 (2024-06-01)", machine="x86_64"
)
K612 = Kernel(
    release="6.12.117+deb13-amd64",
    version="#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-09-20)",
    machine="x86_64",
)
K618 = Kernel(
    release="6.18.44-amd64",
    version="#1 SMP PREEMPT_DYNAMIC Debian 6.18.44-1 (2026-10-30)",
    machine="x86_64",
)
SYSTEMS = {
    K510: Os(id="debian", version_id="11", pretty_name="Debian GNU/Linux 11 (bullseye)"),
    K612: Os(id="debian", version_id="13", pretty_name="Debian GNU/Linux 13 (trixie)"),
    K618: Os(id="debian", version_id="14", pretty_name="Debian GNU/Linux forky/sid"),
}
PYTHONS = {K510: "3.9.2", K612: "3.13.5", K618: "3.14.2"}


CONNECTION = Connection(began=1_795_312_800.25, ports=(35711, 47010), scales=(7, 7))
"""What a capture on loopback shows: windows are scaled by 7 bits."""


def segments(
    of: Scenario, ending: Ending
) -> tuple[tuple[Segment, ...], tuple[tuple[int, int], ...]]:
    """Returns segments and [microseconds, step] as a capture of `of` would show them if it ended in
    `ending`.
    """
    wire: list[Segment] = []
    marks: list[tuple[int, int]] = []
    now, peer_seq, closer_seq = 0, 1, 1

    def put(
        sender: Literal["closer", "peer"],
        flags: str,
        length: int = 0,
        urgent: int = 0,
        back: int = 0,
    ) -> None:
        nonlocal now
        seq, ack = (peer_seq - back, closer_seq) if sender == "peer" else (closer_seq, peer_seq)
        if flags.startswith("S"):
            seq, ack = 0, int(flags != "S")
        wire.append(
            Segment(
                at_us=now,
                sender=sender,
                flags=flags,
                seq=seq,
                ack=ack,
                length=length,
                urgent=urgent,
                options="TS",
                window=65495 if flags.startswith("S") else 512,
            )
        )
        now += 13

    put("peer", "S")
    put("closer", "S.")
    put("peer", ".")
    for index, step in enumerate(of.steps):
        marks.append((now + 20, index))
        now += 31
        match step.call:
            case ("peer", "send", int(n)):
                put("peer", "P.", n)
                peer_seq += n
                put("closer", ".")
            case ("peer", "send-urgent", int(n)):
                put("peer", "P.U", n, urgent=n)
                peer_seq += n
                put("closer", ".")
            case ("peer", "resend-fin", int(n)):
                put("peer", "FP.", n, back=n)
                peer_seq += 1
                put("closer", ".")
            case ("closer", "shutdown", *_):
                put("closer", "F.")
                closer_seq += 1
                put("peer", ".")
            case ("closer", "close") if ending in ("RST", "FIN, then RST", "sent, not delivered"):
                put("closer", "R.")
            case ("closer", "close") if ending == "FIN":
                put("closer", "F.")
                closer_seq += 1
                put("peer", ".")
    return tuple(wire), tuple(marks)


def evidence(of: Scenario, family: Family, ending: Ending) -> Evidence:
    """Returns what three witnesses say where `of` ended in `ending`."""
    wire, marks = segments(of, ending)
    peer = {
        "RST": PeerWitness(state=7, poll=("ERR", "HUP"), recv=("ECONNRESET", "0"), so_error="0"),
        "FIN": PeerWitness(state=8, poll=("IN", "OUT", "RDHUP"), recv=("0",), so_error="0"),
        "FIN, then RST": PeerWitness(
            state=7, poll=("IN", "ERR", "HUP"), recv=("0",), so_error="EPIPE"
        ),
    }.get(ending, PeerWitness(state=1, poll=("OUT",), recv=("EAGAIN",), so_error="0"))
    counters = {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2} if "RST" in ending else {}
    if ending == "sent, not delivered":
        counters = {"TCPAbortOnClose": 1, "TCPAbortFailed": 1}
    if family == "unix":
        note = "AF_UNIX has no segments."
        return Evidence(
            wire_note=note, peer=PeerWitness(poll=peer.poll, recv=peer.recv), kernel={}, steps=marks
        )
    return Evidence(
        wire=wire,
        connection=CONNECTION,
        peer=peer,
        kernel=counters,
        steps=marks,
        queue={"fionread": 5},
        bytes={"peer sent": 5},
    )


def observe(
    of: Scenario,
    family: Family,
    ending: Ending,
    *,
    reason: str = "",
    seen: Mapping[str, int] | None = None,
) -> Observation:
    """Returns an observation of three trials, with the evidence that goes with its ending."""
    ran = ending != "not run"
    return Observation(
        scenario=of.name,
        family=family,
        ending=ending,
        trials=3 if ran else 0,
        endings=dict(seen) if seen else {ending: 3} if ran else {},
        evidence=evidence(of, family, ending) if ran else Evidence(),
        reason=reason,
    )


Endings = Mapping[str, Ending | Observation]


def ordinary(of: Scenario, family: Family, kernel: Kernel) -> Observation:
    """Returns what this kernel does in a scenario on a healthy host."""
    if of.name == "reread-fin-close" and kernel == K510:
        return observe(of, family, "RST")
    if of.name == "unread-mptcp-close" and kernel == K510:
        return observe(of, family, "not run", reason="this kernel has no MPTCP (EPROTONOSUPPORT)")
    return observe(of, family, of.expect[0] if of.expect else "FIN")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What the hosts of a test run are asked, and how one is made."""

    scenarios: tuple[Scenario, ...] = SCENARIOS
    rules: Mapping[str, SysctlExpectation] = field(default_factory=lambda: dict(RULES))

    def plan(self, name: str, groups: tuple[str, ...] = ()) -> HostPlan:
        """Returns what the host of that name is asked."""
        return HostPlan(
            name=name,
            groups=groups,
            target=LocalTarget(),
            scenarios=self.scenarios,
            trials=3,
            isolation="auto",
            sysctls_collect=("net.ipv4.tcp_*",),
            sysctls_expect={key: (rule,) for key, rule in self.rules.items()},
        )

    def host(
        self,
        name: str,
        kernel: Kernel,
        *,
        groups: tuple[str, ...] = (),
        instead: Iterable[Observation] = (),
        sysctls: Mapping[str, Sysctl] | None = None,
        isolation: Literal["namespace", "host"] = "namespace",
        notes: tuple[str, ...] = (),
        void: str = "",
        exposure: Exposure | None = None,
    ) -> Audited:
        """Returns a judged host: ordinary for its kernel except for what `instead` has."""
        other = {(o.scenario, o.family): o for o in instead}
        values = {**default_sysctls(kernel), **(sysctls or {})}
        audited = Audited(
            name=name,
            groups=groups,
            kernel=kernel,
            os=SYSTEMS.get(kernel, Os()),
            python=PYTHONS.get(kernel, "3.11.2"),
            isolation=isolation,
            notes=notes,
            void=void,
            observations=tuple(
                other.get((s.name, f), ordinary(s, f, kernel))
                for s in self.scenarios
                for f in s.families
            ),
            sysctls=values,
            exposure=exposure,
            elapsed_s=1.25,
        )
        return judge_host(audited, self.plan(name, groups))


def traced_host(*traces: tuple[Family, Evidence]) -> Audited:
    """Returns a host with one RST for each evidence, of the scenarios s0, s1 …"""
    return Audited(
        name="web-1",
        kernel=Kernel(release="6.12.43", version="#1", machine="x86_64"),
        isolation="namespace",
        observations=tuple(
            Observation(
                scenario=f"s{number}", family=family, ending="RST", trials=1, evidence=evidence
            )
            for number, (family, evidence) in enumerate(traces)
        ),
    )


def default_sysctls(kernel: Kernel) -> dict[str, Sysctl]:
    """Returns sysctls as a host of that kernel has them that follows the playbook."""
    limit = "1048576" if kernel == K510 else "4194304"
    same = {
        "net.ipv4.tcp_fin_timeout": "60",
        "net.ipv4.tcp_abort_on_overflow": "0",
        "net.ipv4.tcp_timestamps": "1",
    }
    return {
        **{key: Sysctl(value=value, default=value) for key, value in same.items()},
        "net.ipv4.tcp_rfc1337": Sysctl(value="1", default="0"),
        "net.ipv4.tcp_limit_output_bytes": Sysctl(value=limit, default=limit),
        "net.ipv4.tcp_rmem": Sysctl(value="4096\t131072\t6291456", default="4096\t131072\t6291456"),
    }


def missing(name: str, stage: Stage, reason: str, hint: str, *groups: str) -> NotAudited:
    """Returns a host that could not be audited."""
    return NotAudited(name=name, groups=groups, stage=stage, reason=reason, hint=hint)


def run_of(hosts: Iterable[HostResult], scenarios: Iterable[Scenario] = SCENARIOS) -> AuditRun:
    """Returns a run of these hosts."""
    return AuditRun(
        run=RunInfo(
            id="2026-11-22T020000Z",
            started="2026-11-22T02:00:00Z",
            finished="2026-11-22T02:03:41Z",
            fleetaudit="0.1.0",
            playbooks=("playbooks/unread-close.yml",),
            controller="Python 3.11.2",
            inventory=("inventory.yml",),
        ),
        scenarios=tuple(
            ScenarioRow(
                name=s.name,
                title=s.title,
                steps=tuple(step.text for step in s.steps),
                expect=s.expect,
                severity=s.severity,
                control=s.control,
                because=s.because,
            )
            for s in scenarios
        ),
        hosts=tuple(hosts),
    )


def by_name(name: str) -> Scenario:
    """Returns the scenario of that name."""
    return next(s for s in SCENARIOS if s.name == name)


def exposure_of(aborts: int, connections: int, sockets: int = 0) -> Exposure:
    """Returns counters of a host that has been up for 41 days."""
    return Exposure(
        uptime_s=41.5 * 86400,
        counters={
            "TCPAbortOnClose": aborts,
            "ActiveOpens": connections // 4,
            "PassiveOpens": connections - connections // 4,
        },
        unread_sockets=UnreadSockets(sockets=sockets, bytes=sockets * 512, scanned=900),
    )


def small_fleet() -> AuditRun:
    """Returns three kernels on 18 hosts: one void, one in the host's namespace, one build that is
    mixed, and 9 hosts that were not audited, at six stages.
    """
    fleet = Fleet()
    fin_timeout, half = "net.ipv4.tcp_fin_timeout", by_name("urgent-read-close")
    web: list[HostResult] = [
        fleet.host(f"web{i:03}", K510, groups=("web",), exposure=exposure_of(1200 * i, 4_000_000))
        for i in range(1, 6)
    ]
    web.append(
        fleet.host(
            "web006",
            K510,
            groups=("web",),
            sysctls={fin_timeout: Sysctl(value="120", default="60")},
        )
    )
    app: list[HostResult] = [
        fleet.host(
            f"app{i:02}", K612, groups=("app", "blue"), exposure=exposure_of(90, 1_000_000, 3 * i)
        )
        for i in range(1, 6)
    ]
    app.append(
        fleet.host(
            "app06",
            K612,
            groups=("app", "green"),
            instead=[
                observe(by_name("reread-fin-close"), f, "RST")
                for f in by_name("reread-fin-close").families
            ],
        )
    )
    app.append(
        fleet.host(
            "app07",
            K612,
            groups=("app", "green"),
            isolation="host",
            notes=(
                ("No private namespace (EPERM from unshare); measured in the host's namespace."),
            ),
            sysctls={fin_timeout: Sysctl(value="60", default=None)},
            instead=[
                observe(
                    by_name("reread-fin-close"),
                    f,
                    "not run",
                    reason="a raw socket needs CAP_NET_RAW",
                )
                for f in by_name("reread-fin-close").families
            ],
        )
    )
    app.append(
        fleet.host(
            "app08",
            K612,
            groups=("app", "green"),
            instead=[
                observe(
                    half,
                    "ipv6",
                    "inconclusive",
                    seen={"RST": 2, "FIN": 1},
                    reason="the trials disagree",
                ),
            ],
        )
    )
    db: list[HostResult] = [
        fleet.host("db1.example.net", K618, groups=("db",)),
        fleet.host(
            "db2.example.net",
            K618,
            groups=("db",),
            void=(
                "the control zero-linger-close ended in FIN, so no ending on this host proves"
                " anything"
            ),
            instead=[
                observe(by_name("zero-linger-close"), f, "FIN")
                for f in by_name("zero-linger-close").families
            ],
        ),
        fleet.host(
            "db3.example.net",
            K618,
            groups=("db",),
            instead=[
                observe(
                    by_name("unread-close"),
                    "ipv4",
                    "sent, not delivered",
                    reason="TCPAbortFailed moved",
                )
            ],
            sysctls={
                "net.ipv4.tcp_rfc1337": Sysctl(value="0", default="0"),
                "net.ipv4.tcp_abort_on_overflow": Sysctl(state="unreadable: EACCES"),
            },
        ),
        fleet.host("db4.example.net", K618, groups=("db",)),
    ]
    gone: list[HostResult] = [
        *(
            missing(
                f"cache{i}",
                "connect",
                f"no answer from cache{i}:22 within 10 s",
                f"nc -vz cache{i} 22",
                "cache",
            )
            for i in range(1, 5)
        ),
        missing("vpn1", "host key", "the host key changed", "ssh-keygen -R vpn1; ssh-keyscan vpn1"),
        missing("bastion", "authenticate", "no key was accepted", "ssh -v audit@bastion true"),
        missing(
            "router9",
            "execute",
            "no Python interpreter works there",
            "ssh router9 'ls /usr/bin/python*'",
        ),
        missing(
            "win1",
            "inventory",
            "fleetaudit has no connection winrm",
            "ansible-inventory --host win1",
        ),
        missing(
            "db9.example.net",
            "resolve",
            "the name does not resolve",
            "getent hosts db9.example.net",
            "db",
        ),
    ]
    return run_of([*web, *app, *db, *gone])


def upgraded_fleet() -> tuple[AuditRun, AuditRun]:
    """Returns a fleet before and after another kernel: each sort of change is on some host.

    web001 to web003 are fixed by it, app1 gets worse, app2 gets worse and is waived, app3 only has
    another kernel. db1 is not audited any more, db2 is void in the later run, and db3 is another
    machine. old1 is gone, new1 is new, and nothing is known of lost1.
    """
    fleet, unread = Fleet(), by_name("unread-close")
    worse = [observe(unread, family, "FIN") for family in unread.families]
    lost = missing("lost1", "connect", "no answer from lost1:22", "nc -vz lost1 22")
    webs = [f"web{number:03}" for number in range(1, 4)]
    apps = ["app1", "app2", "app3"]
    before: list[HostResult] = [
        *(fleet.host(name, K510, groups=("web",)) for name in webs),
        *(fleet.host(name, K612, groups=("app",)) for name in apps),
        *(fleet.host(name, K612) for name in ("db1", "db2", "old1")),
        replace(fleet.host("db3", K612), machine_id="one"),
        lost,
    ]
    waived = fleet.host("app2", K618, groups=("app",), instead=worse)
    findings = tuple(replace(found, waived="ann until 2027-01-01") for found in waived.findings)
    after: list[HostResult] = [
        *(fleet.host(name, K612, groups=("web",)) for name in webs),
        fleet.host("app1", K618, groups=("app",), instead=worse),
        replace(waived, findings=findings),
        fleet.host("app3", K618, groups=("app",)),
        missing("db1", "connect", "no answer from db1:22", "nc -vz db1 22"),
        fleet.host("db2", K618, void="the control zero-linger-close ended in FIN"),
        replace(fleet.host("db3", K618), machine_id="another"),
        fleet.host("new1", K618),
        lost,
    ]
    earlier, later = run_of(before), run_of(after)
    info = replace(later.run, id="2026-11-23T020000Z", started="2026-11-23T02:00:00Z")
    return earlier, replace(later, run=replace(info, finished="2026-11-23T02:03:41Z"))
