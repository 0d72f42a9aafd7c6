"""Which run `latest` points to, and which run is the last one: by job and by what finished,
whatever the clock says.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from msgspec.structs import replace

from fleetaudit.model import (
    AuditRun,
    NotAudited,
    NotSelected,
    RunInfo,
)
from fleetaudit.store import archive, retention, runs
from fleetaudit.store.jobs import job_of, takes_latest
from tests import ROOT, SCHEMAS
from tests.support.commands import Place
from tests.support.runs import small_fleet

from .test_jobs import INFO

SCHEMA = SCHEMAS / "runs.schema.json"
OTHER = replace(INFO, playbooks=("ours.yml",))
THIRD = replace(INFO, inventory=("third.yml",))
PART = replace(INFO, limit="web")


def cron(info: RunInfo) -> RunInfo:
    return replace(info, scheduled=True)


# ---- which run takes it over: pure
# ---------------------------------------------------------------------------------


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
def test_latest_stays_with_its_job_unless_a_weightier_one_begins(
    run: RunInfo, held: RunInfo | None, before: RunInfo | None, takes: bool
) -> None:
    assert takes_latest(run, held, before) is takes


# ---- the command
# ---------------------------------------------------------------------------------------------------

SYSCTLS = "- name: sysctls\n  hosts: all\n  sysctls: {collect: [net.ipv4.tcp_fin_timeout]}\n"
SHORT = (
    "- name: short\n  hosts: all\n  sysctls: {expect: {net.ipv4.tcp_fin_timeout: {at_most: 0}}}\n"
)
JSON = ("--format", "json")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.locals(2)
    place.write("all.yml", SYSCTLS)
    place.write("other.yml", SHORT)
    return place


def latest(place: Place) -> str:
    return (place.path / "reports/latest").readlink().name


def info(place: Place, name: str = "latest") -> RunInfo:
    return archive.read_run(place.path / "reports" / name).run


def newest(place: Place) -> RunInfo:
    return archive.runs_in(place.path / "reports").finished[0].info


@pytest.mark.commands
def test_a_run_with_a_limit_or_another_playbook_does_not_move_it_and_says_so(place: Place) -> None:
    assert place.run("run", "-p", "all.yml", *JSON).returncode == 0
    nightly = latest(place)
    for arguments, status in ((("-p", "all.yml", "-l", "host00"), 0), (("-p", "other.yml"), 2)):
        done = place.run("run", *arguments, *JSON)
        assert done.returncode == status, done.stderr
        assert latest(place) == nightly
        lines = done.stderr.splitlines()
        assert lines[0].startswith(
            f"fleetaudit: note: reports/latest still points to {nightly}, of the job inventory-"
        )
        assert lines[1] == "  inventory.yml -p all.yml"
        assert lines[3] == f"  fleetaudit runs --latest {newest(place).id}"
    quiet = place.run("run", "-p", "other.yml", "-q", *JSON)
    assert quiet.stderr == ""
    # The job moves on, and the runs in between are none of its business.
    assert place.run("run", "-p", "all.yml", *JSON).stderr == ""
    assert latest(place) != nightly
    assert info(place).baseline == nightly


@pytest.mark.commands
def test_the_printed_command_gives_latest_to_the_other_job_for_good(place: Place) -> None:
    place.run("run", "-p", "all.yml", *JSON)
    told = place.run("run", "-p", "other.yml", *JSON).stderr.splitlines()[-1]
    _, *words = shlex.split(told)
    done = place.run(*words)
    assert done.returncode == 0, done.stderr
    assert f"reports/latest points to {newest(place).id}" in done.stdout
    moved = latest(place)
    assert info(place).playbooks == ("other.yml",)
    assert "still points to" in place.run("run", "-p", "all.yml", *JSON).stderr
    assert latest(place) == moved
    assert place.run("run", "-p", "other.yml", *JSON).stderr == ""
    assert latest(place) == newest(place).id != moved


@pytest.mark.commands
def test_a_trial_of_one_host_is_followed_by_the_whole_and_the_whole_by_cron(place: Place) -> None:
    place.run("run", "-p", "all.yml", "-l", "host00", *JSON)
    assert info(place).limit == "host00"
    assert place.run("run", "-p", "all.yml", *JSON).stderr == ""
    assert info(place).limit is None
    first = place.run("run", "--cron", "-p", "other.yml", *JSON)
    assert (first.returncode, first.stderr) == (2, "")
    assert (info(place).playbooks, info(place).scheduled) == (("other.yml",), True)
    by_hand = place.run(
        "run", "-p", "other.yml", *JSON
    )  # the same job, run by hand: still a scheduled one
    assert (by_hand.stderr, info(place).scheduled) == ("", True)
    second = place.run("run", "--cron", "-p", "all.yml", *JSON)
    where = place.path / "reports"
    assert (
        f"fleetaudit runs -o {where} --latest {newest(place).id}" in second.stderr.splitlines()[-1]
    )  # once, although nothing changed since it was run by hand
    assert info(place).playbooks == ("other.yml",)
    again = place.run("run", "--cron", "-p", "all.yml", *JSON)
    assert (again.stdout, again.stderr) == ("", "")


@pytest.mark.commands
def test_a_clock_once_in_the_future_freezes_nothing(place: Place) -> None:
    """The baseline, the link and the heartbeat go on; cron tells of a regression once."""
    in_2036 = int(datetime(2036, 1, 1, tzinfo=UTC).timestamp())
    cron = ("run", "--cron", "-p", "all.yml", "--format", "json,prometheus")
    place.run(*cron, SOURCE_DATE_EPOCH=str(in_2036))
    assert latest(place).startswith("2036-")
    place.write(
        "all.yml", SHORT.replace("short", "sysctls")
    )  # what is wanted has changed: one finding
    nights = [place.run(*cron, SOURCE_DATE_EPOCH=str(1_769_824_800 + 86400 * n)) for n in range(3)]
    assert [night.returncode for night in nights] == [2, 2, 2]
    assert [bool(night.stdout) for night in nights] == [True, False, False]
    assert latest(place) == "2026-02-02T020000Z"
    assert info(place).baseline == "2026-02-01T020000Z"
    metrics = (place.path / "reports/latest/metrics.prom").read_text()
    assert re.search(
        rf"^fleetaudit_run_finished_timestamp_seconds\S* {1_769_824_800 + 2 * 86400}$",
        metrics,
        re.M,
    )
    assert [past.run[:4] for past in archive.read_run(place.path / "reports/latest").history] == [
        "2036",
        "2026",
        "2026",
    ]


@pytest.mark.commands
def test_runs_of_an_earlier_version_go_before_those_that_are_numbered(place: Place) -> None:
    place.run("run", "-p", "all.yml", *JSON, SOURCE_DATE_EPOCH=str(2**31))
    (old,) = place.runs()
    run = json.loads((old / "run.json").read_bytes())
    for key in ("job", "sequence", "scheduled", "status", "tags", "skip_tags"):
        del run["run"][key]
    (old / "run.json").write_text(json.dumps(run, indent=2))  # by somebody's tool
    assert place.run("run", "-p", "all.yml", *JSON).returncode == 0
    assert info(place).baseline == old.name
    assert place.run("run", "-p", "all.yml", *JSON).returncode == 0
    assert info(place).baseline != old.name
    assert [info.sequence for info in (info(place, old.name), info(place))] == [0, 2]


@pytest.mark.commands
def test_a_merged_run_follows_the_same_rule(place: Place) -> None:
    place.run("run", "-p", "all.yml", *JSON)
    for host in ("host00", "host01"):
        place.run("run", "-p", "other.yml", "-l", host, "-o", host, *JSON)
    merge = ("merge", "host00/latest", "host01/latest", *JSON)
    nightly, done = latest(place), place.run(*merge)
    assert done.returncode == 2
    assert f"still points to {nightly}" in done.stderr
    assert latest(place) == nightly
    assert place.run("runs", "--latest", newest(place).id).returncode == 0
    assert place.run(*merge).stderr == ""
    assert latest(place) == newest(place).id
    assert (info(place).job, info(place).status) == (job_of(info(place)), 2)


# ---- the list
# ------------------------------------------------------------------------------------------------------


def stored(output: Path, moment: datetime, run: AuditRun | None = None, **changes: object) -> str:
    """Keeps a run in `output`, as it is after it has finished; returns its name."""
    run = run or small_fleet()
    with archive.create(output, moment, b"{}") as folder:
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
    archive.point_latest(output, later)
    found = runs.list_runs(output, tmp_path)
    assert [(run.id, run.latest) for run in found.runs] == [(last, False), (later, True)]
    run = found.runs[1]
    hosts = run.hosts
    assert (hosts.selected, hosts.audited, hosts.not_audited, hosts.not_selected) == (28, 18, 9, 1)
    assert run.status == 6
    open_ = [f for host in fleet.hosts for f in host.findings if f.waived is None]
    assert run.findings.error == sum(f.severity == "error" for f in open_)
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    validator.validate(json.loads(runs.encode(found)))


def test_the_published_schema_of_the_list_is_what_the_nouns_say() -> None:
    assert SCHEMA.read_bytes() == runs.json_schema()


@pytest.mark.commands
def test_the_list_on_a_terminal_marks_latest_and_tells_how_to_finish_what_was_left(
    place: Place,
) -> None:
    place.run("run", "-p", "all.yml", *JSON)
    left = place.path / "reports/2026-01-01T020000Z"
    shutil.copytree(place.runs()[0], left)
    (left / "run.json").unlink()
    lines = (left / "hosts.jsonl").read_bytes().splitlines(keepends=True)
    (left / "hosts.jsonl").write_bytes(lines[0] + b"{damaged\n" + lines[1][:-9])
    place.run("run", "-p", "other.yml", *JSON)
    (place.path / "reports/2026-01-02T020000Z").mkdir()
    (place.path / "reports/2026-01-02T020000Z/run.json").write_text('{"\x1b[31m"')
    damaged = place.path / "reports/2026-01-03T020000Z"
    damaged.mkdir()
    whole = archive.encode_run(
        replace(small_fleet(), run=replace(INFO, id=damaged.name, sequence=1))
    )
    (damaged / "run.json").write_bytes(whole[:-1000])
    done = place.run("runs")
    assert done.returncode == 0, done.stderr
    text = done.stdout.splitlines()
    job = info(place).job
    assert text[1].split()[0] == newest(place).id
    assert text[1].endswith("2: 2 warnings")
    assert text[2].split()[:2] == ["*", latest(place)]
    assert f"  {job}: 1 run, has latest" in text
    assert "      inventory.yml -p all.yml" in text
    assert f"  2026-01-01T020000Z: 1 of 2 hosts done, job {job}" in text
    assert "      fleetaudit run --resume reports/2026-01-01T020000Z" in text
    assert "\x1b" not in done.stdout
    assert (
        sum(line.startswith(("2026-01-02T020000Z: ", "2026-01-03T020000Z: ")) for line in text) == 2
    )
    listed = json.loads(place.run("runs", "--format", "json").stdout)
    assert listed["latest"] == latest(place)
    _, *resume = shlex.split(listed["unfinished"][0]["resume"])
    assert place.run(*resume).returncode == 0
    assert latest(place) == "2026-01-01T020000Z", "it finished last"
    assert json.loads(place.run("runs", "--format", "json").stdout)["unfinished"] == []


@pytest.mark.commands
def test_a_name_in_a_run_json_moves_no_cursor(place: Place) -> None:
    name = stored(place.path / "reports", NOW, inventory=("a\x1b[2Jb.yml",), sequence=1)
    for words in (("runs",), ("runs", "--latest", name), ("run", "-p", "all.yml", *JSON)):
        done = place.run(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.commands
def test_what_latest_cannot_point_to_is_refused(place: Place) -> None:
    assert place.run("runs").returncode == 66
    place.run("run", "-p", "all.yml", *JSON)
    (run,) = place.runs()
    cut = archive.read_run(run)
    rest = NotAudited(name="later", stage="interrupted", reason="interrupted")
    cut = replace(cut, hosts=(*cut.hosts, rest), run=replace(cut.run, sequence=0))
    (run / "run.json").write_bytes(archive.encode_run(cut))
    before = latest(place)
    for name, status, words in (
        (run.name, 65, f"fleetaudit run --resume reports/{run.name}"),
        ("2020-01-01T000000Z", 66, "no such run"),
        ("..", 66, "no such run"),
    ):
        done = place.run("runs", "--latest", name)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert latest(place) == before
    empty = place.path / "empty"
    empty.mkdir()
    assert place.run("runs", "-o", "empty").stdout == "No finished run in empty.\n"


def test_the_information_is_read_from_the_beginning_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = stored(tmp_path, NOW, sequence=7, notes=("\N{SNOWMAN}" * 10,))
    monkeypatch.setattr(archive, "read_head", None)
    monkeypatch.setattr(archive, "INFO_WITHIN", 1000)
    found = archive.read_info(tmp_path / name)
    assert (found.id, found.sequence, found.notes) == (name, 7, ("\N{SNOWMAN}" * 10,))


def test_information_that_is_longer_than_the_first_read_is_read_from_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = stored(tmp_path, NOW, sequence=7, notes=("x" * archive.INFO_WITHIN,))
    read_head, whole = archive.read_head, list[Path]()

    def noted(path: Path) -> archive.RunHead:
        whole.append(path)
        return read_head(path)

    monkeypatch.setattr(archive, "read_head", noted)
    assert archive.read_info(tmp_path / name).sequence == 7
    assert len(whole) == 1  # so the first read was bounded


# ---- what is never removed
# -----------------------------------------------------------------------------------------


def days_ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


def pruned(output: Path, keep: retention.Keep) -> set[str]:
    return set(retention.prune(output, keep, now=NOW, files=()).gone)


@pytest.mark.parametrize("keep", [retention.Keep(days=30), retention.Keep(runs=1)])
def test_the_last_run_of_the_job_of_latest_and_of_scheduled_jobs_stays(
    tmp_path: Path, keep: retention.Keep
) -> None:
    baseline = stored(tmp_path, days_ago(99), sequence=1)
    old = stored(tmp_path, days_ago(98), sequence=2)
    pinned = stored(tmp_path, days_ago(97), sequence=3)
    last = stored(tmp_path, days_ago(96), sequence=4, baseline=baseline)
    trial = stored(tmp_path, days_ago(95), sequence=5, limit="web")
    first_weekly = stored(tmp_path, days_ago(94), sequence=6, shard="1/2", scheduled=True)
    weekly = stored(tmp_path, days_ago(93), sequence=7, shard="1/2", scheduled=True)
    newest = stored(tmp_path, days_ago(1), sequence=8, limit="db")
    archive.point_latest(tmp_path, pinned)
    assert pruned(tmp_path, keep) == {old, trial, first_weekly}
    assert set(archive.run_names(tmp_path)) == {baseline, pinned, last, weekly, newest}


def test_the_newest_runs_are_those_that_finished_last(tmp_path: Path) -> None:
    wrong = stored(tmp_path, datetime(2036, 1, 1, tzinfo=UTC), sequence=1)
    names = [stored(tmp_path, days_ago(10 - n), sequence=2 + n) for n in range(3)]
    archive.point_latest(tmp_path, names[-1])
    assert pruned(tmp_path, retention.Keep(runs=2)) == {wrong, names[0]}


def test_a_run_of_the_future_is_as_old_as_the_one_that_finished_after_it(tmp_path: Path) -> None:
    wrong = [stored(tmp_path, datetime(2036, 1, n, tzinfo=UTC), sequence=n) for n in (1, 2)]
    old = stored(tmp_path, days_ago(60), sequence=3)
    no_battery = stored(tmp_path, datetime(1970, 1, 1, tzinfo=UTC), sequence=4)
    young = stored(tmp_path, days_ago(2), sequence=5)
    future = stored(tmp_path, datetime(2037, 1, 1, tzinfo=UTC), sequence=6)
    archive.point_latest(tmp_path, future)
    assert pruned(tmp_path, retention.Keep(days=30)) == {*wrong, old, no_battery}
    assert set(archive.run_names(tmp_path)) == {young, future}


@pytest.mark.commands
def test_a_current_folder_that_is_gone_is_no_bug(place: Place) -> None:
    there = place.path / "there"
    there.mkdir()
    command, env = place.command("runs", "-o", place.path)
    gone = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *command]
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(gone, cwd=there, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, "the current folder is gone" in done.stderr) == (66, True), done.stderr


@pytest.mark.commands
def test_a_current_folder_that_goes_while_a_run_lasts_costs_nothing(place: Place) -> None:
    there = place.path / "there"
    there.mkdir()
    python = place.write(
        "python", f'#!/bin/sh\nrmdir {there} 2>/dev/null\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    fleet = place.write("fleet.json", json.dumps({"all": {"hosts": {"a": host}}}))
    command, env = place.command(
        "run", fleet, "-p", place.path / "all.yml", "-o", place.path / "reports", "--cron"
    )
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=there, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, there.exists()) == (0, False), done.stderr
    assert latest(place) == place.runs()[0].name
