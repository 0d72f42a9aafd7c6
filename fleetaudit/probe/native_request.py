r"""The request of the native probe: from a host's plan to lines of text. Pure.

Rules: no I/O but reading the probe's own sources from the package. A request that was cut off does
not run, because its last line says how long it is.

The words of a line are separated by tabs, so a word may contain blanks and no control characters:

    fleetaudit-request/1
    fleetaudit  1.0
    digest      0d5f…
    isolation   auto
    sysctl      net.ipv4.tcp_*
    watch       60.0    no peers
    scenario    unread-close    3       ipv4    ipv6
    expect      RST
    step        peer    send    5
    step        closer  close
    deadline    57.3
    nonce       5f0c…
    end 00001234

The number in the last line is that of the bytes of the whole request. What differs between hosts
with an equal plan comes last: so what stands before it is made, and compressed, once.

The call contains a digest of itself and of the probe's sources, and the reply repeats it, as the
nonce: see `request.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from fleetaudit import __version__
from fleetaudit.model import HostPlan, Scenario

from .native_program import sources_digest
from .plan_cache import PlanCache
from .request import request_call, trials_of

FIRST_LINE = "fleetaudit-request/1"
_END = "end {:08d}\n"


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """The request of one attempt at a host, in two parts: `shared`, the same object for all hosts
    with an equal plan, and `own`, which follows it.
    """

    shared: bytes
    own: bytes

    def __bytes__(self) -> bytes:
        return self.shared + self.own


@dataclass(frozen=True, slots=True)
class _Call:
    """What hosts with an equal plan share."""

    digest: str
    text: bytes


def native_request(plan: HostPlan, *, deadline_s: float, nonce: str = "") -> NativeRequest:
    """Returns the request of a host.

    `deadline_s` is when the probe's own alarm rings, in seconds; it is sent with one decimal.
    Without a nonce its reply is recorded. Raises `ValueError` if a word contains a control
    character, which no playbook lets through.
    """
    shared = _call_of(plan).text
    lines = _lines([("deadline", round(float(deadline_s), 1)), ("nonce", nonce)])
    length = len(shared) + len(lines) + len(_END.format(0))
    return NativeRequest(shared, lines + _END.format(length).encode("ascii"))


def native_digest(plan: HostPlan) -> str:
    """Returns the digest of a host's call to the native probe: 32 hexadecimal digits.

    As that of `request_digest` it says nothing of names, groups, expectations and the deadline.
    """
    return _call_of(plan).digest


def _make_call(plan: HostPlan) -> _Call:
    """Returns the call of a plan."""
    asked = sources_digest() + repr(request_call(plan))
    digest = hashlib.sha256(asked.encode("utf-8")).hexdigest()[:32]
    lines: list[tuple[object, ...]] = [
        (FIRST_LINE,),
        ("fleetaudit", __version__),
        ("digest", digest),
        ("isolation", plan.isolation),
        *(("sysctl", pattern) for pattern in plan.sysctls_collect),
    ]
    if plan.watch:
        lines.append(("watch", plan.watch.seconds, "peers" if plan.watch.peers else "no peers"))
    for scenario in plan.scenarios:
        lines += _scenario_lines(scenario, trials_of(plan, scenario))
    return _Call(digest, _lines(lines))


_call_of = PlanCache(_make_call)


def _scenario_lines(scenario: Scenario, trials: int) -> list[tuple[object, ...]]:
    """Returns the lines of a scenario."""
    return [
        ("scenario", scenario.name, trials, *scenario.families),
        *(("expect", ending) for ending in scenario.expect),
        *(("step", *step.call) for step in scenario.steps),
    ]


def _lines(lines: Iterable[tuple[object, ...]]) -> bytes:
    """Returns lines, their words separated by tabs; raises `ValueError`, see `native_request`."""
    return b"".join(map(_line, lines))


def _line(words: tuple[object, ...]) -> bytes:
    """Returns one line."""
    texts = [*map(str, words)]
    for text in texts:
        if not text.isascii() or not (text.isprintable() or not text):
            raise ValueError(f"a request has no room for {text!r}")
    return ("\t".join(texts) + "\n").encode("ascii")
