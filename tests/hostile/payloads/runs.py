"""Runs whose every text is a payload: those of hosts, of the way to them, of inventories and of
playbooks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from fleetaudit.analysis.causes import is_command
from fleetaudit.model import (
    Audited,
    AuditRun,
    Drift,
    Finding,
    HostResult,
    NotAudited,
    NotSelected,
    Observation,
    RunInfo,
    ScenarioRow,
)
from tests.support.runs import SCENARIOS, run_of

from .corpus import Payload, payloads
from .fields import Filler, Placed, tags

TIMES = {
    "id": "2026-11-22T020000Z",
    "started": "2026-11-22T02:00:00Z",
    "finished": "2026-11-22T02:03:41Z",
    "baseline": None,
}
"""What a run says of itself, which the reader checks and no host has a part in."""
SHORT = 20
OPTIONS = ("observations.evidence.wire.options", "services.checks.wire.options")
"""Words that a drawing shows apart, so that a payload there has no blank."""
SPLIT = ("sysctls.value", "sysctls.default", "sysctls.used", "sysctls")
"""Texts that are compared and shown with one blank between their words."""


@dataclass
class Made:
    """A run, and where each payload is in it, by tag."""

    run: AuditRun
    placed: dict[str, Placed] = field(default_factory=dict)


@dataclass
class _Payloads:
    """Hands out the payloads one after the other, each with a tag of its own."""

    source: Iterator[Payload]
    tags: Iterator[str] = field(default_factory=tags)
    placed: dict[str, Placed] = field(default_factory=dict)
    change: Callable[[str, str], str] = lambda _path, payload: payload

    def take(self, path: str, most: int) -> str:
        """Returns the text of one field, cut to its bound, with its tag last.

        Without a tag in a field that is too short for one, such as the flags of a segment.
        """
        kind, text = next(self.source)
        if most < SHORT:
            return text[:most]
        if path in SPLIT:
            text = " ".join(text.split())
        if path in OPTIONS:
            text = "".join(text.split())
        if path == "findings.fix":
            text = f"/{text}"  # a command: a page shows only the first remedies, in their order
        tag = next(self.tags)
        text = self.change(path, text)[: most - len(tag)]
        self.placed[tag] = placed = Placed(path, kind, text, tag)
        return placed.text


def make_run(
    first: int = 0,
    hosts: int = 60,
    *,
    kinds: Sequence[Payload] | None = None,
    change: Callable[[str, str], str] = lambda _path, payload: payload,
) -> Made:
    """Returns a run of `hosts` hosts, and as many that were not audited.

    `first` is the payload to begin with, so that runs with different ones place each payload in
    other fields. `change` makes a text of each payload, given the path of its field.
    """
    chosen = kinds or payloads()
    source = itertools.cycle([*chosen[first % len(chosen) :], *chosen[: first % len(chosen)]])
    texts = _Payloads(source, change=change)
    filler = Filler(texts.take)
    results = list(_hosts(texts, hosts))
    run = replace(
        run_of(results),
        run=Filler(texts.take, TIMES).make(RunInfo),
        drift=_drift(texts, results),
        locations={},
    )
    return Made(replace(run, scenarios=(*run.scenarios, *_rows(filler, run))), texts.placed)


def _rows(filler: Filler, run: AuditRun) -> Iterator[ScenarioRow]:
    """Yields a scenario of payloads for each name of one that a host reported besides."""
    known = {row.name for row in run.scenarios}
    observed = {o.scenario for host in run.audited for o in host.observations}
    for name in sorted(observed - known):
        yield replace(filler.make(ScenarioRow, "scenarios"), name=name, control=None)


def _hosts(texts: _Payloads, count: int) -> Iterator[HostResult]:
    """Yields hosts whose every text is a payload.

    Most observations are of a scenario that all hosts run, so that they are compared.
    """
    names = [row.name for row in SCENARIOS]
    for number in range(count):
        known = {"observations.scenario": names[number % len(names)]} if number % 20 else {}
        filler = Filler(texts.take, {"location": None, "elapsed_s": 1.5, **known})
        host: Audited = filler.make(Audited)
        yield replace(
            host,
            void=host.void if number % 5 == 0 else "",
            observations=tuple(_observations(host.observations)),
            findings=tuple(_findings(host.findings)),
        )
        missing: NotAudited = filler.make(NotAudited)
        yield replace(missing, findings=tuple(_findings(missing.findings)))
        if number % 4 == 0:
            yield filler.make(NotSelected)


def _observations(observations: Iterable[Observation]) -> Iterator[Observation]:
    """Yields observations, each of another family, as a host has each of them once."""
    for family, observation in zip(("ipv4", "ipv6"), observations, strict=True):
        yield replace(observation, family=family)


def _findings(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yields findings about sysctls, the first one waived."""
    for number, finding in enumerate(findings):
        waived = None if number else finding.waived
        yield replace(finding, id=f"sysctl:{finding.id}", waived=waived)


def _drift(texts: _Payloads, hosts: Sequence[HostResult]) -> Drift:
    """Returns changes of some of the hosts."""
    filler = Filler(
        texts.take, {"refused": "", "since": TIMES["started"], "until": TIMES["started"]}
    )
    drift: Drift = filler.make(Drift)
    more = [change for _ in hosts[:30] for change in filler.make(Drift).changes]
    changes = tuple(
        replace(change, host=host.name, what=f"sysctl:{change.what}")
        for change, host in zip(more, itertools.cycle(hosts), strict=False)
    )
    return replace(drift, changes=changes)


def harmless(path: str, payload: str) -> str:
    """Returns a text that attacks nothing, and is a command if the payload is one."""
    return "/bin/x" if is_command(f"{payload}~") else "x"
