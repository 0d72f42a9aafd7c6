"""Replies and plans for the tests of the protocol and of the verdict."""

from __future__ import annotations

import json
from typing import Any

from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    HostPlan,
    Isolation,
    LocalTarget,
    Scenario,
    Step,
)
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict
from tests.support.split_times import split_times


def scenario(
    name: str, expect: Ending, control: str | None = None, families: tuple[Family, ...] = ("ipv4",)
) -> Scenario:
    steps = (parse_step("peer sends 5 bytes"), parse_step("closer closes"))
    return Scenario(
        name=name, title=name, steps=steps, expect=(expect,), control=control, families=families
    )


UNREAD = scenario("unread-close", "RST", control="drained-close")
DRAINED = scenario("drained-close", "FIN")
UNIX = scenario("unix-close", "RST", control="unix-drained-close", families=("unix",))


def plan(*scenarios: Scenario, trials: int = 3, isolation: Isolation = "auto") -> HostPlan:
    return HostPlan(
        name="web-1",
        groups=("web",),
        target=LocalTarget(),
        scenarios=scenarios,
        trials=trials,
        isolation=isolation,
        sysctls_collect=("net.ipv4.tcp_*",),
        sysctls_expect={},
    )


PEER_RST = {"state": 7, "poll": ["ERR", "HUP"], "recv": ["ECONNRESET", "0"], "so_error": "0"}
PEER_FIN = {"state": 8, "poll": ["IN", "OUT", "RDHUP"], "recv": ["0"], "so_error": "0"}
PEER_BOTH = {"state": 7, "poll": ["ERR", "HUP", "RDHUP"], "recv": ["0"], "so_error": "EPIPE"}
PEER_NOTHING = {"state": 1, "poll": ["OUT"], "recv": ["EAGAIN"], "so_error": "0"}
UNIX_HUP = {"poll": ["IN", "OUT", "RDHUP", "HUP"], "recv": ["0"], "so_error": "0"}
HANDSHAKE = [
    [0, "peer", "S", 0, 0, 0, 0, "TS"],
    [9, "closer", "S.", 0, 1, 0, 0, "TS"],
    [12, "peer", ".", 1, 1, 0, 0, ""],
    [15, "peer", "P.", 1, 1, 5, 0, ""],
]
"""The handshake, and the 5 bytes of the first step of `scenario`."""
STEPS = [[14, 0], [90, 1]]
"""When the two steps of `scenario` began."""
ABORT = {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}


def wire(*closers: str) -> list[list[Any]]:
    return HANDSHAKE + [
        [100 + i, "closer", flags, 1, 6, 0, 0, ""] for i, flags in enumerate(closers)
    ]


def trial(
    wire_: Any = None, peer: Any = None, kernel: Any = None, count: int = 3, **more: Any
) -> dict[str, Any]:
    seen = {"count": count, "wire": wire_, "peer": peer, "kernel": kernel, "steps": STEPS}
    return seen | more


RESET = trial(wire("R."), PEER_RST, ABORT)
FINISHED = trial(wire("F."), PEER_FIN, {})


def reply(*observations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "protocol": 1,
        "digest": "DIGEST",
        "kernel": {"release": "6.12.43", "version": "#1 SMP", "machine": "x86_64"},
        "os": {"id": "debian", "version_id": "13", "pretty_name": "Debian"},
        "python": "3.11.2 CPython",
        "isolation": "namespace",
        "observations": list(observations),
        "sysctls": {"net.ipv4.tcp_rfc1337": {"value": "0", "default": "0"}},
        "exposure": None,
        "elapsed_s": 1.5,
    } | more


def observation(
    name: str, *trials: dict[str, Any], family: str = "ipv4", **more: Any
) -> dict[str, Any]:
    return {"scenario": name, "family": family, "trials": list(trials)} | more


def line(body: Any) -> bytes:
    """Returns a result line; `body` has its times where protocol 1 had them."""
    if isinstance(body, dict):
        body = split_times(body)
    return protocol.REPLY_MARK + json.dumps(body).encode("ascii") + b"\n"


def result(asked: HostPlan, stdout: bytes, *more: Any) -> Audited:
    """Returns the result of a host whose reply has the digest of its call."""
    return verdict.result_from_output(
        asked, stdout.replace(b"DIGEST", protocol.request_digest(asked).encode()), *more
    )


def decide(
    one: dict[str, Any],
    *,
    isolation: Any = "namespace",
    family: Family = "ipv4",
    steps: tuple[Step, ...] = UNREAD.steps,
) -> tuple[str, str]:
    """Returns the verdict on one trial."""
    parsed = protocol.parse_reply(line(reply(observation("unread-close", one))))
    return verdict.trial_verdict(parsed.observations[0].trials[0], steps, family, isolation)
