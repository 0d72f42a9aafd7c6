"""What a run costs after the last host has answered: judging the fleet, waivers and dates, the
comparison, the page and every other format, and the drift of two runs.

    python -m bench.after_results [--hosts N]... [--different] [--formats]

Hosts of one kernel build that behave in the same way share their parts, as hosts do that were
audited or read from a run's store; with --different no two hosts are equal. Each size runs in a
fresh process.
Prints the CPU of each phase in milliseconds a host, imports included, and the peak of memory beyond
that of the hosts. Ends with status 1 where 1,000 equal hosts take more than 0.5 ms a host up to and
with the page, or a host among 10,000 takes more than 1.2 times as long as one among 1,000.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.page import PLAYBOOK, hosts
from fleetaudit.model import AuditRun, HostPlan, LocalTarget, Plan
from fleetaudit.playbook import load_playbook
from tests.support.runs import run_of

T = TypeVar("T")
MILLISECONDS, GROWTH = 0.5, 1.2
EVERY_RUN = ("evidence", "judge", "annotate", "status", "compare", "html")
FORMATS = ("text", "csv", "junit", "sarif", "prometheus")


class Phases:
    """The CPU of each phase in seconds, in the order in which they ran."""

    def __init__(self) -> None:
        self.seconds = dict[str, float]()

    def measure(self, name: str, work: Callable[[], T]) -> T:
        """Returns the result of `work` and adds its CPU to the phase."""
        began = time.process_time()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began
        return result


def plan_of(run: AuditRun, inventory: Path) -> Plan:
    """Returns the plan of a run, whose hosts are in the lines of one inventory."""
    playbook = load_playbook(PLAYBOOK)
    play = playbook.plays[0]
    same = HostPlan(
        name="",
        groups=(),
        target=LocalTarget(),
        scenarios=play.scenarios,
        trials=3,
        isolation="auto",
        sysctls_collect=play.sysctls_collect,
        sysctls_expect=play.sysctls_expect,
        exposure_expect=play.exposure_expect,
        kernels_expect=play.kernels_expect,
    )
    planned = (
        _host_plan(same, host.name, host.groups, f"{inventory}:{line}")
        for line, host in enumerate(run.hosts, 1)
    )
    lines = {id_: (str(PLAYBOOK), line) for id_, line in playbook.lines.items()}
    return Plan(playbooks=(str(PLAYBOOK),), hosts=tuple(planned), lines=lines)


def _host_plan(same: HostPlan, name: str, groups: tuple[str, ...], origin: str) -> HostPlan:
    """Returns the plan of one host."""
    from msgspec.structs import replace

    return replace(same, name=name, groups=groups, origin=origin)


def finish(run: AuditRun, plan: Plan, folder: Path, phases: Phases) -> AuditRun:
    """Returns the run as `app.audit` finishes it before it is compared."""
    from fleetaudit.app.audit import judge_run
    from fleetaudit.app.baseline import ActiveWaivers, Baseline, annotate_run
    from fleetaudit.app.exit_status import exit_status, has_bug
    from fleetaudit.store.deduplication import reassign_evidence

    phases.measure("evidence", lambda: reassign_evidence(run.hosts))
    waivers = ActiveWaivers(select=lambda pattern: [pattern])
    run = phases.measure("judge", lambda: judge_run(run, plan, folder))
    run = phases.measure("annotate", lambda: annotate_run(run, Baseline(), waivers))
    phases.measure("status", lambda: (exit_status(run, ("error",)), has_bug(run)))
    return run


def report(run: AuditRun, formats: Iterable[str], phases: Phases) -> None:
    """Compares a run and renders the page, and the other formats if they are asked for."""
    from fleetaudit.analysis.compare import compare
    from fleetaudit.report import registry

    comparison = phases.measure("compare", lambda: compare(run))
    for format_ in ("html", *formats):
        chunks = registry.render_in_chunks(run, format_, comparison=comparison)
        phases.measure(format_, partial(deque, chunks, maxlen=0))


def drift(before: AuditRun, after: AuditRun, phases: Phases) -> None:
    """Dates the findings of a run and compares it with the earlier one, as text."""
    from fleetaudit.analysis.compare import summarize_changes
    from fleetaudit.analysis.drift import compute_drift, set_first_seen
    from fleetaudit.report.changes import changes_text

    phases.measure("dates", lambda: set_first_seen(after.hosts, (before,), "2026-11-23"))
    found = phases.measure("drift", lambda: compute_drift(before, after))
    phases.measure("changes", lambda: changes_text(summarize_changes(found), width=100))


def run_phases(count: int, equal: bool, formats: bool) -> tuple[dict[str, float], float]:
    """Returns the CPU of the phases in seconds, and the peak of memory beyond that of the hosts, in
    MiB; it is called in a fresh process.
    """
    scenarios = load_playbook(PLAYBOOK).plays[0].scenarios
    phases = Phases()
    with tempfile.NamedTemporaryFile("w") as inventory:
        run = run_of(hosts(count, equal=equal), scenarios)
        before = run_of(hosts(count, equal=equal, odd=1), scenarios)
        plan = plan_of(run, Path(inventory.name))
        gc.freeze()
        at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run = finish(run, plan, Path(inventory.name).parent, phases)
        report(run, FORMATS if formats else (), phases)
        drift(before, run, phases)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return phases.seconds, (peak - at_start) / 1024


def after_the_results(seconds: dict[str, float]) -> float:
    """Returns the CPU of what every run does: up to and with the page, in seconds."""
    return sum(
        seconds[name] for name in ("evidence", "judge", "annotate", "status", "compare", "html")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, action="append")
    parser.add_argument("--different", action="store_true", help="no two hosts are equal")
    parser.add_argument("--formats", action="store_true", help="the other formats, too")
    options = parser.parse_args()
    costs = dict[int, float]()
    for count in options.hosts or (200, 1_000, 10_000):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, memory = pool.apply(
                run_phases, (count, not options.different, options.formats)
            )
        costs[count] = 1000 * after_the_results(seconds) / count
        each = ", ".join(f"{name} {1000 * s / count:.2f}" for name, s in seconds.items())
        print(
            f"{count:,} hosts: {costs[count]:.2f} ms a host up to the page, {memory:.0f} MiB;"
            f" {sum(seconds.values()):.1f} s in all: {each}",
            flush=True,
        )
    thousand, most = costs.get(1_000, 0.0), costs.get(10_000, 0.0)
    grown = bool(thousand) and most > GROWTH * thousand
    return int(not options.different and (thousand > MILLISECONDS or grown))


if __name__ == "__main__":
    sys.exit(main())
