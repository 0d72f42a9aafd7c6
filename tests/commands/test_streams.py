"""Streams that are closed or full, a log that would block, and runs that are named as people name
them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetaudit.store.run_file import encode_run, read_run
from tests.support.runs import small_fleet


def sh(words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs fleetaudit through a shell; `words` come after the program, redirections too."""
    line = f'exec "$0" -m fleetaudit {words}'
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Returns a folder with `reports/`, in which there is one run that `latest` points to."""
    run = small_fleet()
    folder = tmp_path / "reports" / run.run.id
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(encode_run(run))
    (tmp_path / "reports" / "latest").symlink_to(run.run.id)
    return tmp_path


@pytest.mark.parametrize(
    "verb", ["report latest", "explain latest {host}", "diff latest latest", "report {id}"]
)
def test_a_run_is_found_by_its_name_in_the_output_folder(saved: Path, verb: str) -> None:
    run = small_fleet()
    done = sh(verb.format(host=run.hosts[0].name, id=run.run.id), saved)
    assert done.returncode == 0, done.stderr


def test_a_run_that_does_not_exist_is_named_as_it_was_typed(saved: Path) -> None:
    done = sh("report latset", saved)
    assert done.returncode == 66
    assert "latset" in done.stderr


@pytest.mark.parametrize(
    "words", ["run localhost, -vv", "run localhost, -q", "doctor localhost, -v"]
)
def test_a_closed_stderr_costs_its_messages_and_nothing_else(tmp_path: Path, words: str) -> None:
    done = sh(f"{words} 2>&-", tmp_path)
    assert done.returncode in (0, 2), done.stdout
    assert "Traceback" not in done.stdout
    assert "DEBUG" not in done.stdout


@pytest.mark.parametrize("words", ["scenarios >&-", "--help >/dev/full", "scenarios >/dev/full"])
def test_output_that_cannot_be_written_is_status_73_without_a_traceback(
    tmp_path: Path, words: str
) -> None:
    done = sh(words, tmp_path)
    assert done.returncode == 73, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--no-such-option 2>/dev/full", 64),
        ("--help >/dev/full 2>/dev/full", 73),
        ("runs -o . >/dev/full 2>/dev/full", 73),
        ("report no-such-run 2>/dev/full", 66),
    ],
)
def test_messages_that_cannot_be_written_do_not_change_the_status(
    tmp_path: Path, words: str, status: int
) -> None:
    """Python ends with 120 where its own last attempt to write fails."""
    assert sh(words, tmp_path).returncode == status


def test_a_log_that_would_block_is_refused_before_anything_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = sh("run localhost, -C", tmp_path, FLEETAUDIT_LOG_PATH="fifo")
    assert done.returncode == 78
    assert "FLEETAUDIT_LOG_PATH=fifo" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_stdout_closed_no_file_of_a_run_becomes_stdout(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text(
        "- name: x\n  hosts: all\n  scenarios: [unread-close/drained-close]\n"
    )
    done = sh("run localhost, -q -p one.yml >&-", tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_run(tmp_path / "reports/latest").hosts
