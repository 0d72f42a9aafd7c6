"""What `fleetaudit schedule` prints for a job that needs passwords or becomes another user."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetaudit.app.schedule_units import Job, service, timer
from tests.support.commands import Workspace

FILES = ("--become-password-file", "--connection-password-file", "--vault-password-file")
# systemd.exec(5), NoNewPrivileges=: what overrides it where the service is not root's.
IMPLY = re.compile(
    "NoNewPrivileges|DynamicUser|LockPersonality|MemoryDenyWriteExecute|PrivateDevices|Protect(Clock|Hostname|Kernel.*)|"
    "Restrict(AddressFamilies|Namespaces|Realtime|SUIDSGID)|SystemCall(Architectures|Filter|Log)"
)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing: install the package systemd")
        pytest.skip("needs systemd-analyze (package systemd)")
    return found


@pytest.mark.parametrize("option", FILES)
@pytest.mark.parametrize(
    "name",
    [
        "-",
        "/dev/stdin",
        "/dev/fd/63",
        "//dev/./fd/3",
        "/dev/tty",
        "/proc/self/fd/0",
        "<(pass show it)",
    ],
)
def test_a_name_that_means_nothing_to_the_job_is_refused(
    place: Workspace, option: str, name: str
) -> None:
    done = place.run("schedule", option, name, "web1,")
    assert (done.returncode, done.stdout) == (64, "")
    assert (
        done.stderr
        == f"fleetaudit: {option} {name}: not there any more when the job runs; name a file\n"
    )


@pytest.mark.parametrize("option", FILES)
def test_a_file_that_does_not_exist_yet_is_reported_and_one_that_exists_is_not(
    place: Workspace, option: str
) -> None:
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


def test_what_the_job_cannot_read_is_an_error_when_it_is_scheduled(place: Workspace) -> None:
    place.write("inventory.yml", "all: {hosts: {web1: {}}}\n")
    place.write("odd.yml", "all: [\n")
    for arguments, status in (
        (("missing.yml",), 66),
        (("odd.yml",), 65),
        (("inventory.yml", "-p", "missing.yml"), 66),
        (("inventory.yml", "-p", "odd.yml"), 65),
        (("inventory.yml", "--waivers", "missing.yml"), 66),
        (("inventory.yml", "-l", "db1"), 66),
        (("inventory.yml", "-p", "quick.yml"), 0),
    ):
        done = place.run("schedule", *arguments)
        assert done.returncode == status, (arguments, done.stderr)
        assert bool(done.stdout) == (status == 0)


def test_an_inventory_that_looks_like_an_option_stays_one(place: Workspace) -> None:
    place.write("-x.yml", "all: {hosts: {web1: {ansible_connection: local}}}\n")
    line = shlex.split(
        place.run("schedule", "-p", "quick.yml", "--", "-x.yml").stdout.partition("&&")[2]
    )
    assert line[-2:] == ["--", "-x.yml"]
    assert place.run(*line[line.index("run") :]).returncode == 0
    unit = place.run("schedule", "--systemd", "-p", "quick.yml", "--", "-x.yml").stdout
    assert re.search(r"^ExecStart=.* -- -x\.yml$", unit, re.MULTILINE)


def test_the_units_are_two_files_with_what_to_type_next(place: Workspace) -> None:
    place.write("inventory.yml", "all: {hosts: {web1: {}}}\n")
    (place.path / "my units").mkdir()
    done = place.run("schedule", "--systemd", "-o", "my units")
    assert (done.returncode, done.stdout) == (0, "")
    printed = place.run("schedule", "--systemd").stdout
    service, timer = (
        place.path / "my units" / name for name in ("fleetaudit.service", "fleetaudit.timer")
    )
    assert f"{service.read_text()}\n# ---- fleetaudit.timer\n{timer.read_text()}" == printed
    assert service.stat().st_mode & 0o777 == 0o644
    assert "'my units/fleetaudit.service' 'my units/fleetaudit.timer'" in done.stderr
    assert done.stderr.endswith(
        "sudo systemctl daemon-reload && sudo systemctl enable --now fleetaudit.timer\n"
    )
    assert place.run("schedule", "--systemd", "-o", "nowhere").returncode == 66
    assert place.run("schedule", "-o", "my units").returncode == 64


def test_the_default_time_exists_on_every_day_in_every_zone() -> None:
    job = Job(command=("fleetaudit",), folder="/")
    day = datetime(2026, 1, 1, job.hour, job.minute)
    for name in sorted(zoneinfo.available_timezones()):
        zone = zoneinfo.ZoneInfo(name)
        for n in range(366 * 4):
            moment = (day + timedelta(days=n)).replace(tzinfo=zone)
            assert moment.astimezone(UTC).astimezone(zone).time() == moment.time(), (
                f"{moment} in {name}"
            )


@pytest.mark.parametrize(
    ("zone", "base", "next_"),
    [
        ("Europe/Berlin", "2027-03-27 12:00", "2027-03-28"),
        ("America/New_York", "2027-03-13 12:00", "2027-03-14"),
        ("Europe/Athens", "2027-03-27 12:00", "2027-03-28"),
        ("America/Havana", "2027-03-13 12:00", "2027-03-14"),
        ("Australia/Lord_Howe", "2026-10-03 12:00", "2026-10-04"),
        ("Pacific/Chatham", "2026-09-26 12:00", "2026-09-27"),
        ("America/Nuuk", "2027-03-27 12:00", "2027-03-28"),
    ],
)
def test_systemd_finds_the_default_time_on_the_day_when_clocks_are_put_forward(
    zone: str, base: str, next_: str
) -> None:
    analyze = systemd_analyze()
    (when,) = re.findall(
        r"^OnCalendar=(.*)$", timer(Job(command=("fleetaudit",), folder="/")), re.MULTILINE
    )
    early = when.replace("04:", "02:")
    lacks = zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
    for calendar, found in ((when, True), (early, not lacks)):
        done = subprocess.run(
            [analyze, "calendar", f"--base-time={base}", calendar],
            env={**os.environ, "TZ": zone, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )
        elapse = re.search(r"Next elapse: \w+ (\S+)", done.stdout)
        assert elapse, done.stdout
        assert (elapse[1] == next_) is found, done.stdout


def test_a_time_that_a_day_lacks_gives_a_warning(place: Workspace) -> None:
    place.write("inventory.yml", "all: {hosts: {web1: {}}}\n")
    clock = {"SOURCE_DATE_EPOCH": "1800000000"}  # 2027-01-15
    done = place.run("schedule", "--at", "02:30", TZ="Europe/Berlin", **clock)
    assert done.returncode == 0
    assert (
        "warning: --at 02:30: the clocks are put forward on 2027-03-28, which has no such time"
        in done.stderr
    )
    assert done.stderr.endswith("every day has --at 03:30\n")
    assert place.run("schedule", "--at", "02:30", TZ="Asia/Tokyo", **clock).stderr == ""
    assert place.run("schedule", TZ="Europe/Berlin", **clock).stderr == ""


def settings(text: str) -> dict[str, str]:
    return dict(
        line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")
    )


@pytest.mark.parametrize("word", ["-b", "--become"])
def test_a_service_that_becomes_another_user_may_gain_privileges(word: str) -> None:
    job = Job(command=("fleetaudit", "run", "--cron", word, "inventory.yml"), folder="/srv")
    text = service(job, user="audit")
    found = settings(text)
    assert {
        name for name, value in found.items() if IMPLY.fullmatch(name) and value != "no"
    } == set()
    assert found["ProtectSystem"] == "strict"
    assert "# The probe becomes another user" in text


def test_a_service_without_become_gains_no_privileges() -> None:
    job = Job(command=("fleetaudit", "run", "--cron", "inventory.yml"), folder="/srv")
    assert settings(service(job, user="audit"))["NoNewPrivileges"] == "yes"


def test_a_job_that_publishes_may_write_there_and_says_that_the_folder_is_missing(
    place: Workspace,
) -> None:
    words = ("schedule", "web1,", "--publish", "a site %h", "--publish-mode", "0644")
    line = place.run(*words).stdout
    assert "--publish 'a site \\%h' --publish-mode 0644" in line
    done = place.run(*words, "--systemd")
    assert f'ReadWritePaths="-{place.path}/a site %%h"\n' in done.stdout
    assert "--publish a site %h: no such folder yet; a systemd service needs it:" in done.stderr
    (place.path / "a site %h").mkdir()
    assert "no such folder" not in place.run(*words, "--systemd").stderr
    unit = place.write("fleetaudit.service", done.stdout.partition("# ---- fleetaudit.timer\n")[0])
    checked = subprocess.run(
        [systemd_analyze(), "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert "ReadWritePaths" not in place.run("schedule", "web1,", "--systemd").stdout
    assert place.run("schedule", "web1,", "--publish-mode", "0666").returncode == 64


def test_systemd_takes_a_service_that_becomes_another_user_without_a_word(place: Workspace) -> None:
    verify = systemd_analyze()
    done = place.run("schedule", "--systemd", "-b", "web1,")
    unit = place.write("fleetaudit.service", done.stdout.partition("# ---- fleetaudit.timer\n")[0])
    checked = subprocess.run(
        [verify, "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
