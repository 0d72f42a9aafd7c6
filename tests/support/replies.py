"""Replies that the probe once gave, as bytes, and the plan that they answer.

`python -m tests.support.replies` records them again. Those that are stored are of protocol 1, and
`split_times` makes them replies of today.

`namespace.txt` is of root, who has every witness; `host.txt` of an ordinary user without
namespaces, who has the peer and the counters.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fleetaudit.model import (
    Ending,
    Expectation,
    ExposureExpectation,
    Family,
    HostPlan,
    Isolation,
    LocalTarget,
    Scenario,
    SysctlExpectation,
)
from fleetaudit.playbook.step_order import step_families
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol
from fleetaudit.probe.result_line import find_result
from tests import DATA
from tests.support.split_times import split_times

FOLDER = DATA / "replies"
REPLIES = ("namespace.txt", "host.txt")


def _scenario(name: str, expect: Ending, steps: str, control: str | None = None) -> Scenario:
    parsed = tuple(parse_step(text) for text in steps.split(";"))
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    return Scenario(
        name=name,
        title=name,
        steps=parsed,
        expect=(expect,),
        control=control,
        families=step_families(parsed, families),
    )


SCENARIOS = (
    _scenario(
        "zero-linger-close",
        "RST",
        "peer sends 5 bytes;closer reads all;closer sets SO_LINGER 1 0;closer closes",
    ),
    _scenario("drained-close", "FIN", "peer sends 5 bytes;closer reads all;closer closes"),
    _scenario("unread-close", "RST", "peer sends 5 bytes;closer closes", "drained-close"),
    _scenario("urgent-close", "RST", "peer sends 1 urgent byte;closer closes", "drained-close"),
    _scenario(
        "window-zero-close", "RST", "peer sends until blocked;closer closes", "drained-close"
    ),
    _scenario(
        "late-data",
        "FIN, then RST",
        "peer sends 5 bytes;closer reads all;closer closes;peer sends 5 bytes",
    ),
    _scenario(
        "mptcp-close",
        "RST",
        "peer connects over MPTCP;peer sends 5 bytes;closer closes",
        "drained-close",
    ),
    _scenario("unix-drained-close", "FIN", "peer connects over AF_UNIX;closer closes"),
    _scenario(
        "unix-close",
        "RST",
        "peer connects over AF_UNIX;peer sends 5 bytes;closer closes",
        "unix-drained-close",
    ),
)


def plan(name: str = "web1", isolation: Isolation = "auto") -> HostPlan:
    """Returns what the stored replies answer."""
    return HostPlan(
        name=name,
        groups=("web",),
        target=LocalTarget(),
        scenarios=SCENARIOS,
        trials=2,
        isolation=isolation,
        sysctls_collect=("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_rmem"),
        sysctls_expect={"net.ipv4.tcp_fin_timeout": (SysctlExpectation(at_most=30),)},
        exposure_expect={
            name: (ExposureExpectation(at_most=0.5),)
            for name in (
                "aborts_on_close_per_thousand",
                "aborts_failed",
                "unread_sockets",
                "unread_bytes",
            )
        },
        kernels_expect={"same_ending_within_build": (Expectation(),)},
    )


def stored(name: str) -> bytes:
    """Returns what a probe once printed, as the answer to the call of today's `plan`."""
    before, mark, after = (FOLDER / name).read_bytes().partition(protocol.REPLY_MARK)
    line, end, rest = after.partition(b"\n")
    body = {**json.loads(line), "digest": protocol.request_digest(plan())}
    if body["protocol"] == 1:
        body = split_times(body)
    return before + mark + json.dumps(body).encode() + end + rest


def _ask_anew() -> None:
    from . import probe_runs

    def keep(name: str, isolation: Isolation, **how: Any) -> None:
        request = protocol.make_program(plan(isolation=isolation), deadline_s=30)
        line = find_result(probe_runs.run_text(request, **how)) or b""
        # The program's text is part of the digest, and a stored reply outlives it.
        line = re.sub(rb'"digest":"[0-9a-f]*",', b"", line)
        (FOLDER / name).write_bytes(b"\n" + protocol.REPLY_MARK + line + b"\n")

    FOLDER.mkdir(exist_ok=True)
    keep("namespace.txt", "namespace")
    keep("host.txt", "host", python=probe_runs.public_python(), within=probe_runs.as_nobody())


if __name__ == "__main__":
    _ask_anew()
