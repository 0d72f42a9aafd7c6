"""A run folder on real disks: whole files, one writer, and only checked content."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import msgspec
import pytest

from fleetaudit.errors import InputError, NothingToDoError, OutputError
from fleetaudit.model import (
    Audited,
    AuditRun,
    Evidence,
    Kernel,
    NotAudited,
    Observation,
    RunInfo,
)
from fleetaudit.store import run_file
from fleetaudit.store.disk import remove_dead_parts, write_atomically
from fleetaudit.store.journal import read_journal
from fleetaudit.store.latest import point_latest
from fleetaudit.store.lock import hold_lock
from fleetaudit.store.retention import remove_leftovers_in
from fleetaudit.store.run_file import encode_run, read_info, read_run
from fleetaudit.store.run_folder import (
    count_results,
    create_hidden_run_folder,
    create_run_folder,
    read_plan,
    read_results,
    reopen_run_folder,
)
from fleetaudit.store.run_search import find_runs
from fleetaudit.store.store_file import encode_store
from tests.support.stored_runs import host_lines, replace_line

STARTED = datetime(2026, 1, 31, 2, 0, 0, tzinfo=UTC)


def audited(name: str) -> Audited:
    return Audited(
        name=name,
        kernel=Kernel(release="6.12", version="#1", machine="x86_64"),
        isolation="namespace",
    )


def a_run(*names: str) -> AuditRun:
    return AuditRun(
        run=RunInfo(
            id="2026-01-31T020000Z",
            started="2026-01-31T02:00:00Z",
            finished="2026-01-31T02:01:00Z",
            fleetaudit="0.1.0",
            playbooks=(),
            controller="",
        ),
        scenarios=(),
        hosts=tuple(audited(name) for name in names),
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- writing -------------------------------------------------------------------------------------


def test_a_run_that_is_written_is_read_unchanged(tmp_path: Path) -> None:
    with create_run_folder(tmp_path / "reports", STARTED) as folder:
        folder.append(audited("a"))
        folder.append(NotAudited(name="b", stage="connect", reason="refused", hint="ssh b"))
        assert [host.name for host in read_journal(folder.path / "hosts.jsonl")] == ["a", "b"]
        folder.finish(a_run("a", "b"))
        point_latest(folder.output, folder.id)
    assert folder.path == tmp_path / "reports/2026-01-31T020000Z"
    assert read_run(folder.path) == a_run("a", "b")
    assert read_run(tmp_path / "reports/latest") == a_run("a", "b")
    assert read_run(folder.path / "store.jsonl") == a_run("a", "b")
    assert {path.name for path in folder.path.iterdir()} == {"store.jsonl"}
    folder.write("run.json", encode_run(a_run("a", "b")))
    assert read_run(folder.path / "run.json") == a_run("a", "b")


def test_folders_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with (
            hold_lock(tmp_path / "reports"),
            create_run_folder(tmp_path / "reports", STARTED) as folder,
        ):
            folder.append(audited("a"))
            assert mode(folder.path / "hosts.jsonl") == 0o600
            folder.finish(a_run("a"))
            folder.write("run.json", encode_run(a_run("a")))
            folder.write("report.html", b"<html>")
    finally:
        os.umask(before)
    assert mode(tmp_path / "reports") == mode(folder.path) == 0o700
    assert {path.name: mode(path) for path in folder.path.iterdir()} == {
        "store.jsonl": 0o600,
        "run.json": 0o600,
        "report.html": 0o600,
    }
    assert mode(tmp_path / "reports/lock") == 0o600


def test_a_second_run_of_the_same_second_gets_a_suffix(tmp_path: Path) -> None:
    names = list[str]()
    for _ in range(3):
        with create_run_folder(tmp_path, STARTED) as folder:
            names.append(folder.id)
    assert names == ["2026-01-31T020000Z", "2026-01-31T020000Z-2", "2026-01-31T020000Z-3"]


def test_latest_moves_to_the_run_that_finished_last(tmp_path: Path) -> None:
    for _ in range(2):
        with create_run_folder(tmp_path, STARTED) as folder:
            folder.finish(a_run())
            point_latest(folder.output, folder.id)
    with create_run_folder(tmp_path, STARTED):
        pass  # begun, never finished
    assert (tmp_path / "latest").readlink() == Path("2026-01-31T020000Z-2")


def test_a_run_folder_appears_with_its_plan_or_not_at_all(tmp_path: Path) -> None:
    with create_run_folder(tmp_path / "reports", STARTED, b"{}") as folder:
        folder.append(audited("a"))
    assert {path.name for path in folder.path.iterdir()} == {"plan.json", "hosts.jsonl"}
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [folder.id]
    assert mode(folder.path / "plan.json") == 0o600
    assert read_plan(folder.path) == b"{}"


def test_a_foreign_empty_folder_is_not_used_for_a_new_run(tmp_path: Path) -> None:
    (tmp_path / "2026-01-31T020000Z").mkdir()
    with create_run_folder(tmp_path, STARTED) as folder:
        assert folder.id == "2026-01-31T020000Z-2"


@pytest.mark.parametrize("cut", [0, 1, 150])
def test_a_resumed_journal_loses_only_a_line_that_was_cut(tmp_path: Path, cut: int) -> None:
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        for name in ("a", "b" * 100_000, "c"):
            folder.append(audited(name))
    journal = folder.path / "hosts.jsonl"
    os.truncate(journal, journal.stat().st_size - cut)
    with reopen_run_folder(folder.path) as again:
        again.append(audited("d"))
    names = [host.name[0] for host in read_journal(journal)]
    assert names == (["a", "b", "d"] if cut else ["a", "b", "c", "d"])


def test_a_journal_that_is_a_link_is_not_resumed(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        pass
    (tmp_path / "mine").write_text("precious")
    (folder.path / "hosts.jsonl").unlink()
    (folder.path / "hosts.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError):
        reopen_run_folder(folder.path)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_folder_named_latest_is_reported_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest/mine").touch()
    with (
        create_run_folder(tmp_path, STARTED) as folder,
        pytest.raises(OutputError, match=f"{tmp_path}/latest: "),
    ):
        point_latest(folder.output, folder.id)
    assert (tmp_path / "latest/mine").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_earlier_file_is_replaced_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "report.txt", b"long " * 1000)
    write_atomically(tmp_path / "report.txt", b"short")
    assert (tmp_path / "report.txt").read_bytes() == b"short"
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]


# ---- finishing ---------------------------------------------------------------------------------


def interrupted(name: str) -> NotAudited:
    return NotAudited(name=name, stage="interrupted", reason="stopped")


def test_an_interrupted_run_keeps_its_journal_until_it_is_resumed(tmp_path: Path) -> None:
    cut = msgspec.structs.replace(a_run("a"), hosts=(audited("a"), interrupted("b")))
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        folder.append(audited("a"))
        folder.finish(cut)
    assert read_run(folder.path) == cut
    assert [host.name for host in read_journal(folder.path / "hosts.jsonl")] == ["a"]
    assert [run.path for run in find_runs(tmp_path).interrupted] == [folder.path]
    assert count_results(folder.path) == 1
    with reopen_run_folder(folder.path) as again:
        again.append(audited("b"))
        assert count_results(folder.path) == 2  # killed now, nothing of it would be lost
        again.finish(a_run("a", "b"))
    assert read_run(folder.path) == a_run("a", "b")
    assert {path.name for path in folder.path.iterdir()} == {"plan.json", "store.jsonl"}


def test_a_process_that_is_killed_before_it_removes_the_journal_leaves_a_finished_run(
    tmp_path: Path,
) -> None:
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        folder.append(audited("a"))
        folder.write("store.jsonl", encode_store(a_run("a")))
    assert (folder.path / "hosts.jsonl").exists()
    assert read_run(folder.path) == a_run("a")
    assert [run.path for run in find_runs(tmp_path).finished] == [folder.path]
    with reopen_run_folder(folder.path) as again:
        again.finish(a_run("a"))
    assert not (folder.path / "hosts.jsonl").exists()


def test_a_store_that_cannot_be_written_leaves_the_journal(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        folder.append(audited("a"))
        with (
            mock.patch("os.fsync", side_effect=[None, OSError(28, "No space left on device")]),
            pytest.raises(OutputError, match="No space left"),
        ):
            folder.finish(a_run("a"))
    assert {path.name for path in folder.path.iterdir()} == {"plan.json", "hosts.jsonl"}
    assert count_results(folder.path) == 1


def test_a_finished_run_that_is_reopened_has_its_results_and_a_new_journal(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        folder.finish(a_run("a", "b"))
    with reopen_run_folder(folder.path) as again:
        assert [host.name for host in read_results(folder.path, lambda _: None)] == ["a", "b"]
        assert mode(folder.path / "hosts.jsonl") == 0o600
        again.append(audited("c"))
    assert [host.name for host in read_results(folder.path, lambda _: None)] == ["a", "b", "c"]


def test_a_store_that_is_damaged_does_not_cost_the_results_of_the_journal(tmp_path: Path) -> None:
    cut = msgspec.structs.replace(a_run("a"), hosts=(audited("a"), interrupted("b")))
    with create_run_folder(tmp_path, STARTED, b"{}") as folder:
        folder.append(audited("a"))
        folder.finish(cut)
    os.truncate(folder.path / "store.jsonl", 300)
    notes = list[str]()
    assert [host.name for host in read_results(folder.path, notes.append)] == ["a"]
    (note,) = notes
    assert "store.jsonl: cut: its last line is missing; hosts that are not in the journal" in note


# ---- the lock ------------------------------------------------------------------------------------


def test_a_lock_that_is_a_link_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError), hold_lock(tmp_path / "reports"):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_a_journal_whose_last_line_was_cut_is_read_without_it(tmp_path: Path, cut: int) -> None:
    with create_run_folder(tmp_path, STARTED) as folder:
        for name in "abc":
            folder.append(audited(name))
    journal = folder.path / "hosts.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert [host.name for host in read_journal(journal)] == ["a", "b"]


@pytest.mark.parametrize(
    "line", [b"{broken", b"", b"\0" * 50, b'{"status": "audited", "name": "\xff"}', b"[" * 5000]
)
def test_a_damaged_line_of_a_journal_loses_its_host_only_with_a_note(
    tmp_path: Path, line: bytes
) -> None:
    with create_run_folder(tmp_path, STARTED) as folder:
        for name in "abc":
            folder.append(audited(name))
    journal = folder.path / "hosts.jsonl"
    _, second, _ = host_lines(journal)
    replace_line(journal, second, line)
    notes = list[str]()
    assert [host.name for host in read_journal(journal, notes.append)] == ["a", "c"]
    assert count_results(folder.path) == 2
    (note,) = notes
    assert note.startswith(
        f"{journal}:{second + 1}: not a valid result; that host is audited again"
    )


def test_a_damaged_part_of_a_journal_loses_the_hosts_that_need_it_and_no_other(
    tmp_path: Path,
) -> None:
    other = Kernel(release="5.10", version="#1", machine="x86_64")
    with create_run_folder(tmp_path, STARTED) as folder:
        for host in (audited("a"), msgspec.structs.replace(audited("b"), kernel=other)):
            folder.append(host)
        folder.append(audited("c"))
    journal = folder.path / "hosts.jsonl"
    lines = journal.read_bytes().splitlines()
    damaged = next(n for n, line in enumerate(lines) if b"5.10" in line)
    replace_line(journal, damaged, lines[damaged].replace(b"5.10", b"\xff"))
    notes = list[str]()
    assert [host.name for host in read_journal(journal, notes.append)] == ["a", "c"]
    part, after = notes
    assert part.startswith(f"{journal}:{damaged + 1}: not a valid result; hosts that need it are")
    assert "that host is audited again: it needs kernel " in after
    with reopen_run_folder(folder.path) as again:
        again.append(msgspec.structs.replace(audited("b"), kernel=other))
    assert [host.name for host in read_journal(journal)] == ["a", "c", "b"]


def test_a_host_that_shares_evidence_with_one_not_audited_is_audited_again(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED) as folder:
        folder.append(NotAudited(name="a", stage="execute", reason="a bug in fleetaudit"))
        seen = Observation(
            scenario="s",
            family="ipv4",
            ending="RST",
            trials=1,
            endings={"RST": 1},
            evidence=Evidence(same_as="a"),
        )
        folder.append(msgspec.structs.replace(audited("b"), observations=(seen,)))
    assert [host.name for host in read_journal(folder.path / "hosts.jsonl")] == ["a"]


def test_a_run_that_was_never_finished_is_reported_as_such(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED) as folder:
        folder.append(audited("a"))
    with pytest.raises(InputError, match="never finished: its journal has 1 host,"):
        read_run(folder.path)


def test_a_missing_run_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="no such run"):
        read_run(tmp_path / "2026")
    with pytest.raises(NothingToDoError, match="no such run"):
        read_run(tmp_path)


_WHOLE = encode_run(a_run("a"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\x00" * 100,
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"x":' * 200_000,
        _WHOLE[:-20],
        _WHOLE + b"{}",
        _WHOLE.replace(b"fleetaudit-run/1", b"fleetaudit-run/2"),
        _WHOLE.replace(b'"status":"audited"', b'"status":"perfect"'),
        _WHOLE.replace(b'"isolation":"namespace"', b'"isolation":["namespace"]'),
        _WHOLE.replace(b'"release":"6.12"', b'"release":"' + b"6" * 300 + b'"'),
        encode_run(a_run("a", "a")),
        _WHOLE.replace(b'"name":"a"', b'"name":"\xff"'),
    ],
    ids=lambda text: str(text[:20]) + str(len(text)),
)
def test_a_foreign_file_is_refused_with_its_name(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(InputError) as raised:
        read_run(tmp_path)
    assert raised.value.source == str(tmp_path / "run.json")


@pytest.mark.parametrize(
    "text", [_WHOLE.replace(b'"controller":""', b'"controller":"\xff"'), b'{"run": {"id": "\xff']
)
def test_a_damaged_run_is_refused_or_read_without_a_bug(tmp_path: Path, text: bytes) -> None:
    folder = tmp_path / "2026-01-31T020000Z"
    folder.mkdir()
    (folder / "run.json").write_bytes(text)
    found = find_runs(tmp_path)
    assert not found.finished
    assert [path for path, _ in found.unreadable] == [folder]


def test_a_pipe_or_a_device_in_the_place_of_a_run_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder/run.json").mkdir(parents=True)
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "folder"):
        with pytest.raises(InputError, match="not a regular file"):
            read_run(path)


def test_no_more_bytes_are_read_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(_WHOLE)
    decoding = mock.patch("json.JSONDecoder.raw_decode", side_effect=ValueError)
    with decoding as seen, mock.patch.object(run_file, "INFO_BYTES", 60):
        read_info(tmp_path)
    assert len(seen.call_args[0][0]) < 60


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    run = msgspec.json.decode(_WHOLE)
    run["run"]["colour"] = "blue"
    run["hosts"][0]["shape"] = {"deep": [1, 2]}
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))
    assert read_run(tmp_path) == a_run("a")


def test_a_run_of_results_that_exist_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with create_hidden_run_folder(tmp_path, STARTED) as folder:
        assert folder.id == "2026-01-31T020000Z"
        folder.write("report.txt", b"whole")
        assert [path.name[0] for path in tmp_path.iterdir()] == ["."]
        store = folder.finish(a_run("a"))
    assert store == folder.path / "store.jsonl" == tmp_path / folder.id / "store.jsonl"
    assert {path.name for path in folder.path.iterdir()} == {"report.txt", "store.jsonl"}


def test_a_run_of_results_that_exist_leaves_nothing_if_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk"), create_hidden_run_folder(tmp_path, STARTED):
        raise ValueError("disk")
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_goes_and_what_others_wrote_stays(tmp_path: Path) -> None:
    for name in (".2026-01-31T020000Z.7.new", ".2026-01-31T020000Z-2.7.gone", ".notes.7.new"):
        (tmp_path / name).mkdir()
    (tmp_path / ".2026-01-31T020000Z.7.new/plan.json").touch()
    (tmp_path / ".2026-01-31T020000Z.7.new/traces").mkdir()
    (tmp_path / ".2026-01-31T020000Z.7.new/traces/.web1.pcap.7.part").touch()
    foreign = tmp_path / ".2026-02-01T020000Z.7.new"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    (tmp_path / ".latest.7").symlink_to("2026-01-31T020000Z")
    remove_leftovers_in(tmp_path, ())
    assert {path.name for path in tmp_path.iterdir()} == {".notes.7.new", foreign.name}


def test_a_run_that_is_resumed_loses_the_parts_of_files_that_were_left(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED) as folder:
        folder.write("traces/web1.pcap", b"")
    for name in (".report.html.7.part", "traces/.web2.pcap.7.part"):
        (folder.path / name).touch()
    with reopen_run_folder(folder.path):
        left = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*")}
    assert left == {"hosts.jsonl", "traces", "traces/web1.pcap"}


def test_a_pipe_in_the_place_of_a_journal_is_refused_as_such(tmp_path: Path) -> None:
    with create_run_folder(tmp_path, STARTED) as folder:
        pass
    (folder.path / "hosts.jsonl").unlink()
    os.mkfifo(folder.path / "hosts.jsonl")
    with pytest.raises(InputError, match=r"hosts\.jsonl: not a regular file"):
        reopen_run_folder(folder.path)


def test_the_part_of_a_dead_process_goes_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    dead, live = tmp_path / ".page.html.99999999.part", tmp_path / f".page.html.{os.getpid()}.part"
    other = tmp_path / ".other.html.99999999.part"
    for path in (dead, live, other):
        path.touch()
    remove_dead_parts(tmp_path / "page.html")
    assert set(tmp_path.iterdir()) == {live, other}
