"""Metrics of several jobs in one folder, as the real node_exporter takes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleetaudit.cli import run_command_line
from fleetaudit.model import AuditRun
from fleetaudit.store.run_file import encode_run
from tests.support.runs import small_fleet

PROGRAM = "prometheus-node-exporter"


@contextmanager
def exporter(folder: Path) -> Iterator[str]:
    """Runs node_exporter on a port of loopback with nothing but the files of a folder; yields its
    address.
    """
    executable = shutil.which(PROGRAM) or shutil.which("node_exporter")
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail(f"{PROGRAM} is not installed")
        pytest.skip(f"{PROGRAM} is not installed")
    options = (
        "--web.listen-address=127.0.0.1:0",
        "--collector.disable-defaults",
        "--collector.textfile",
    )
    command = [executable, *options, f"--collector.textfile.directory={folder}"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        try:
            listening = (
                re.search(r"Listening on.*address=(127\.0\.0\.1:\d+)", line)
                for line in process.stderr
            )
            yield next(found[1] for found in listening if found)
        finally:
            process.terminate()


def scraped(folder: Path) -> dict[str, list[tuple[str, float]]]:
    """Returns each metric of ours that node_exporter shows: the job and the value of each of its
    series.
    """
    with exporter(folder) as address, urlopen(f"http://{address}/metrics", timeout=300) as answer:
        text = answer.read().decode()
    return {
        family.name: [
            (sample.labels.get("audit_job", ""), sample.value) for sample in family.samples
        ]
        for family in text_string_to_metric_families(text)
        if family.name.startswith(("fleetaudit_", "node_textfile_scrape_error"))
    }


def run_of(inventory: str, hosts: int, finished: str) -> AuditRun:
    fleet = small_fleet()
    info = msgspec.structs.replace(
        fleet.run, id=finished, inventory=(inventory,), finished=finished
    )
    return msgspec.structs.replace(fleet, run=info, hosts=fleet.hosts[:hosts])


SITES = {
    "site-a": run_of("site-a.yml", 5, "2026-11-22T02:03:41Z"),
    "site-b": run_of("site-b.yml", 3, "2026-11-22T02:04:41Z"),
}


@pytest.fixture
def textfiles(tmp_path: Path) -> Path:
    """A folder with the metrics of two sites, written as a user writes them."""
    (tmp_path / "textfiles").mkdir()
    for name, run in SITES.items():
        (tmp_path / f"{name}.json").write_bytes(encode_run(run))
        file = tmp_path / "textfiles" / f"{name}.prom"
        assert (
            run_command_line(
                [
                    "report",
                    str(tmp_path / f"{name}.json"),
                    "--format",
                    "prometheus",
                    "-o",
                    str(file),
                ]
            )
            == 0
        )
    return tmp_path / "textfiles"


def test_node_exporter_takes_the_metrics_of_two_sites_from_one_folder(textfiles: Path) -> None:
    found = scraped(textfiles)
    assert found["node_textfile_scrape_error"] == [("", 0)]
    jobs = sorted(job for job, _ in found["fleetaudit_run_info"])
    assert [job.rpartition("-")[0] for job in jobs] == ["site-a", "site-b"]
    assert dict(found["fleetaudit_hosts_selected"]) == dict(zip(jobs, (5, 3), strict=True))
    assert dict(found["fleetaudit_run_finished_timestamp_seconds"]) == dict(
        zip(jobs, (1795313021, 1795313081), strict=True)
    )
    named = {
        line.split("{")[0]
        for line in (textfiles / "site-b.prom").read_text().splitlines()
        if line[0] != "#"
    }
    assert named <= found.keys()


def test_node_exporter_takes_no_two_files_without_the_label(textfiles: Path) -> None:
    """What the test above would see without the label: it is no test that cannot fail."""
    for file in textfiles.iterdir():
        text = re.sub(r'audit_job="[^"]*",?', "", file.read_text())
        file.write_text(text.replace("{}", ""))
    found = scraped(textfiles)
    assert len(found["fleetaudit_hosts_selected"]) < 2


def test_two_files_of_one_job_in_one_folder_are_warned_of(
    textfiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(tmp_path / "site-a.json")
    report = ["report", source, "--format", "prometheus", "-o"]
    assert (
        run_command_line([*report, str(textfiles / "site-a.prom")]) == 0
    )  # the file of the run before
    assert run_command_line([*report, str(tmp_path / "site-c.prom")]) == 0  # another folder
    os.mkfifo(textfiles / "pipe.prom")
    capsys.readouterr()
    assert run_command_line([*report, str(textfiles / "site-c.prom")]) == 0
    assert re.match(
        rf"fleetaudit: warning: {textfiles}/site-a.prom has metrics of the same job,"
        r" site-a-[0-9a-f]{8}: ",
        capsys.readouterr().err,
    )
