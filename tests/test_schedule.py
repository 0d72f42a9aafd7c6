"""What `fleetaudit schedule` prints for a job that needs passwords or becomes another user."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fleetaudit.schedule import Job, service

from .commands import Place

pytestmark = pytest.mark.commands

FILES = ("--become-password-file", "--connection-password-file", "--vault-password-file")
# systemd.exec(5), NoNewPrivileges=: what overrides it where the service is not root's.
IMPLY = re.compile(
    "NoNewPrivileges|DynamicUser|LockPersonality|MemoryDenyWriteExecute|PrivateDevices|Protect(Clock|Hostname|Kernel.*)|"
    "Restrict(AddressFamilies|Namespaces|Realtime|SUIDSGID)|SystemCall(Architectures|Filter|Log)"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("option", FILES)
@pytest.mark.parametrize(
    "name", ["-", "/dev/stdin", "/dev/fd/63", "//dev/./fd/3", "/dev/tty", "/proc/self/fd/0", "<(pass show it)"]
)
def test_a_name_that_means_nothing_to_the_job_is_refused(place: Place, option: str, name: str) -> None:
    done = place.run("schedule", option, name, "web1,")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == f"fleetaudit: {option} {name}: not there any more when the job runs; name a file\n"


@pytest.mark.parametrize("option", FILES)
def test_a_file_that_is_not_there_yet_is_told_of_and_one_that_is_there_is_not(place: Place, option: str) -> None:
    done = place.run("schedule", option, "my secret", "web1,")
    assert done.returncode == 0
    assert f"warning: {option} my secret: no such file yet" in done.stderr
    place.write("my secret", "x\n")
    done = place.run("schedule", option, "my secret", "web1,")
    assert (done.returncode, done.stderr) == (0, "")
    words = shlex.split(done.stdout)
    # The name stays relative, as every other does: the job begins in this folder.
    assert words[words.index("cd") + 1] == str(place.path)
    assert words[words.index(option) + 1] == "my secret"


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("word", ["-b", "--become"])
def test_a_service_that_becomes_another_user_may_gain_privileges(word: str) -> None:
    job = Job(command=("fleetaudit", "run", "--cron", word, "inventory.yml"), folder="/srv")
    text = service(job, user="audit")
    found = settings(text)
    assert {name for name, value in found.items() if IMPLY.fullmatch(name) and value != "no"} == set()
    assert found["ProtectSystem"] == "strict"
    assert "# The probe becomes another user" in text


def test_a_service_that_becomes_nobody_gains_no_privileges() -> None:
    job = Job(command=("fleetaudit", "run", "--cron", "inventory.yml"), folder="/srv")
    assert settings(service(job, user="audit"))["NoNewPrivileges"] == "yes"


def test_systemd_takes_a_service_that_becomes_another_user_without_a_word(place: Place) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing: install the package systemd")
        pytest.skip("needs systemd-analyze (package systemd)")
    done = place.run("schedule", "--systemd", "-b", "web1,")
    unit = place.write("fleetaudit.service", done.stdout.partition("# ---- fleetaudit.timer\n")[0])
    checked = subprocess.run([verify, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
