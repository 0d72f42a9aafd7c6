"""`fleetaudit report` as a user meets it: real processes, every format, files and pipes, several
runs as one.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from fleetaudit.app.merge import merge_runs
from fleetaudit.cli import params
from fleetaudit.errors import InputError
from fleetaudit.model import Audited, AuditRun, HostResult
from fleetaudit.report import registry
from fleetaudit.store.latest import point_latest
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_folder import create_run_folder
from tests.support.runs import small_fleet
from tests.support.stored_runs import with_export_only
from tests.unit.report.test_formats import (
    read_csv,
    read_junit,
    read_metrics,
    read_sarif,
)

from .test_cli import MET, PLAYBOOK, Folder

RUN = small_fleet()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder of a user's with one finished run, reports/latest."""
    made = Folder(tmp_path)
    archived(made, RUN)
    return made


def archived(folder: Folder, run: AuditRun, hour: int = 2) -> str:
    """Puts a run into reports/ and returns its folder, as a user would name it."""
    with create_run_folder(
        folder.path / "reports", datetime(2026, 1, 31, hour, tzinfo=UTC)
    ) as made:
        made.finish(run)
        point_latest(made.output, made.id)
    return f"reports/{made.id}"


def part(hosts: tuple[HostResult, ...], id_: str, minutes: int = 0) -> AuditRun:
    """Returns a run of some hosts that began so many minutes after the others."""
    begun, done = (
        datetime.fromisoformat(moment) + timedelta(minutes=minutes)
        for moment in (RUN.run.started, RUN.run.finished)
    )
    info = msgspec.structs.replace(
        RUN.run, id=id_, started=begun.isoformat()[:19] + "Z", finished=done.isoformat()[:19] + "Z"
    )
    return msgspec.structs.replace(RUN, run=info, hosts=hosts)


