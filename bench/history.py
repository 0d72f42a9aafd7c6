"""What the history of a job costs: `fleetaudit history` of many runs, and what each run adds.

    python -m bench.history [--runs N] [--hosts N]

The runs are made-up nights of one fleet (tests/support/nights.py), written as `fleetaudit run`
leaves them: an outline and a store each. `fleetaudit history` runs in a process of its own, the
best of five; its time is also given as a multiple of what `python -c pass` takes. The exit status
is 1 if it takes more than a second of CPU time, or if an outline takes more than 20 microseconds a
host to make.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.model import AuditRun
from fleetaudit.store.deduplication import share_evidence
from fleetaudit.store.names import OUTLINE_FILE, STORE_FILE
from fleetaudit.store.outline import encode_outline
from fleetaudit.store.run_folder import create_run_folder
from fleetaudit.store.store_file import encode_store
from tests.support.nights import FIRST, run_of_night

MOST_SECONDS, MOST_PER_HOST = 1.0, 20e-6
DIFFERENT_NIGHTS = range(20, 40)
"""The nights of the rollout, which are repeated."""


def runs_of_nights(count: int, hosts: int) -> list[AuditRun]:
    """Returns the runs of `count` nights; those of `DIFFERENT_NIGHTS` are repeated."""
    different = [_as_audited(run_of_night(night, hosts)) for night in DIFFERENT_NIGHTS]
    return [_on_night(different[night % len(different)], night) for night in range(count)]


def _as_audited(run: AuditRun) -> AuditRun:
    """Returns a run whose hosts share equal parts, as those of an audit do."""
    return replace(run, hosts=share_evidence(run.hosts))


def _on_night(run: AuditRun, night: int) -> AuditRun:
    """Returns a run as that of another night."""
    started = FIRST + timedelta(days=night)
    info = replace(
        run.run,
        id=f"{started:%Y-%m-%dT%H%M%SZ}",
        started=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        finished=f"{started + timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}",
        sequence=night + 1,
    )
    return replace(run, run=info)


def write_run(output: Path, run: AuditRun) -> Path:
    """Writes the outline and the store of a run; returns its folder."""
    with create_run_folder(output, datetime.fromisoformat(run.run.started), b"{}") as folder:
        folder.write(OUTLINE_FILE, encode_outline(outline_of(run)))
        folder.finish(run)
    return folder.path


class Cost(NamedTuple):
    """What a command takes, in seconds: CPU time of the process, and time on the clock."""

    cpu: float
    wall: float


def cost(argv: Sequence[str]) -> Cost:
    """Returns what a command costs, the best of five."""
    return min(_cost_once(argv) for _ in range(5))


def _cost_once(argv: Sequence[str]) -> Cost:
    """Returns what a command costs once."""
    before, began = _cpu_of_children(), time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return Cost(_cpu_of_children() - before, time.perf_counter() - began)


def _cpu_of_children() -> float:
    """Returns the CPU time of all processes that were started and have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_seconds(make: Callable[[AuditRun], object], run: AuditRun) -> float:
    """Returns the CPU time of making something of a run, the best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        make(run)
        best = min(best, time.process_time() - began)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--hosts", type=int, default=1_000)
    options = parser.parse_args()
    runs = runs_of_nights(options.runs, options.hosts)
    outline = cpu_seconds(lambda run: encode_outline(outline_of(run)), runs[-1])
    store = cpu_seconds(lambda run: b"".join(encode_store(run)), runs[-1])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        *_, last = [write_run(output, run) for run in runs]
        size, whole = (last / OUTLINE_FILE).stat().st_size, (last / STORE_FILE).stat().st_size
        del runs
        start = cost((sys.executable, "-c", "pass"))
        command = (sys.executable, "-m", "fleetaudit", "history", "-o", folder, "--format")
        took = {format_: cost((*command, format_)) for format_ in ("text", "json", "html")}
    print(f"{options.runs:,} runs of {options.hosts:,} hosts")
    print(f"  outline: {size / 1000:.0f} KB a run, {1000 * outline:.1f} ms of CPU to make")
    print(f"  store:   {whole / 1000:.0f} KB a run, {1000 * store:.1f} ms of CPU to make")
    for format_, found in took.items():
        print(
            f"  history --format {format_}: {found.cpu:.2f} s of CPU ({found.wall:.2f} s on the"
            f" clock), {found.cpu / start.cpu:.0f} times an empty Python ({start.cpu:.3f} s)"
        )
    slowest = max(took["text"].cpu, took["json"].cpu)
    return int(slowest > MOST_SECONDS or outline > MOST_PER_HOST * options.hosts)


if __name__ == "__main__":
    sys.exit(main())
