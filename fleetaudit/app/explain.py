"""Explains the verdicts of one host: a line each, or all the evidence of one scenario."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from fleetaudit.errors import NothingToDoError
from fleetaudit.model import Audited, AuditRun, HostResult, Observation
from fleetaudit.report import pcap
from fleetaudit.report.explain import host_text, verdict_text
from fleetaudit.store.disk import write_atomically
from fleetaudit.store.run_file import read_host_names, read_hosts
from fleetaudit.text.phrases import and_more

MOST_NAMES = 8
"""How many hosts are named if none is similar to the one that was typed."""


def explain_host(
    run_path: Path, host_name: str, scenario: str | None, *, width: int, pcap_file: Path | None
) -> str:
    """Returns the text about a host, or about one scenario on it (NAME or NAME/FAMILY).

    The packets are written into `pcap_file`, but not if anything is wrong. `width` is the width of
    the text in columns. Raises `NothingToDoError`, with similar names, for a host or a scenario
    that the run does not have, and for packets of a host that was not audited; `InputError` for
    what is not a run; `OutputError` if `pcap_file` cannot be written.
    """
    run = read_hosts(run_path, (host_name,))
    host = _find_host(run, host_name, run_path)
    if not isinstance(host, Audited):
        if pcap_file:
            raise NothingToDoError(
                f"{run_path}: {host_name} was not audited, so there are no packets for --pcap"
            )
        return host_text(run, host, width=width)
    if scenario is None:
        text = host_text(run, host, width=width)
    else:
        observations = _find_observations(run, host, scenario, run_path)
        text = "\n".join(verdict_text(run, host, o, width=width) for o in observations)
    if pcap_file:
        write_atomically(pcap_file, pcap.render(host, scenario or "", run.scenarios))
    return text


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
