"""Explains the verdicts of one host: a line each, or all the evidence of one scenario."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from fleetaudit.analysis import explanation
from fleetaudit.errors import NothingToDoError
from fleetaudit.model import Audited, AuditRun, HostResult, Observation
from fleetaudit.report import pcap
from fleetaudit.report.explain import host_text, verdict_text
from fleetaudit.store.run_file import read_host_names, read_hosts
from fleetaudit.text.phrases import and_more

from .output_file import write_file

MOST_NAMES = 8
"""How many hosts are named if none is similar to the one that was typed."""


class _Subject(msgspec.Struct, frozen=True):
    """A host of a run, and those of its observations that a scenario names; None for all."""

    run: AuditRun
    host: HostResult
    scenario: str
    observations: Sequence[Observation] | None

    def text(self, width: int) -> str:
        """Returns the text about the host, or about each of the observations."""
        if self.observations is None or not isinstance(self.host, Audited):
            return host_text(self.run, self.host, width=width)
        return "\n".join(
            verdict_text(self.run, self.host, o, width=width) for o in self.observations
        )

    def write_packets(self, file: Path | None) -> None:
        """Writes the packets into `file`, if there is one; raises `OutputError`."""
        if file is not None and isinstance(self.host, Audited):
            write_file(file, [pcap.render(self.host, self.scenario, self.run.scenarios)])


def explain_host(
    run_path: Path, host_name: str, scenario: str | None, *, width: int, pcap_file: Path | None
) -> str:
    """Returns the text about a host, or about one scenario on it (NAME or NAME/FAMILY).

    The packets are written into `pcap_file`, but not if anything is wrong. `width` is the width of
    the text in columns. Raises `NothingToDoError`, with similar names, for a host or a scenario
    that the run does not have, and for packets of a host that was not audited; `InputError` for
    what is not a run; `OutputError` if `pcap_file` cannot be written.
    """
    subject = _find_subject(run_path, host_name, scenario, pcap_file)
    text = subject.text(width)
    subject.write_packets(pcap_file)
    return text


def explain_host_as_json(
    run_path: Path, host_name: str, scenario: str | None, *, pcap_file: Path | None
) -> bytes:
    """Returns what `explain_host` explains as JSON, format "fleetaudit-explain/1".

    The packets are written as `explain_host` writes them. Raises as it does.
    """
    subject = _find_subject(run_path, host_name, scenario, pcap_file)
    data = explanation.encode(explanation.explain(subject.run, subject.host, subject.observations))
    subject.write_packets(pcap_file)
    return data


def _find_subject(
    run_path: Path, host_name: str, scenario: str | None, pcap_file: Path | None
) -> _Subject:
    """Returns what to explain; raises as `explain_host`.

    A host that was not audited has no observations, whatever the scenario is.
    """
    run = read_hosts(run_path, (host_name,))
    host = _find_host(run, host_name, run_path)
    if scenario is not None and isinstance(host, Audited):
        observations = _find_observations(run, host, scenario, run_path)
        return _Subject(run, host, scenario, observations)
    if pcap_file and not isinstance(host, Audited):
        raise NothingToDoError(
            f"{run_path}: {host_name} was not audited, so there are no packets for --pcap"
        )
    return _Subject(run, host, "", None)


def _find_host(run: AuditRun, name: str, run_path: Path) -> HostResult:
    """Returns the result of a host; raises `NothingToDoError`.

    `run` has that host only, or none.
    """
    if run.hosts:
        return run.hosts[0]
    names = read_host_names(run_path)
    similar = _suggest(name, names) or f"; its hosts: {_some(names)}"
    raise NothingToDoError(f"{run_path}: no host “{name}” in this run{similar}")


def _find_observations(
    run: AuditRun, host: Audited, scenario: str, run_path: Path
) -> list[Observation]:
    """Returns the observations of a scenario on a host: of all families, or of one.

    `scenario` is NAME or NAME/FAMILY, such as "unread-close" or "unread-close/ipv6". The list has
    at least one observation. Raises `NothingToDoError`, with names that exist, if it would have
    none.
    """
    name, _, family = scenario.partition("/")
    of_scenario = [o for o in host.observations if o.scenario == name]
    if not of_scenario:
        raise NothingToDoError(f"{run_path}: {_why_not_observed(run, host, name)}")
    observations = [o for o in of_scenario if family in ("", o.family)]
    if observations:
        return observations
    families = ", ".join(o.family for o in of_scenario)
    raise NothingToDoError(
        f"{run_path}: “{name}” has no family “{family}” on {host.name}; it has: {families}"
    )


def _why_not_observed(run: AuditRun, host: Audited, name: str) -> str:
    """Returns why a host has no observation of a scenario.

    Either its plays do not run the scenario, or no host has a scenario of this name; then similar
    names are suggested.
    """
    names = {row.name for row in run.scenarios} | {o.scenario for o in host.observations}
    if name in names:
        return f"the playbook does not run “{name}” on {host.name}"
    similar = _suggest(name, sorted(names)) or "; to list them, leave out the scenario"
    return f"no scenario “{name}” in this run{similar}"


def _some(names: Collection[str]) -> str:
    """Returns the first names, and how many more there are; "none" without any."""
    first = ", ".join(islice(names, MOST_NAMES)) or "none"
    return first + and_more(len(names) - MOST_NAMES)


def _suggest(name: str, known: Iterable[str]) -> str:
    """Returns similar names as a question, "" if there are none."""
    similar = difflib.get_close_matches(name, list(known), 3)
    if not similar:
        return ""
    return f"; did you mean {' or '.join(similar)}?"
