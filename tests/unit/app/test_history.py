"""The jobs of an output folder: which runs count, and which are read from where."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.app.history import list_jobs, read_histories, read_history
from fleetaudit.errors import NothingToDoError, UsageError
from fleetaudit.model import AuditRun, HostResult
from fleetaudit.store.jobs import job_name
from fleetaudit.store.latest import point_latest
from fleetaudit.store.names import OUTLINE_FILE, STORE_FILE
from fleetaudit.store.outline import encode_outline
from fleetaudit.store.retention import RetentionPolicy, prune
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_folder import create_run_folder
from tests.support.nights import FIRST
from tests.support.runs import K612, Fleet, by_name, missing, observe, run_of
from tests.support.stored_runs import as_killed, with_export_only

FLEET = Fleet()
FIN = [observe(by_name("unread-close"), "ipv4", "FIN")]


def add(
    output: Path, night: int, *, inventory: str = "fleet.yml", limit: str | None = None
) -> AuditRun:
    """Adds the run of a night, with a finding in every second night; returns it."""
    started = FIRST + timedelta(days=night)
    hosts: list[HostResult] = [
        FLEET.host("web1", K612, instead=FIN if night % 2 else ()),
        FLEET.host("web2", K612),
    ]
    run = run_of(hosts)
    info = replace(
        run.run,
        id=f"{started:%Y-%m-%dT%H%M%SZ}",
        started=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        inventory=(inventory,),
        limit=limit,
        sequence=night + 1,
    )
    run = replace(run, run=info)
    with create_run_folder(output, started, b"{}") as folder:
        folder.write(OUTLINE_FILE, encode_outline(outline_of(run)))
        folder.finish(run)
    return run


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the runs that are read from their store, as they are read."""
    names = list[str]()

    def noting(path: Path) -> AuditRun:
        names.append(path.name)
        return read_run(path)

    monkeypatch.setattr("fleetaudit.app.history.read_run", noting)
    return names


def test_runs_are_in_the_order_in_which_they_finished_and_no_store_is_read(
    tmp_path: Path, reads: list[str]
) -> None:
    runs = [add(tmp_path, night) for night in range(4)]
    found = read_history(tmp_path)
    assert [run.id for run in found.runs] == [run.run.id for run in runs]
    assert found.job == job_name(runs[0].run)
    assert found.description == "fleet.yml -p playbooks/unread-close.yml"
    assert [len(run.opened) for run in found.runs] == [0, 1, 0, 1]
    assert reads == []


@pytest.mark.parametrize("damage", ["missing", "cut", "of another run", "dangling", "unreadable"])
def test_a_run_whose_outline_cannot_be_used_is_read_from_its_store(
    damage: str, tmp_path: Path, reads: list[str]
) -> None:
    runs = [add(tmp_path, night) for night in range(3)]
    expected = read_history(tmp_path)
    file = tmp_path / runs[1].run.id / OUTLINE_FILE
    data = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[:300])
    elif damage == "of another run":
        file.write_bytes((tmp_path / runs[0].run.id / OUTLINE_FILE).read_bytes())
    elif damage == "dangling":
        file.symlink_to("nothing")
    elif damage == "unreadable":
        file.mkdir()
    assert read_history(tmp_path) == expected
    assert reads == [runs[1].run.id]


def test_a_run_of_an_earlier_version_has_only_its_run_json(
    tmp_path: Path, reads: list[str]
) -> None:
    runs = [add(tmp_path, night) for night in range(3)]
    expected = read_history(tmp_path)
    folder = tmp_path / runs[0].run.id
    with_export_only(folder)
    (folder / OUTLINE_FILE).unlink()
    assert read_history(tmp_path) == expected
    assert reads == [runs[0].run.id]


def test_a_killed_run_is_left_out_until_it_is_finished(tmp_path: Path) -> None:
    runs = [add(tmp_path, night) for night in range(3)]
    as_killed(tmp_path / runs[2].run.id, 1)
    assert [run.id for run in read_history(tmp_path).runs] == [run.run.id for run in runs[:2]]


