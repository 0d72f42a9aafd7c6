"""Runs the Python probe and the native one on the same kernel, and compares what they report.

Rules: the comparison is strict. What may differ is named here, each with its reason: everything
else that differs is a fault of one of the two.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fleetaudit.model import (
    Exposure,
    Family,
    HostPlan,
    Isolation,
    KernelTarget,
    LocalTarget,
    ProbeChoice,
    Scenario,
)
from fleetaudit.probe import protocol
from fleetaudit.probe.native_program import architecture_of
from fleetaudit.probe.native_request import native_request
from fleetaudit.probe.remote.scenario import coarse
from fleetaudit.probe.remote.trace import essence
from fleetaudit.probe.reply import RawObservation, RawTrial, Reply
from fleetaudit.probe.scenario_verdict import judge_scenario
from fleetaudit.probe.times import Size, check_times, starts_of
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import run_kernel
from tests.support import probe_runs
from tools import native

DEADLINE = 120.0
ROUNDS = 6
"""How often scenarios run whose trials differ: what depends on time only shows in some of them."""
STALLED = "the host stalled, so "
"""The beginning of the note on trials that were repeated on a busy machine, which depends on
time."""

NOT_PARSED = r" cannot be read: ([A-Z]\w*Error: |[a-z]).*"
"""The end of a note on a file whose text is odd: Python's own words, for which a program in C has
its own. The name of an errno ("ENOENT") must be the same.
"""
WORLDS: dict[str, Callable[[], list[str]]] = {
    "root": list,
    "nobody": probe_runs.as_nobody,
    "no user namespaces": probe_runs.without_user_namespaces,
    "namespaces without rights": probe_runs.host_without_capabilities,
    "the host's own network": probe_runs.in_new_network,
}
"""Where both probes run: what is put before their commands. "The host's own" is one of the test's,
so that nothing else moves its counters, and the probes stay in it.
"""
STAYING = "the host's own network"
Shape = str
Key = tuple[str, Family]


@dataclass(frozen=True)
class Pair:
    """The replies of both probes to one plan."""

    python: Reply
    native: Reply


@dataclass(frozen=True)
class Compared:
    """One scenario over one family: the shapes of its trials that each probe reported, or why it
    has none; and the ending by the first reply of the Python probe and of the native one.
    """

    key: Key
    endings: tuple[str, str]
    python: Counter[Shape]
    native: Counter[Shape]

    @property
    def are_equal(self) -> bool:
        """Whether each probe reported what the other one reports most often."""
        return _most_common(self.python) in self.native and _most_common(self.native) in self.python

    @property
    def are_same(self) -> bool:
        """Whether the trials of both were equal, each as often."""
        return self.python == self.native

    def and_again(self, other: Compared) -> Compared:
        """Returns the same scenario and family with the shapes of another run, too."""
        python, native = self.python + other.python, self.native + other.native
        return Compared(self.key, self.endings, python, native)


def plan_of(
    scenarios: Sequence[Scenario],
    *,
    trials: int = 2,
    isolation: Isolation = "auto",
    sysctls: Sequence[str] = (),
) -> HostPlan:
    """Returns a plan of this machine."""
    return HostPlan(
        name="here",
        groups=(),
        target=LocalTarget(),
        scenarios=tuple(scenarios),
        trials=trials,
        isolation=isolation,
        sysctls_collect=tuple(sysctls),
        sysctls_expect={},
    )


@functools.cache
def built(architecture: str) -> bytes:
    """Returns the native probe for an architecture, built once from its present sources."""
    return native.build(architecture)


@functools.cache
def native_program() -> Path:
    """Returns the native probe, built from its present sources, where every user may run it."""
    pytest.importorskip("ziglang", reason="needs the package ziglang")
    architecture = architecture_of(os.uname().machine)
    if architecture is None:
        pytest.skip(f"no native probe for {os.uname().machine}")
    folder = Path(tempfile.mkdtemp(prefix="fleetaudit-native-"))
    folder.chmod(0o755)
    path = folder / "probe"
    path.write_bytes(built(architecture))
    path.chmod(0o755)
    return path


def run_both(
    plan: HostPlan, *, within: Sequence[str] = (), python: str = "", program: Path | None = None
) -> Pair:
    """Returns what both probes answer; `within` is a command that theirs are appended to."""
    interpreter = [python or sys.executable, "-B", "-E", "-s", "-"]
    by_python = run_probe([*within, *interpreter], _python_request(plan))
    by_native = run_probe([*within, str(program or native_program())], _native_request(plan))
    return Pair(by_python, by_native)


def _python_request(plan: HostPlan) -> bytes:
    """Returns what is sent to an interpreter."""
    return protocol.make_request(plan, deadline_s=DEADLINE)


def _native_request(plan: HostPlan) -> bytes:
    """Returns what the native probe reads."""
    return bytes(native_request(plan, deadline_s=DEADLINE))


@dataclass(frozen=True)
class GuestPrograms:
    """The programs for a guest: see `Programs` of the kernel transport."""

    plan: HostPlan

    def native(self, architecture: str) -> bytes:
        """Returns the native program with its request, built from its present sources."""
        return built(architecture) + _native_request(self.plan)

    def __bytes__(self) -> bytes:
        return _python_request(self.plan)


def run_in_guests(plan: HostPlan, *, image: Path) -> Pair:
    """Returns what both probes answer in guests of the same kernel."""

    def answer(probe: ProbeChoice) -> Reply:
        target = KernelTarget(image=str(image), probe=probe)
        deadline = Deadline.after(5 * DEADLINE)
        execution = Execution(command=protocol.COMMAND, deadline=deadline, limits=Limits())
        return _parsed(run_kernel(target, execution, GuestPrograms(plan)).stdout)

    return Pair(
        _without_cheap_queues(plan, answer("python")),
        _without_cheap_queues(plan, answer("native")),
    )


def _without_cheap_queues(plan: HostPlan, reply: Reply) -> Reply:
    """Returns a reply without "rx_queue" where no step needs it.

    A kernel without sock_diag(7) only has /proc/net/tcp, which a probe then reads if that takes
    less than 2 ms (`is_listing_cheap` of lab.py): under emulation C is so fast, and Python is not.
    """
    needs = {
        scenario.name
        for scenario in plan.scenarios
        if {step.verb for step in scenario.steps} & {"send-urgent", "resend-fin"}
    }

    def without(trial: RawTrial) -> RawTrial:
        queue = {name: count for name, count in trial.queue.items() if name != "rx_queue"}
        return msgspec.structs.replace(trial, queue=queue)

    observations = tuple(
        each
        if each.scenario in needs
        else msgspec.structs.replace(each, trials=tuple(map(without, each.trials)))
        for each in reply.observations
    )
    return msgspec.structs.replace(reply, observations=observations)


def run_probe(argv: Sequence[str], sent: bytes) -> Reply:
    """Returns what a probe answers."""
    ended = subprocess.run(
        argv, input=sent, capture_output=True, cwd="/", timeout=3 * DEADLINE, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr.decode(errors="replace")
    return _parsed(ended.stdout)


def _parsed(stdout: bytes) -> Reply:
    """Returns a reply, which must have all its times."""
    reply = protocol.parse_reply(stdout)
    *_, total = starts_of([Size.of(trial) for each in reply.observations for trial in each.trials])
    check_times(reply.times, total)
    return reply


def compare(plan: HostPlan, run: Callable[[HostPlan], Pair]) -> tuple[Pair, list[Compared]]:
    """Returns the first replies of both probes, and each scenario and family.

    What differs at first runs again: timing alone gives some scenarios several shapes.
    """
    pair = run(plan)
    found = {each.key: each for each in compare_observations(plan, pair)}
    for _ in range(1, ROUNDS):
        names = {key[0] for key, each in found.items() if not each.are_equal}
        if not names:
            break
        chosen = [scenario for scenario in plan.scenarios if scenario.name in names]
        some = msgspec.structs.replace(plan, scenarios=tuple(chosen))
        for each in compare_observations(some, run(some)):
            found[each.key] = found[each.key].and_again(each)
    return pair, list(found.values())


def in_world(world: str) -> Callable[[HostPlan], Pair]:
    """Returns what runs both probes in one of `WORLDS`."""
    return functools.partial(run_both, within=WORLDS[world](), python=probe_runs.public_python())


def compare_observations(plan: HostPlan, pair: Pair) -> Iterator[Compared]:
    """Yields each scenario over each family, in the order of the plan."""
    scenarios = {scenario.name: scenario for scenario in plan.scenarios}
    keys = [(scenario.name, family) for scenario in plan.scenarios for family in scenario.families]
    assert keys == [(each.scenario, each.family) for each in pair.python.observations]
    assert keys == [(each.scenario, each.family) for each in pair.native.observations]
    both = zip(keys, pair.python.observations, pair.native.observations, strict=True)
    for key, by_python, by_native in both:
        scenario = scenarios[key[0]]
        endings = (
            judge_scenario(scenario, by_python, plan.trials, pair.python.isolation),
            judge_scenario(scenario, by_native, plan.trials, pair.native.isolation),
        )
        yield Compared(
            key,
            (endings[0].observation.ending, endings[1].observation.ending),
            shapes_of(by_python, scenario),
            shapes_of(by_native, scenario),
        )


def shapes_of(observation: RawObservation, scenario: Scenario) -> Counter[Shape]:
    """Returns the shapes of an observation's trials, each with its number; why there are none is
    one, too.
    """
    shapes = Counter[Shape]()
    if observation.not_run:
        shapes[f"not run: {observation.not_run} (failed: {observation.failed})"] += 1
    for trial in observation.trials:
        shapes[shape_of(trial, scenario)] += trial.count
    return shapes


def shape_of(trial: RawTrial, scenario: Scenario) -> Shape:
    """Returns what equal trials share, as the Python probe has it (`key_of` of its scenario.py):
    everything but how data was cut into segments, which ACKs were sent alone, and large numbers
    where a sender sends until it is blocked.
    """
    seen = msgspec.to_builtins(trial)
    seen.pop("count")
    seen.pop("wire_omitted")
    rows = [
        (0, s.sender, s.flags, s.seq, s.ack, s.length, s.urgent, s.options, 0)
        for s in trial.wire or ()
    ]
    seen["wire"] = None if trial.wire is None else essence(rows)
    seen["error"] = without_times(trial.error)
    if any(step.verb == "send-until-blocked" for step in scenario.steps):
        seen = coarse(seen)
    lines = ((name, json.dumps(value, sort_keys=True)) for name, value in sorted(seen.items()))
    return "\n".join(f"{name}: {value}" for name, value in lines)


def without_times(error: str) -> str:
    """Returns why a step failed without how long it waited, and for how long the host stalled."""
    return re.sub(r"within [0-9.]+ s", "within N s", error.partition("; the host stalled")[0])


def host_differences(pair: Pair) -> Iterator[str]:
    """Yields what differs in the description of the host.

    Allowed: `python`, `interpreter`, `fleetaudit`, `digest` and `nonce`, which say what ran;
    `times`, `elapsed_s` and `cpu_s`, which are times; `observations`, which are compared one by
    one; the three below, as far as they say.
    """
    for name in ("kernel", "os", "machine_id", "isolation", "capture_note", "sysctls"):
        yield from _difference(name, getattr(pair.python, name), getattr(pair.native, name))
    for name in ("sysctl_places", "sysctls_writable"):
        yield from _difference(name, getattr(pair.python, name), getattr(pair.native, name))
    yield from _difference("exposure", *map(_lasting, (pair.python.exposure, pair.native.exposure)))
    yield from _difference("notes", *map(_notes, (pair.python, pair.native)))
    yield from _isolation_differences(pair)


def _difference(name: str, by_python: object, by_native: object) -> Iterator[str]:
    """Yields a sentence if two values differ; of two dicts only what differs in them."""
    if isinstance(by_python, dict) and isinstance(by_native, dict):
        for key in sorted({*by_python, *by_native}):
            yield from _difference(f"{name}.{key}", by_python.get(key), by_native.get(key))
    elif by_python != by_native:
        yield f"{name}: Python {by_python!r}, native {by_native!r}"


def _lasting(exposure: Exposure | None) -> object:
    """Returns what of an exposure does not move between two looks at it: which counters there are,
    and what is unknown.
    """
    if exposure is None:
        return None
    unread = exposure.unread_sockets
    return (
        sorted(exposure.counters),
        exposure.uptime_s is None,
        unread if unread is None else unread.partial,
    )


def _notes(reply: Reply) -> list[str]:
    """Returns the notes but the one on trials that were repeated, which is of time; see
    `NOT_PARSED`.
    """
    notes = (note for note in reply.notes if not note.startswith(STALLED))
    return [re.sub(NOT_PARSED, " cannot be read", note) for note in notes]


def _isolation_differences(pair: Pair) -> Iterator[str]:
    """Yields how the notes on the isolation differ: Python names three ways into a namespace, each
    with what failed, and the native probe its only one, which must fail as one of the three does.
    """
    start = "no private network namespace (unshare: "
    by_python, by_native = pair.python.isolation_note, pair.native.isolation_note
    if by_native.startswith(start) and by_python.startswith("no private network namespace ("):
        reason = by_native.removeprefix(start).removesuffix(")")
        if f": {reason}" in by_python:
            return
    yield from _difference("isolation_note", by_python, by_native)


def _most_common(shapes: Counter[Shape]) -> Shape:
    """Returns the shape that is reported most often."""
    return max(shapes, key=lambda shape: (shapes[shape], shape)) if shapes else ""


def explain(compared: Compared) -> str:
    """Returns how the shapes of two probes differ, for a person."""
    lines = [f"{compared.key[0]} over {compared.key[1]}:"]
    by_python = _most_common(compared.python).splitlines()
    by_native = _most_common(compared.native).splitlines()
    lines += [f"  Python: {line}" for line in by_python if line not in by_native]
    lines += [f"  native: {line}" for line in by_native if line not in by_python]
    counts = [sorted(each.values(), reverse=True) for each in (compared.python, compared.native)]
    return "\n".join([*lines, f"  trials of each shape: Python {counts[0]}, native {counts[1]}"])
