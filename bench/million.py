"""What a fleet takes that is larger than any that can be connected to here: genuine replies of as
many hosts, through everything but SSH.

    python -m bench.million [--hosts N] [--distinct N]

One reply is recorded on this machine. DISTINCT hosts are made of it: 40 kernel builds, every tenth
host with two observations of its own, counters, times and machine id of its own; hosts beyond that
number send one of these replies again, under a name of their own. Each goes through the engine
(decode, verdict, judge, deduplicate), the journal, and when all are there the comparison, the page
and the store, as `fleetaudit run` has it; at the end the run is read again as `fleetaudit explain`
and `fleetaudit report` read it.

Prints the CPU of each phase in milliseconds a host, the wall time, the peak of this process's
memory after each phase, and the bytes of journal, page and store. What is not in it: SSH, which
bench/fleet measures, and the seconds that the hosts take. The exit status is 1 if a host is lost.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.probe import DEADLINE_S, cost
from bench.reply import PLAN, Body, line_of, with_other_times, with_two_others
from fleetaudit.analysis.judge import HostJudge, judge_fleet
from fleetaudit.app.planning import scenario_rows
from fleetaudit.app.run_output import write_run
from fleetaudit.engine import EngineSettings, RunCommand, audit
from fleetaudit.model import Audited, AuditRun, HostPlan, Plan, RunInfo, SshTarget, Target
from fleetaudit.probe import protocol
from fleetaudit.probe.offer import Offer
from fleetaudit.probe.result_line import find_result
from fleetaudit.store.deduplication import judge_and_deduplicate
from fleetaudit.store.names import JOURNAL_FILE, STORE_FILE
from fleetaudit.store.run_file import read_hosts, read_run
from fleetaudit.store.run_folder import RunFolder, create_run_folder
from fleetaudit.transport import Deadline, Limits, Output

BUILDS = 40
STARTED = datetime(2026, 1, 31, 2, tzinfo=UTC)


def recorded() -> Body:
    """Returns the reply of this machine to the shipped playbook."""
    request = protocol.make_request(PLAN, deadline_s=DEADLINE_S)
    line = find_result(cost(sys.executable, request)[2])
    if line is None:
        raise SystemExit("the probe sent no reply on this machine")
    body: Body = msgspec.json.decode(line)
    return {**body, "digest": protocol.request_digest(PLAN)}


def replies(body: Body, count: int) -> Iterator[bytes]:
    """Yields what the hosts of a fleet print."""
    for n in range(count):
        own = with_two_others(body, n) if n % 10 == 9 else with_other_times(body, n)
        kernel = {
            "release": f"6.{n % BUILDS}.43-amd64",
            "version": f"#1 SMP {n % BUILDS}",
            "machine": "x86_64",
        }
        yield line_of({**own, "kernel": kernel, "machine_id": f"{n:032x}"})


def name_of(n: int) -> str:
    """Returns the name of a host."""
    return f"web{n % 1000:03}.rack{n // 1000:04}.dc{n % 3}.example.net"


def plan_of(count: int) -> Plan:
    """Returns a plan of as many hosts in racks."""
    hosts = (
        msgspec.structs.replace(
            PLAN,
            name=name_of(n),
            groups=("web", f"dc{n % 3}"),
            target=SshTarget(address=f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"),
        )
        for n in range(count)
    )
    return Plan(playbooks=("playbooks/unread-close.yml",), hosts=tuple(hosts))


class Phases:
    """What each phase takes; prints a line for each as it ends."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        """Returns the result of a phase."""
        cpu, wall = time.process_time(), time.monotonic()
        result = work()
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each = 1000 * cpu / self.hosts
        print(f"{name:38}{each:9.3f} ms a host {wall:9.1f} s wall {peak:8.0f} MiB", flush=True)
        return result


class Fleet:
    """A fleet whose hosts answer with recorded replies."""

    def __init__(self, plan: Plan, lines: list[bytes], folder: RunFolder) -> None:
        self.plan, self.lines, self.folder = plan, lines, folder
        self.number = {host.name: n for n, host in enumerate(plan.hosts)}

    def run_command_for(self, host: HostPlan) -> RunCommand:
        """Returns what takes the place of the connection to one host."""
        line = self.lines[self.number[host.name] % len(self.lines)]

        def answer(
            target: Target,
            command: str,
            stdin: Offer,
            deadline: Deadline,
            limits: Limits,
        ) -> Output:
            return Output(stdout=line, stderr=b"", exit_status=0, nonce="")

        return answer

    def audit(self) -> AuditRun:
        """Returns the run, judged and deduplicated; each host is in the journal."""
        outcome = audit(
            self.plan,
            run_command=self.run_command_for(self.plan.hosts[0]),
            run_command_for=self.run_command_for,
            settings=EngineSettings(),
            judge=judge_and_deduplicate(HostJudge()),
            on_result=self.folder.append,
        )
        time_ = STARTED.strftime("%Y-%m-%dT%H:%M:%SZ")
        info = RunInfo(
            id=self.folder.id,
            started=time_,
            finished=time_,
            fleetaudit="",
            playbooks=self.plan.playbooks,
            controller="",
        )
        return AuditRun(run=info, scenarios=scenario_rows(self.plan), hosts=outcome.results)

    def finish(self, run: AuditRun) -> AuditRun:
        """Returns the run with the findings that depend on all hosts."""
        return msgspec.structs.replace(run, hosts=judge_fleet(run.hosts, self.plan))

    def write(self, run: AuditRun) -> AuditRun:
        """Compares the run, and writes page and store."""
        return write_run(self.folder, run, formats=("html",), finish=self.finish).run


def size(path: Path, hosts: int) -> str:
    """Returns the size of a file as text."""
    found = path.stat().st_size
    return f"{path.name}: {found / 1e6:,.1f} MB, {found / hosts:,.0f} bytes a host"


def make_run(output: Path, phases: Phases, lines: list[bytes]) -> tuple[Path, int]:
    """Makes a run and returns its folder, and how many hosts were audited."""
    plan = phases.run("plan", lambda: plan_of(phases.hosts))
    with create_run_folder(output, STARTED) as folder:
        fleet = Fleet(plan, lines, folder)
        run = phases.run("decode, verdict, judge, journal", fleet.audit)
        print(size(folder.path / JOURNAL_FILE, phases.hosts))
        audited = sum(isinstance(host, Audited) for host in run.hosts)
        phases.run("compare, page, store", lambda: fleet.write(run))
    for name in ("report.html", STORE_FILE):
        print(size(folder.path / name, phases.hosts))
    return folder.path, audited


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=20_000)
    options = parser.parse_args()
    phases = Phases(options.hosts)
    lines = [*replies(recorded(), min(options.distinct, options.hosts))]
    print(f"{options.hosts:,} hosts, {len(lines):,} replies, {sum(map(len, lines)) / 1e6:,.0f} MB")
    gc.freeze()
    with tempfile.TemporaryDirectory() as output:
        folder, audited = make_run(Path(output), phases, lines)
        gc.collect()
        last = name_of(options.hosts - 1)
        phases.run("read one host", lambda: read_hosts(folder, [last]))
        read = len(phases.run("read the run", lambda: read_run(folder)).hosts)
    print(f"{audited:,} audited, {read:,} read")
    return 0 if audited == read == options.hosts else 1


if __name__ == "__main__":
    raise SystemExit(main())
