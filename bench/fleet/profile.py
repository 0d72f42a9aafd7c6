"""Where fleetaudit's CPU goes: `python -m fleetaudit`, with a look at its stack for each
millisecond of CPU.

    python -m bench.fleet.profile RESULT ARGUMENTS ...

Rules: a look costs little and is taken by the time that the process itself uses, so nothing that
waits is counted, and fast functions do not look slow, as they do in cProfile. The kernel's own time
counts for whoever called it. All hosts share one thread, which is the one looked at.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import fleetaudit

INTERVAL_S = 0.001
PACKAGE = str(Path(fleetaudit.__file__).parent)
IMPORTS = "<frozen importlib"
PHASES = {
    "cli": "start, output",
    "app": "start, output",
    "inventory": "inventory, plan",
    "playbook": "inventory, plan",
    "connection": "inventory, plan",
    "engine": "scheduling",
    "transport": "ssh",
    "probe/request": "request",
    "probe/joiner": "request",
    "probe/protocol": "decode",
    "probe/decode": "decode",
    "probe/reply": "decode",
    "probe": "verdict",
    "analysis/judge": "judge",
    "analysis/compare": "compare",
    "analysis": "drift, policy",
    "store": "store",
    "report": "page",
}
"""The phase of the innermost function of fleetaudit, by the beginning of its module."""
SHARED = ("text", "model", "errors", "caching", "__main__")
"""Whoever calls these is the phase."""


def phase_of(frame: FrameType | None) -> tuple[str, str]:
    """Returns the phase of a stack and the innermost function of fleetaudit in it."""
    function = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(IMPORTS):
            return "imports", "import"
        if file.startswith(PACKAGE):
            module = file[len(PACKAGE) + 1 :].removesuffix(".py")
            function = function or f"{module}.{frame.f_code.co_qualname}"
            if not module.startswith(SHARED):
                return _phase(module), function
        frame = frame.f_back
    return "Python itself", function or "other"


def _phase(module: str) -> str:
    """Returns the phase of a module: that of its longest beginning."""
    known = [name for name in PHASES if module.startswith(name)]
    return PHASES[max(known, key=len)] if known else module


def main(result: str, *arguments: str) -> None:
    phases, functions = Counter[str](), Counter[str]()

    def look(number: int, frame: FrameType | None) -> None:
        phase, function = phase_of(frame)
        phases[phase] += 1
        functions[function] += 1

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    sys.argv = ["fleetaudit", *arguments]
    try:
        runpy.run_module("fleetaudit", run_name="__main__")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        found = {"phases": phases.most_common(), "functions": functions.most_common(30)}
        Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
