"""Runs each fault by each route, in pairs of processes: one has the servers, one is measured."""

from __future__ import annotations

import contextlib
import queue
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.hostile.table import Case, Seen

from .catalog import RUNS_WELL, faults
from .client import Job, Measured
from .fault import AUDITED, Fault, Says
from .routes import ROUTES, Place, Route
from .serve import ask, process

WARM = tuple(route for route in ROUTES if not route.far)
COLUMNS = ("stage", "over the deadline", "memory", "CPU", "left over", "reason")
DEADLINES_S = (4.0, 8.0)
MOST_OVER_S = 2.0
MOST_MB = 48.0
LIBRARY = re.compile(r"\b[A-Z][A-Za-z]*(Error|Exception)\b|Errno|Traceback|paramiko|InvalidTag")


@dataclass
class Pair:
    """A process with servers, and one that is measured; `folder` has the files of both."""

    folder: Path
    servers: subprocess.Popen[str]
    client: subprocess.Popen[str]
    warm: bool = False

    def run(self, fault: Fault, route: Route, deadline_s: float) -> Measured:
        """Returns the result of a fault."""
        if not self.warm:  # imports and caches are no part of what one host costs
            self.warm = True
            for first in WARM:
                self._run(RUNS_WELL, first, 60)
        return self._run(fault, route, deadline_s)

    def _run(self, fault: Fault, route: Route, deadline_s: float) -> Measured:
        faulty, good = map(int, ask(self.servers, fault.name).split())
        key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        target = route.target(Place(self.folder, faulty, good, key), fault)
        password = target.password.reveal() if target.password else ""
        job = Job(msgspec.structs.replace(target, password=None), password, deadline_s)
        answer = ask(self.client, msgspec.json.encode(job).decode())
        return msgspec.json.decode(answer, type=Measured)


@dataclass
class Bench:
    """Pairs of processes that are free."""

    pairs: queue.Queue[Pair]

    def run(self, fault: Fault, route: Route, deadline_s: float) -> Measured:
        """Returns the result of a fault, in a pair that is free."""
        pair = self.pairs.get()
        try:
            return pair.run(fault, route, deadline_s)
        finally:
            self.pairs.put(pair)


@contextlib.contextmanager
def bench(count: int) -> Iterator[Bench]:
    """Yields `count` pairs of processes."""
    with contextlib.ExitStack() as stack:
        pairs = queue.Queue[Pair]()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
            subprocess.run(words, check=True)
        for number in range(count):
            own = folder / str(number)
            own.mkdir()
            for name in ("host", "host.pub", "user", "user.pub"):
                (own / name).write_bytes((folder / name).read_bytes())
                (own / name).chmod(0o600)
            servers = stack.enter_context(process("serve", str(own / "host")))
            pairs.put(Pair(own, servers, stack.enter_context(process("client"))))
        yield Bench(pairs)


def wrong(measured: Measured, says: Says, deadline_s: float, over_s: float) -> Iterator[str]:
    """Yields what is not as it must be."""
    if measured.stage not in (says.stage, says.or_stage):
        yield f"stage {measured.stage} instead of {says.stage}"
    if says.words and not any(words in measured.reason for words in says.words):
        yield f"the reason has not {' or '.join(says.words)!r}"
    if found := LIBRARY.search(measured.reason):
        yield f"a library's words in the reason: {found[0]}"
    if measured.stage != AUDITED and not (measured.hint and measured.reason.isprintable()):
        yield "no hint, or a reason that cannot be printed"
    if measured.bugs:
        yield "a bug in fleetaudit"
    if measured.wall_s > deadline_s + over_s:
        yield f"{measured.wall_s - deadline_s:.1f} s over the deadline"
    if measured.peak_mb > MOST_MB:
        yield f"{measured.peak_mb:.0f} MB"
    if measured.left:
        yield f"left over: {', '.join(measured.left)}"


def cells(measured: Measured, deadline_s: float) -> dict[str, object]:
    """Returns the cells of a row."""
    return {
        "stage": measured.stage,
        "over the deadline": f"{measured.wall_s - deadline_s:+.1f} s",
        "memory": f"{measured.peak_mb:.1f} MB",
        "CPU": f"{measured.cpu_s:.2f} s",
        "left over": ", ".join(measured.left) or "nothing",
        "reason": measured.reason,
    }


def case_of(
    benches: Bench,
    fault: Fault,
    route: Route,
    says: Says,
    *,
    deadlines_s: Sequence[float] = DEADLINES_S,
    over_s: float = MOST_OVER_S,
) -> Case:
    """Returns the case of a fault by a route. One that is wrong runs again with the next deadline:
    on a busy machine a host may not come as far as its fault.
    """

    def run() -> Seen:
        for deadline_s in deadlines_s:
            measured = benches.run(fault, route, deadline_s)
            found = tuple(wrong(measured, says, deadline_s, over_s))
            if not found:
                break
        return Seen(found, cells(measured, deadline_s))

    return Case(name_of(fault, route), run)


def name_of(fault: Fault, route: Route) -> str:
    """Returns the name of a case."""
    return f"{fault.name} ({route.name})"


def fault_cases(benches: Bench) -> Iterator[Case]:
    """Yields every fault by every route that it can be met by."""
    for route in ROUTES:
        for fault in (RUNS_WELL, *faults()):
            if says := route.says(fault):
                yield case_of(benches, fault, route, says)
