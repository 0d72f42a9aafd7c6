"""What a reply costs the controller: microseconds of CPU a host from its bytes to a host that is
judged and deduplicated.

    python -m bench.reply [HOSTS] [REPLY]

REPLY is a file with what a probe printed for the shipped playbook; without it the probe runs once
on this machine. HOSTS replies are made of it in three ways:

- hit: the observations of a host were seen before; its times and sysctls differ;
- partial: two of its observations, in which the most is sent, are acknowledged in another way;
- miss: all observations are new, and all sysctls.

Bounds that we hold ourselves to on an idle core: 600 a host for a hit, 1,200 for a partial hit.
"""

from __future__ import annotations

import base64
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.probe import DEADLINE_S, cost, shipped
from fleetaudit.analysis.judge import HostJudge
from fleetaudit.model import Audited, HostPlan
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.result_line import COMPRESSED, find_result
from fleetaudit.store.deduplication import EvidenceDeduplicator
from fleetaudit.transport.masking import Masking

Body = dict[str, Any]
STAGES = ("decode", "verdict", "lacking", "times", "masking", "deduplicate", "judge")
BOUNDS = {"hit": 600, "partial": 1200}


PLAN = shipped()


def plan_of_host(name: str) -> HostPlan:
    """Returns the plan of a host for the shipped playbook; all share its scenarios."""
    return msgspec.structs.replace(PLAN, name=name)


def with_other_times(body: Body, n: int) -> Body:
    """Returns the reply of host `n`, which sent the same observations."""
    times = {**body["times"], "at": [at + n for at in body["times"]["at"]]}
    counters = {**body["exposure"]["counters"], "ActiveOpens": n}
    return {**body, "times": times, "exposure": {**body["exposure"], "counters": counters}}


def with_two_others(body: Body, n: int) -> Body:
    """Returns the reply of host `n`, whose two longest observations have acknowledgments of its
    own.
    """
    observations = [*body["observations"]]
    longest = sorted(range(len(observations)), key=lambda i: -len(str(observations[i])))
    for index in longest[:2]:
        observations[index] = with_ack(observations[index], n)
    return {**with_other_times(body, n), "observations": observations}


def with_all_others(body: Body, n: int) -> Body:
    """Returns the reply of host `n`, of which nothing was seen before."""
    observations = [with_ack(each, n) for each in body["observations"]]
    sysctls = {key: {**each, "used": str(n)} for key, each in body["sysctls"].items()}
    return {**with_other_times(body, n), "observations": observations, "sysctls": sysctls}


def with_ack(observation: Body, n: int) -> Body:
    """Returns an observation with one number of its own: what a segment acknowledges."""
    (first, *others) = observation.get("trials") or [{}]
    if not first:
        return observation
    if not first["wire"]:
        changed = {**first, "bytes": {**first["bytes"], "closer sent": n}}
    else:
        *rows, last = first["wire"]
        changed = {**first, "wire": [*rows, [*last[:3], n, *last[4:]]]}
    return {**observation, "trials": [changed, *others]}


KINDS: dict[str, Callable[[Body, int], Body]] = {
    "hit": with_other_times,
    "partial": with_two_others,
    "miss": with_all_others,
}


def line_of(body: Body) -> bytes:
    """Returns what a host prints."""
    packed = base64.b64encode(zlib.compress(msgspec.json.encode(body)))
    return b"motd\n" + protocol.REPLY_MARK + COMPRESSED + packed + b"\n"


class Costs:
    """One run: its caches, and how long each stage took."""

    def __init__(self) -> None:
        self.verdicts, self.judge = verdict.VerdictCache(), HostJudge()
        self.deduplicator = EvidenceDeduplicator()
        self.seconds = {stage: list[float]() for stage in STAGES}
        self.hosts = list[Audited]()

    def timed(self, stage: str, call: Callable[[], Any]) -> Any:
        """Returns what a call returns, and adds its CPU time to a stage."""
        began = time.process_time()
        value = call()
        self.seconds[stage].append(time.process_time() - began)
        return value

    def median_us(self, stage: str) -> float:
        """Returns what a stage costs most hosts, in microseconds: a machine may be busy."""
        return 1e6 * statistics.median(self.seconds[stage])

    def take(self, plan: HostPlan, stdout: bytes) -> None:
        """Takes one reply as the engine does."""
        reply = self.timed("decode", lambda: protocol.open_reply(plan, stdout))
        decoded = self.timed("verdict", lambda: verdict.decode_opened(self.verdicts, plan, reply))
        lacking = self.timed("lacking", lambda: self.deduplicator.lacking(decoded.without_times))
        host = self.timed("times", lambda: decoded.with_times(lacking))
        host = self.timed("masking", lambda: Masking(plan.target).audited(host))
        host = self.timed("deduplicate", lambda: self.deduplicator.deduplicate(host))
        self.hosts.append(self.timed("judge", lambda: self.judge(host, plan)))


def replies(body: Body, make: Callable[[Body, int], Body], hosts: int) -> Iterator[bytes]:
    """Yields what the hosts print."""
    for n in range(1, hosts + 1):
        yield line_of(make(body, n))


def main(hosts: int = 200, path: str = "") -> None:
    if path:
        printed = Path(path).read_bytes()
    else:
        request = protocol.make_request(PLAN, deadline_s=DEADLINE_S)
        printed = cost(sys.executable, request)[2]
    line = find_result(printed)
    if line is None:
        raise SystemExit(f"{path}: no result line")
    body = msgspec.json.decode(line)
    body["digest"] = protocol.request_digest(plan_of_host("h"))
    first = line_of(body)
    print(
        f"{len(body['observations'])} observations, {len(msgspec.json.encode(body)):,} bytes,"
        f" {len(first):,} compressed; {hosts} hosts, microseconds of CPU a host"
    )
    print(f"{'':8}{'all':>8}" + "".join(f"{stage:>13}" for stage in STAGES))
    for kind, make in KINDS.items():
        costs = Costs()
        for n, stdout in enumerate((first, *replies(body, make, hosts))):
            costs.take(plan_of_host(f"h{n}"), stdout)
        each = [costs.median_us(stage) for stage in STAGES]
        bound = f"  (bound {BOUNDS[kind]:,})" if kind in BOUNDS else ""
        columns = "".join(f"{value:13,.0f}" for value in each)
        print(f"{kind:8}{sum(each):8,.0f}{columns}{bound}")


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, str), sys.argv[1:], strict=False)))