def test_so_is_an_interrupted_one(tmp_path: Path) -> None:
    add(tmp_path, 0)
    started = FIRST + timedelta(days=1)
    run = run_of([missing("web1", "interrupted", "interrupted", "")])
    info = replace(run.run, id=f"{started:%Y-%m-%dT%H%M%SZ}", inventory=("fleet.yml",), sequence=0)
    with create_run_folder(tmp_path, started, b"{}") as folder:
        folder.finish(replace(run, run=info))
    assert len(read_history(tmp_path).runs) == 1


def test_a_run_that_cannot_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    runs = [add(tmp_path, night) for night in range(3)]
    head = tmp_path / runs[0].run.id / STORE_FILE
    head.write_bytes(b"not a store\n")
    body = tmp_path / runs[1].run.id
    (body / OUTLINE_FILE).unlink()
    store = (body / STORE_FILE).read_bytes()
    (body / STORE_FILE).write_bytes(store[: len(store) // 2])
    found = read_history(tmp_path)
    assert [run.id for run in found.runs] == [runs[2].run.id]
    assert [row.id for row in found.unreadable] == [runs[0].run.id, runs[1].run.id]
    assert all(row.reason for row in found.unreadable)


def test_a_job_of_which_no_run_can_be_read_says_why(tmp_path: Path) -> None:
    run = add(tmp_path, 0)
    folder = tmp_path / run.run.id
    (folder / OUTLINE_FILE).unlink()
    store = (folder / STORE_FILE).read_bytes()
    (folder / STORE_FILE).write_bytes(store[: len(store) // 2])
    with pytest.raises(NothingToDoError, match=f"no run of this job can be read:\n  {run.run.id}"):
        read_history(tmp_path)
    assert read_histories(tmp_path) == ()


def test_a_removed_run_is_gone_with_its_outline(tmp_path: Path) -> None:
    runs = [add(tmp_path, night) for night in range(4)]
    now = datetime.fromisoformat(runs[-1].run.started) + timedelta(hours=1)
    done = prune(tmp_path, RetentionPolicy(days=2), now=now, files=())
    assert done.removed == (runs[0].run.id, runs[1].run.id)
    assert not (tmp_path / runs[0].run.id).exists()
    assert [run.id for run in read_history(tmp_path).runs] == [run.run.id for run in runs[2:]]


def test_the_job_of_latest_comes_first_and_is_the_default(tmp_path: Path) -> None:
    web = add(tmp_path, 0, limit="web")
    whole = add(tmp_path, 1)
    db = add(tmp_path, 2, inventory="db.yml")
    names = [job_name(run.run) for run in (web, whole, db)]
    assert list_jobs(tmp_path) == (names[2], names[1], names[0])
    point_latest(tmp_path, whole.run.id)
    assert list_jobs(tmp_path) == (names[1], names[2], names[0])
    assert read_history(tmp_path).job == names[1]
    assert [found.job for found in read_histories(tmp_path)] == [names[1], names[2], names[0]]


def test_a_job_is_named_whole_or_without_its_digits(tmp_path: Path) -> None:
    add(tmp_path, 1)
    db = add(tmp_path, 2, inventory="db.yml")
    assert read_history(tmp_path, "db").job == job_name(db.run)
    assert read_history(tmp_path, job_name(db.run)).job == job_name(db.run)


def test_two_jobs_of_one_name_are_named_in_the_error(tmp_path: Path) -> None:
    both = [add(tmp_path, 0), add(tmp_path, 1, limit="web")]
    with pytest.raises(UsageError, match="several jobs are named fleet") as found:
        read_history(tmp_path, "fleet")
    assert all(job_name(run.run) in str(found.value) for run in both)


def test_no_such_job_names_those_that_there_are(tmp_path: Path) -> None:
    run = add(tmp_path, 0)
    with pytest.raises(NothingToDoError, match=f"no job night; its jobs: {job_name(run.run)}"):
        read_history(tmp_path, "night")


def test_no_folder_and_no_run_are_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="no such folder"):
        read_history(tmp_path / "none")
    with pytest.raises(NothingToDoError, match="no finished run"):
        read_history(tmp_path)
    assert read_histories(tmp_path) == ()


def test_a_folder_that_is_no_run_is_passed_over(tmp_path: Path) -> None:
    add(tmp_path, 0)
    (tmp_path / "2026-01-01T000000Z").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "2026-01-02T000000Z").symlink_to(tmp_path / "notes")
    found = read_history(tmp_path)
    assert len(found.runs) == 1
    assert found.unreadable == ()
