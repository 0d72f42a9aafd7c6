"""A host whose result cannot be compared or reported is left out, and nothing of the others is lost
with it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.app import run_output
from fleetaudit.app.run_output import WrittenRun, leave_out_failing_hosts, write_run
from fleetaudit.errors import OutputError
from fleetaudit.model import (
    Audited,
    AuditRun,
    HostResult,
    NotAudited,
)
from fleetaudit.report import registry
from fleetaudit.store.deduplication import EvidenceDeduplicator
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_folder import create_run_folder
from fleetaudit.store.run_search import run_names
from tests.support.runs import (
    K612,
    Fleet,
    exposure_of,
    run_of,
)

FORMATS = ("html", "junit", "csv", "sarif", "prometheus", "text", "pcap")


def fleet_of(count: int) -> list[HostResult]:
    """Returns hosts of one kernel that were seen to do the same, so that the first has the evidence
    of all.
    """
    fleet, deduplicator = Fleet(), EvidenceDeduplicator()
    return [
        deduplicator.deduplicate(fleet.host(f"web{n}", K612, exposure=exposure_of(10, 10_000)))
        for n in range(count)
    ]


def poisoned(host: HostResult) -> Audited:
    """Returns a host with a number that no decoder lets in: it stands for a bug of ours."""
    assert isinstance(host, Audited)
    assert host.exposure is not None
    counters = {**host.exposure.counters, "TCPAbortOnClose": 10**400}
    return msgspec.structs.replace(
        host, exposure=msgspec.structs.replace(host.exposure, counters=counters)
    )


def written(folder: Path, run: AuditRun, **how: Any) -> WrittenRun:
    with create_run_folder(folder, datetime(2026, 1, 1, tzinfo=UTC)) as run_folder:
        return write_run(run_folder, run, formats=FORMATS, **how)


@pytest.mark.parametrize("bad", [(0,), (7,), (0, 1, 12)])
def test_hosts_that_cannot_be_compared_are_left_out_and_the_others_are_reported(
    tmp_path: Path, bad: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    hosts = fleet_of(13)
    for n in bad:
        hosts[n] = poisoned(hosts[n])
    done = written(tmp_path, run_of(hosts))
    assert done.bugs == len(bad)
    read = read_run(done.reports[0].parent)
    assert [n for n, host in enumerate(read.hosts) if isinstance(host, NotAudited)] == list(bad)
    for n in bad:
        left_out = read.hosts[n]
        assert isinstance(left_out, NotAudited)
        assert (left_out.stage, left_out.kind) == ("report", "bug in fleetaudit")
        assert "OverflowError" in left_out.reason
        assert f"met at host web{n}" in caplog.text
    # Also the packets: what was kept once for all was perhaps that host's.
    others = [host for host in read.hosts if isinstance(host, Audited)]
    assert all(
        o.evidence.wire
        for host in others
        for o in host.observations
        if o.family != "unix" and o.trials
    )
    assert {report.name for report in done.reports} == {
        registry.FILES[f] for f in FORMATS if f in registry.FILES
    }
    assert len(list((done.reports[0].parent / "traces").iterdir())) >= len(others)


def test_a_host_that_fails_only_together_with_others_is_found() -> None:
    hosts = fleet_of(9)

    def fails_together(some: tuple[HostResult, ...]) -> list[str]:
        names = [host.name for host in some if isinstance(host, Audited)]
        if {"web2", "web6"} <= set(names):
            raise ValueError("two of a kind")
        return names

    made, bugs = leave_out_failing_hosts(hosts, fails_together, fails_together)
    assert (bugs, made) == (1, [f"web{n}" for n in range(9) if n != 6])


@pytest.mark.parametrize(
    ("count", "formats", "has_export"),
    [(3, ("csv",), True), (4, ("csv",), False), (4, ("csv", "json"), True), (4, ("pcap",), False)],
)
def test_a_large_run_has_a_run_json_only_where_it_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    formats: tuple[str, ...],
    has_export: bool,
) -> None:
    monkeypatch.setattr(run_output, "MAX_EXPORTED", 3)
    with create_run_folder(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)) as folder:
        done = write_run(folder, run_of(fleet_of(count)), formats=formats)
    export = folder.path / "run.json"
    assert export.exists() == has_export
    assert done.reports[0].name == ("report.csv" if "csv" in formats else "store.jsonl")
    if has_export:
        assert read_run(export) == read_run(folder.path)


def test_a_run_json_that_is_there_is_kept_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_output, "MAX_EXPORTED", 3)
    with create_run_folder(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)) as folder:
        folder.write("run.json", b"old")
        write_run(folder, run_of(fleet_of(4)), formats=("csv",))
    assert len(read_run(folder.path / "run.json").hosts) == 4


def test_an_error_of_the_disk_leaves_out_no_host() -> None:
    def full(some: tuple[HostResult, ...]) -> None:
        raise OutputError("no space left")

    with pytest.raises(OutputError):
        leave_out_failing_hosts(fleet_of(3), full, full)


def breaks(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Callable[..., Any]:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(module, name, broken)
    return broken


def test_a_bug_that_no_host_causes_is_raised_after_everything_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fleetaudit.report import junit

    breaks(monkeypatch, junit, "render_in_chunks")
    with pytest.raises(KeyError):
        written(tmp_path, run_of(fleet_of(5)))
    (folder,) = run_names(tmp_path)
    assert len(read_run(tmp_path / folder).hosts) == 5
    names = {path.name for path in (tmp_path / folder).iterdir()}
    assert {"report.html", "report.csv", "report.sarif", "metrics.prom", "report.txt"} <= names


def test_a_run_that_cannot_be_compared_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, run_output, "compare")
    with pytest.raises(KeyError):
        written(tmp_path, run_of(fleet_of(5)))
    (folder,) = run_names(tmp_path)
    assert len(read_run(tmp_path / folder).hosts) == 5


def test_a_run_that_cannot_be_finished_is_kept_as_it_is(tmp_path: Path) -> None:
    def broken(run: AuditRun) -> AuditRun:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        written(tmp_path, run_of(fleet_of(5)), finish=broken)
    (folder,) = run_names(tmp_path)
    assert len(read_run(tmp_path / folder).hosts) == 5


def test_a_bug_that_too_many_hosts_cause_leaves_out_no_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_output, "MAX_FAILING", 5)
    monkeypatch.setattr(logging.getLogger("fleetaudit.app.run_output"), "disabled", True)
    tried = list[int]()

    def fails(some: tuple[HostResult, ...]) -> None:
        tried.append(len(some))
        if some:
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        leave_out_failing_hosts(fleet_of(64), fails, fails)
    assert len(tried) < 40


def test_reports_of_a_run_with_such_a_host_name_it(tmp_path: Path) -> None:
    hosts = fleet_of(4)
    hosts[2] = poisoned(hosts[2])
    done = written(tmp_path, run_of(hosts))
    folder = done.reports[0].parent
    for name in ("report.html", "junit.xml", "report.csv", "report.sarif", "report.txt"):
        assert "cannot be reported (OverflowError)" in (folder / name).read_text(), name
    (host,) = (
        h for h in json.loads((folder / "run.json").read_bytes())["hosts"] if h["name"] == "web2"
    )
    assert (host["status"], host["stage"]) == ("not audited", "report")