# ---- formats
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [f for f in params.FORMATS if f != "text"])
def test_every_format_is_the_same_bytes_whatever_the_day_the_place_and_the_locale(
    folder: Folder, format_: str
) -> None:
    strange = {
        "PYTHONHASHSEED": "1",
        "TZ": "Pacific/Auckland",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    }
    command, environment = folder.command(
        "report", "reports/latest", "--format", format_, **strange
    )
    done = subprocess.run(
        command, cwd=folder.path, env=environment, capture_output=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == registry.render(RUN, format_) != b""


def test_text_is_what_is_rendered_where_no_format_is_named(folder: Folder) -> None:
    assert "27 hosts: 18 audited, 9 not audited." in folder.run("report", "reports/latest").stdout


def test_run_writes_the_named_formats_into_its_folder(folder: Folder) -> None:
    folder.write("met.yml", PLAYBOOK.replace("{SENTENCE}", MET))
    formats = ",".join(params.FORMATS)
    done = folder.run(
        "run", "localhost,", "-p", "met.yml", "--format", formats, "-o", "reports-of-it"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    latest = folder.path / "reports-of-it/latest"
    made = {name: (latest / file).read_bytes() for name, file in registry.FILES.items()}
    assert read_junit(made["junit"].decode()).get("failures") == "0"
    assert {row["host"] for row in read_csv(made["csv"].decode())} == {"localhost"}
    assert read_sarif(made["sarif"].decode())["results"] == []
    (selected,) = read_metrics(made["prometheus"].decode())["fleetaudit_hosts_selected"].samples
    assert selected.value == 1
    assert made["html"].startswith(b"<!doctype html>") or made["html"].startswith(
        b"<!DOCTYPE html>"
    )
    run = read_run(latest)
    assert made["junit"] == registry.render(run, "junit")
    assert (
        b'name="sysctl:net.ipv4.tcp_fin_timeout"/>' in made["junit"]
    )  # an expectation that is met is there
    assert {stat.S_IMODE(path.stat().st_mode) for path in latest.iterdir()} == {0o600}


def test_an_unknown_format_is_a_bad_command_line_that_names_the_known_ones(folder: Folder) -> None:
    done = folder.run("report", "reports/latest", "--format", "pdf")
    assert done.returncode == 64
    assert all(format_ in done.stderr for format_ in params.FORMATS)


# ---- where it goes
# ------------------------------------------------------------------------------------------------


def test_a_new_file_is_for_its_owner_and_an_existing_one_keeps_its_permissions(
    folder: Folder,
) -> None:
    new, metrics = folder.path / "new.metrics", folder.write("fleetaudit.prom", "old")
    metrics.chmod(0o644)
    before = metrics.stat().st_ino
    for name in ("new.metrics", "fleetaudit.prom"):
        done = folder.run("report", "reports/latest", "--format", "prometheus", "-o", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o644
    assert metrics.stat().st_ino != before, "it was replaced in one step, not written into"
    assert metrics.read_bytes() == new.read_bytes() == registry.render(RUN, "prometheus")
    left = {
        path.name
        for path in folder.path.iterdir()
        if ".metrics" in path.name or ".prom" in path.name
    }
    assert left == {"new.metrics", "fleetaudit.prom"}


def test_a_link_is_followed_and_stays_a_link(folder: Folder) -> None:
    (folder.path / "target").write_text("old")
    (folder.path / "link").symlink_to("target")
    assert folder.run("report", "reports/latest", "--format", "csv", "-o", "link").returncode == 0
    assert (folder.path / "link").is_symlink()
    assert (folder.path / "target").read_bytes() == registry.render(RUN, "csv")


def test_a_pipe_is_written_into_and_stays_a_pipe(folder: Folder) -> None:
    pipe = folder.path / "pipe"
    os.mkfifo(pipe)
    got = list[bytes]()
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = folder.run("report", "reports/latest", "--format", "junit", "-o", "pipe")
    reader.join(30)
    assert done.returncode == 0, done.stderr
    assert got == [registry.render(RUN, "junit")]
    assert pipe.is_fifo()


def test_a_dash_is_standard_output(folder: Folder) -> None:
    done = folder.run("report", "reports/latest", "--format", "csv", "-o", "-")
    assert len(read_csv(done.stdout.replace("\n", "\r\n"))) == len(
        read_csv(registry.render(RUN, "csv").decode())
    )
    assert not (folder.path / "-").exists()


@pytest.mark.parametrize("target", ["nowhere/file", "reports", "/dev/full"])
def test_status_73_where_the_file_cannot_be_written(folder: Folder, target: str) -> None:
    done = folder.run("report", "reports/latest", "--format", "csv", "-o", target)
    assert done.returncode == 73, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_73_where_standard_output_is_full(folder: Folder) -> None:
    command, environment = folder.command("report", "reports/latest", "--format", "sarif")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command,
            cwd=folder.path,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert done.returncode == 73
    assert done.stderr.strip().endswith(
        "standard output cannot be written: No space left on device"
    )


def test_a_reader_that_goes_away_is_no_bug(folder: Folder) -> None:
    command, environment = folder.command("report", "reports/latest", "--format", "csv")
    there, here = os.pipe()
    os.close(there)
    try:
        done = subprocess.run(
            command,
            cwd=folder.path,
            env=environment,
            stdout=here,
            stderr=subprocess.PIPE,
            timeout=30,
        )
    finally:
        os.close(here)
    assert (done.returncode, done.stderr) == (73, b"")


# ---- several runs as one
# ---------------------------------------------------------------------------------------------


def test_several_runs_are_rendered_as_one_in_every_format(folder: Folder) -> None:
    first = archived(folder, part(RUN.hosts[:10], "one"), 3)
    second = archived(folder, part(RUN.hosts[10:], "two", minutes=5), 4)
    with_export_only(folder.path / second)
    done = folder.run("report", first, f"{second}/run.json", "--format", "json")
    assert done.returncode == 0, done.stderr
    joined = msgspec.json.decode(done.stdout, type=AuditRun)
    assert joined.hosts == RUN.hosts
    assert joined.scenarios == RUN.scenarios
    assert (joined.run.id, joined.run.started) == ("one+two", "2026-11-22T02:00:00Z")
    assert joined.run.finished == "2026-11-22T02:08:41Z"
    csv_ = folder.run("report", first, second, "--format", "csv", "-o", "all.csv")
    assert csv_.returncode == 0
    assert (folder.path / "all.csv").read_bytes() == registry.render(RUN, "csv")
    assert "27 hosts: 18 audited, 9 not audited." in folder.run("report", first, second).stdout


def test_a_host_that_is_equal_in_two_runs_is_in_the_report_once(folder: Folder) -> None:
    first, second = (
        archived(folder, part(RUN.hosts[:10], "one"), 3),
        archived(folder, part(RUN.hosts[5:], "two"), 4),
    )
    done = folder.run("report", first, second, "--format", "json")
    assert [host["name"] for host in json.loads(done.stdout)["hosts"]] == [
        host.name for host in RUN.hosts
    ]


def test_hosts_that_differ_between_two_runs_are_named_with_the_runs(folder: Folder) -> None:
    slower = tuple(
        msgspec.structs.replace(host, elapsed_s=9.0) if isinstance(host, Audited) else host
        for host in RUN.hosts[:5]
    )
    first, second = (
        archived(folder, part(RUN.hosts, "one"), 3),
        archived(folder, part(slower, "two"), 4),
    )
    done = folder.run("report", first, second)
    assert (done.returncode, done.stdout) == (65, "")
    assert f"{second}: hosts web[001-005]: also in {first}, with different content" in done.stderr


def test_runs_in_which_a_scenario_differs_are_not_merged() -> None:
    row = msgspec.structs.replace(RUN.scenarios[0], steps=("closer closes",))
    other = msgspec.structs.replace(part((), "two"), scenarios=(row, *RUN.scenarios[1:]))
    with pytest.raises(
        InputError, match=rf"^b: scenario {row.name}: also in a, with different content"
    ) as e:
        merge_runs([(Path("a"), RUN), (Path("b"), other)])
    assert e.value.exit_status == 65


def test_one_run_joined_with_itself_stays_as_it_is() -> None:
    assert merge_runs([(Path("a"), RUN)]) is RUN
    assert merge_runs([(Path("a"), RUN), (Path("./a"), small_fleet())]) == RUN


def test_limits_and_inventories_of_joined_runs_are_kept_and_no_baseline_is_claimed() -> None:
    def limited(run: AuditRun, limit: str | None, baseline: str) -> AuditRun:
        info = msgspec.structs.replace(
            run.run, limit=limit, baseline=baseline, inventory=(f"{run.run.id}.yml",)
        )
        return msgspec.structs.replace(run, run=info)

    one, two = part(RUN.hosts[:3], "one"), part(RUN.hosts[3:], "two")
    both = merge_runs(
        [(Path("a"), limited(one, "web", "x")), (Path("b"), limited(two, "db", "y"))]
    ).run
    assert (both.limit, both.inventory, both.baseline) == ("web:db", ("one.yml", "two.yml"), None)
    assert (
        merge_runs(
            [(Path("a"), limited(one, "web", "x")), (Path("b"), limited(two, None, "x"))]
        ).run.limit
        is None
    )


def test_a_run_that_is_missing_among_others_is_an_error_and_nothing_is_rendered(
    folder: Folder,
) -> None:
    done = folder.run(
        "report", "reports/latest", "reports/nowhere", "--format", "csv", "-o", "all.csv"
    )
    assert done.returncode == 66
    assert "reports/nowhere: no such run" in done.stderr
    assert not (folder.path / "all.csv").exists()


def test_other_formats_import_no_template_engine(folder: Folder) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from fleetaudit.store.run_file import read_run\n"
        "from fleetaudit.report import registry as outputs\n"
        "run = read_run(Path('reports/latest'))\nfor f in ('json',"
        " 'junit', 'csv', 'sarif', 'prometheus'): outputs.render(run, f)\nprint(sorted({'jinja2',"
        " 'paramiko', 'yaml', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder.path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_explanation_that_fails_leaves_no_file_of_packets(folder: Folder) -> None:
    well = next(host for host in RUN.hosts if isinstance(host, Audited))
    lost = next(host for host in RUN.hosts if not isinstance(host, Audited))
    trace = folder.path / "x.pcap"
    for words_ in ((well.name, "nonsense"), ("nobody",), (lost.name,), (lost.name, "unread-close")):
        done = folder.run("explain", "latest", *words_, "--pcap", "x.pcap")
        assert (done.returncode, done.stdout) == (66, ""), done.stderr
        assert not trace.exists()
    assert (
        folder.run(
            "explain", "latest", well.name, "unread-close/ipv4", "--pcap", "x.pcap"
        ).returncode
        == 0
    )
    assert trace.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"  # pcapng
    assert folder.run("explain", "latest", lost.name).returncode == 0
