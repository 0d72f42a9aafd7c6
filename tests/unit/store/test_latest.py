"""Which run `latest` points to, and which run is the last one, whatever the clock says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from msgspec.structs import replace

from fleetaudit.model import AuditRun, NotSelected, RunInfo
from fleetaudit.store import retention, run_file, run_list
from fleetaudit.store.jobs import takes_over_latest
from fleetaudit.store.latest import point_latest
from fleetaudit.store.run_file import INFO_BYTES, read_head, read_info
from fleetaudit.store.run_folder import create_run_folder
from fleetaudit.store.run_head import RunHead
from fleetaudit.store.run_search import run_names
from tests import SCHEMAS
from tests.support.runs import small_fleet
from tests.support.stored_runs import with_export_only

from .test_jobs import INFO

SCHEMA = SCHEMAS / "runs.schema.json"
OTHER = replace(INFO, playbooks=("ours.yml",))
THIRD = replace(INFO, inventory=("third.yml",))
PART = replace(INFO, limit="web")


def cron(info: RunInfo) -> RunInfo:
    return replace(info, scheduled=True)


# ---- which run takes it over: pure ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "held", "before", "takes"),
    [
        pytest.param(PART, None, None, True, id="there is none: any run"),
        pytest.param(
            replace(INFO, sequence=2),
            replace(INFO, sequence=1),
            INFO,
            True,
            id="the same job moves it on",
        ),
        pytest.param(
            replace(INFO, sequence=1), replace(INFO, sequence=2), INFO, False, id="never back"
        ),
        pytest.param(PART, INFO, None, False, id="a part does not take it from the whole"),
        pytest.param(OTHER, INFO, None, False, id="other playbooks do not take it"),
        pytest.param(INFO, PART, None, True, id="the whole takes it from a part"),
        pytest.param(
            replace(INFO, tags=("a",)), replace(INFO, skip_tags=("b",)), None, False, id="two parts"
        ),
        pytest.param(INFO, PART, INFO, False, id="only with the first run of its job"),
        pytest.param(cron(OTHER), INFO, None, True, id="cron takes it from a person"),
        pytest.param(
            cron(PART), INFO, None, True, id="cron takes it from a person, with a part as well"
        ),
        pytest.param(
            cron(OTHER), INFO, OTHER, True, id="when cron begins to run what a person had run"
        ),
        pytest.param(
            cron(OTHER),
            INFO,
            cron(OTHER),
            False,
            id="a person gave it to another job, and that stays so",
        ),
        pytest.param(
            cron(OTHER), cron(INFO), None, False, id="of two that cron runs the first keeps it"
        ),
        pytest.param(INFO, cron(PART), None, False, id="a person does not take it from cron"),
    ],
)
def test_latest_stays_with_its_job_unless_one_of_higher_rank_begins(
    run: RunInfo, held: RunInfo | None, before: RunInfo | None, takes: bool
) -> None:
    assert takes_over_latest(run, held, before) is takes


# ---- the list ------------------------------------------------------------------------------------


def stored(output: Path, moment: datetime, run: AuditRun | None = None, **changes: object) -> str:
    """Keeps a run in `output`, as it is after it has finished; returns its name."""
    run = run or small_fleet()
    with create_run_folder(output, moment, b"{}") as folder:
        whole = replace(run, run=replace(INFO, id=folder.id, **changes))
        for host in whole.hosts[:1]:
            folder.append(host)
        folder.finish(whole)
    return folder.id


NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)


def test_the_list_has_every_run_with_job_hosts_and_result_and_satisfies_its_schema(
    tmp_path: Path,
) -> None:
    output = tmp_path / "reports"
    fleet = small_fleet()
    fleet = replace(fleet, hosts=(*fleet.hosts, NotSelected(name="x")))
    later = stored(output, NOW, fleet, sequence=1, status=6)
    last = stored(output, NOW - timedelta(days=1), sequence=2, scheduled=True, limit="web")
    point_latest(output, later)
    found = run_list.list_runs(output, tmp_path)
    assert [(run.id, run.latest) for run in found.runs] == [(last, False), (later, True)]
    run = found.runs[1]
    hosts = run.hosts
    assert (hosts.selected, hosts.audited, hosts.not_audited, hosts.not_selected) == (28, 18, 9, 1)
    assert run.status == 6
    open_ = [f for host in fleet.hosts for f in host.findings if f.waived is None]
    assert run.findings.error == sum(f.severity == "error" for f in open_)
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    validator.validate(json.loads(run_list.encode(found)))


def test_the_published_schema_of_the_list_is_current() -> None:
    assert SCHEMA.read_bytes() == run_list.json_schema()


def test_the_information_is_read_from_the_beginning_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = stored(tmp_path, NOW, sequence=7, notes=("\N{SNOWMAN}" * 10,))
    assert read_info(tmp_path / name).sequence == 7
    with_export_only(tmp_path / name)
    monkeypatch.setattr(run_file, "read_head", None)
    monkeypatch.setattr(run_file, "INFO_BYTES", 1000)
    found = read_info(tmp_path / name)
    assert (found.id, found.sequence, found.notes) == (name, 7, ("\N{SNOWMAN}" * 10,))


def test_information_that_is_longer_than_the_first_read_is_read_from_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = stored(tmp_path, NOW, sequence=7, notes=("x" * INFO_BYTES,))
    assert read_info(tmp_path / name).sequence == 7
    with_export_only(tmp_path / name)
    whole = list[Path]()

    def noted(path: Path) -> RunHead:
        whole.append(path)
        return read_head(path)

    monkeypatch.setattr(run_file, "read_head", noted)
    assert read_info(tmp_path / name).sequence == 7
    assert len(whole) == 1  # so the first read was bounded


# ---- what is never removed -----------------------------------------------------------------------


def days_ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


def pruned(output: Path, keep: retention.RetentionPolicy) -> set[str]:
    return set(retention.prune(output, keep, now=NOW, files=()).removed)


@pytest.mark.parametrize(
    "keep", [retention.RetentionPolicy(days=30), retention.RetentionPolicy(runs=1)]
)
def test_the_last_run_of_the_job_of_latest_and_of_scheduled_jobs_stays(
    tmp_path: Path, keep: retention.RetentionPolicy
) -> None:
    baseline = stored(tmp_path, days_ago(99), sequence=1)
    old = stored(tmp_path, days_ago(98), sequence=2)
    pinned = stored(tmp_path, days_ago(97), sequence=3)
    last = stored(tmp_path, days_ago(96), sequence=4, baseline=baseline)
    trial = stored(tmp_path, days_ago(95), sequence=5, limit="web")
    first_weekly = stored(tmp_path, days_ago(94), sequence=6, shard="1/2", scheduled=True)
    weekly = stored(tmp_path, days_ago(93), sequence=7, shard="1/2", scheduled=True)
    newest = stored(tmp_path, days_ago(1), sequence=8, limit="db")
    point_latest(tmp_path, pinned)
    assert pruned(tmp_path, keep) == {old, trial, first_weekly}
    assert set(run_names(tmp_path)) == {baseline, pinned, last, weekly, newest}


def test_the_newest_runs_are_those_that_finished_last(tmp_path: Path) -> None:
    wrong = stored(tmp_path, datetime(2036, 1, 1, tzinfo=UTC), sequence=1)
    names = [stored(tmp_path, days_ago(10 - n), sequence=2 + n) for n in range(3)]
    point_latest(tmp_path, names[-1])
    assert pruned(tmp_path, retention.RetentionPolicy(runs=2)) == {wrong, names[0]}


def test_a_run_of_the_future_is_as_old_as_the_one_that_finished_after_it(tmp_path: Path) -> None:
    wrong = [stored(tmp_path, datetime(2036, 1, n, tzinfo=UTC), sequence=n) for n in (1, 2)]
    old = stored(tmp_path, days_ago(60), sequence=3)
    no_battery = stored(tmp_path, datetime(1970, 1, 1, tzinfo=UTC), sequence=4)
    young = stored(tmp_path, days_ago(2), sequence=5)
    future = stored(tmp_path, datetime(2037, 1, 1, tzinfo=UTC), sequence=6)
    point_latest(tmp_path, future)
    assert pruned(tmp_path, retention.RetentionPolicy(days=30)) == {*wrong, old, no_battery}
    assert set(run_names(tmp_path)) == {young, future}
