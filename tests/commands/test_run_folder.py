"""The run folder with other processes: its lock, a folder without write permission, a full disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fleetaudit.errors import LockedError
from fleetaudit.store.lock import hold_lock
from tests import ROOT

NOBODY = 65534


def test_a_read_only_folder_is_an_output_error_for_an_unprivileged_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become a user who may not write")
    tmp_path.chmod(0o755)
    output = tmp_path / "reports"
    output.mkdir(mode=0o755)
    program = textwrap.dedent(f"""
        import os, sys
        from datetime import datetime, timezone
        from pathlib import Path
        from fleetaudit.store.disk import write_atomically
        from fleetaudit.store.lock import hold_lock
        from fleetaudit.store.run_folder import create_run_folder
        from fleetaudit.errors import OutputError
        os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
        for attempt in (lambda: create_run_folder(Path("reports"), datetime.now(timezone.utc)),
                        lambda: hold_lock(Path("reports")).__enter__(),
                        lambda: write_atomically(Path("reports/report.txt"), b"x")):
            try:
                attempt()
            except OutputError as e:
                print(e)
    """)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("Permission denied") == 3, done.stdout
    assert list(output.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from fleetaudit.store.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(output: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, output],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_at_once_with_the_holder_of_the_lock(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(LockedError, match=f"process {process.pid}"), hold_lock(tmp_path):
            pass
    finally:
        process.communicate()
    with hold_lock(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.communicate()
    with hold_lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_full_disk_is_an_output_error_and_leaves_no_half_file_under_a_final_name(
    tmp_path: Path,
) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare, for a tiny disk of its own")
    program = textwrap.dedent("""
        from datetime import datetime, timezone
        from pathlib import Path
        from fleetaudit.store.journal import read_journal
        from fleetaudit.store.run_folder import create_run_folder
        from fleetaudit.errors import OutputError
        from tests.unit.store.test_run_folder import audited, a_run
        disk = Path(__import__("sys").argv[1])
        with create_run_folder(disk, datetime(2026, 1, 31, 2, tzinfo=timezone.utc)) as folder:
            kept = 0
            try:
                while True:
                    folder.append(audited("h" * 200))
                    kept += 1
            except OutputError as e:
                print(e)
            assert len(read_journal(folder.path / "hosts.jsonl")) == kept
            large = b"x" * 100_000
            for attempt in (
                lambda: folder.finish(a_run("h")), lambda: folder.write("report.html", large)
            ):
                try:
                    attempt()
                except OutputError as e:
                    print(e)
            try:
                create_run_folder(disk, datetime(2026, 2, 1, 2, tzinfo=timezone.utc), large)
            except OutputError as e:
                print(e)
            print(sorted(path.name for path in disk.iterdir()))
            print(sorted(path.name for path in folder.path.iterdir()))
    """)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount_and_run = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount_and_run, "sh", disk, sys.executable, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("No space left on device") == 4, done.stdout
    assert done.stdout.splitlines()[-2:] == ["['2026-01-31T020000Z']", "['hosts.jsonl']"]
