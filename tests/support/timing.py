"""Bounds on waiting that hold on a busy machine.

A test may wait for the product's own deadlines, and hold that a call ends by one of them rather
than by what it waits for, which lasts ten minutes. It must not measure how fast the machine is:
with a load of 20 on two cores everything takes many times longer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

BUSY_S = 60.0
"""Seconds that a busy machine may add to what ends at a deadline."""


def patience(call: Callable[[], object]) -> float:
    """Returns a deadline in seconds, at least 1, that leaves a command time to start on this
    machine as busy as it is now: `call` is a command of the same kind that just starts and ends.
    """
    began = time.monotonic()
    call()
    return 1 + 5 * (time.monotonic() - began)


_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10 ** 6))"


def busy_loops() -> int:
    """Returns how many busy loops are a load: twice the number of CPUs."""
    return 2 * (os.cpu_count() or 1)


@contextlib.contextmanager
def load(number: int, *, cpu: int | None = None) -> Iterator[None]:
    """Runs busy loops during the `with` block, on one CPU if `cpu` is set; they end with this
    process, whatever happens to it.
    """
    loops = [subprocess.Popen([sys.executable, "-S", "-c", _LOOP]) for _ in range(number)]
    try:
        for loop in loops:
            if cpu is not None:
                os.sched_setaffinity(loop.pid, {cpu})
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
