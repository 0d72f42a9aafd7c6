"""What one command costs: CPU, wall time, memory and context switches of its whole process tree.

    python -m bench.fleet.measure RESULT SECONDS COMMAND ...

Rules: this runs in a process of its own, which inherits every orphan of the command (it is their
subreaper). So the kernel's own account of its reaped children is exact: nothing is sampled but
memory, and that costs the command nothing but time. Memory is the greatest sum of the proportional
set sizes (PSS) of the tree, looked at ten times a second; less often where that would take more
than a twentieth of a core. A command is ended after SECONDS. RESULT gets a JSON object, the keys of
`Cost`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
INTERVAL_S = 0.1
MOST_OF_A_CORE = 0.05


@dataclass(frozen=True)
class Cost:
    """CPU and wall in seconds, peak PSS in KiB, context switches, and the exit status."""

    cpu: float
    wall: float
    pss: int
    switches: int
    status: int


def measure(words: list[str], env: dict[str, str], log: Path, seconds: float) -> Cost:
    """Runs a command in a fresh process that measures it; its output goes to `log`."""
    result = log.with_suffix(".cost")
    with log.open("wb") as out:
        subprocess.run(
            [sys.executable, "-m", "bench.fleet.measure", str(result), str(seconds), *words],
            env=env,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=True,
            preexec_fn=end_with_parent,
        )
    return Cost(**json.loads(result.read_text()))


def end_with_parent() -> None:
    """Lets the kernel end this process when the bench ends, whatever ended it."""
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def processes() -> dict[int, list[int]]:
    """Returns the children of each process."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            children.setdefault(_parent(entry.name), []).append(int(entry.name))
    return children


def _parent(pid: str) -> int:
    """Returns the parent of a process; 0 if it has ended."""
    try:
        text = Path("/proc", pid, "stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def descendants(pid: int) -> list[int]:
    """Returns the processes below one, without itself."""
    children = processes()
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def pss_kib(pid: int) -> int:
    """Returns the proportional set size of a process; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.split("\n") if line.startswith("Pss:")), 0)


class MemorySampler(threading.Thread):
    """Looks at the memory of everything below this process until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        pause = INTERVAL_S
        while not self._ended.wait(pause):
            began = time.thread_time()
            self.peak = max(self.peak, sum(map(pss_kib, descendants(os.getpid()))))
            pause = max(INTERVAL_S, (time.thread_time() - began) / MOST_OF_A_CORE)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def end_descendants() -> None:
    """Ends and reaps what the command left behind, such as the masters of shared connections."""
    with contextlib.suppress(ChildProcessError):
        while left := descendants(os.getpid()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.wait()


def main(result: str, seconds: str, *words: str) -> None:
    _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    sampler = MemorySampler()
    sampler.start()
    began = time.monotonic()
    try:
        status = subprocess.call(words, timeout=float(seconds))
    except subprocess.TimeoutExpired:
        print(f"ended after {seconds} s")
        status = -1
    finally:
        wall = time.monotonic() - began
        sampler.stop()
        end_descendants()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = Cost(
        cpu=used.ru_utime + used.ru_stime,
        wall=wall,
        pss=sampler.peak,
        switches=used.ru_nvcsw + used.ru_nivcsw,
        status=status,
    )
    Path(result).write_text(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main(*sys.argv[1:])
