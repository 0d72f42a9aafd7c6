"""Runs that nobody watches: silent, bounded, locked, cleaned up, and started by a real cron."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleetaudit.app import notify as news
from fleetaudit.app.option_values import parse_notify_command
from fleetaudit.app.schedule_units import (
    Job,
    crontab_line,
    service,
    timer,
)
from fleetaudit.cli.console import print_message
from fleetaudit.cli.run import run
from fleetaudit.errors import UsageError
from fleetaudit.model import NotAudited
from fleetaudit.store.names import name_order
from fleetaudit.store.run_file import read_run
from tests import ROOT
from tests.support.commands import Workspace, until
from tests.support.timing import BUSY_S

SYSCTLS = """
- name: sysctls
  hosts: all
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout]
    expect: {net.ipv4.tcp_fin_timeout: {at_most: 0}}
"""
NIGHTLY = ("run", "--cron", "-p", "sysctls.yml", "--format", "text")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.locals(1)
    place.write("sysctls.yml", SYSCTLS)
    return place


def needs(program: str, package: str) -> str:
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is missing: install the package {package}")
        pytest.skip(f"needs {program} (package {package})")
    return found


# ---- what a run says
# -----------------------------------------------------------------------------------------------


def statuses(text: str) -> list[str]:
    """Returns the label of each status in a text."""
    return re.findall(r"^(?:Act|Watch|All as expected|Cannot say): ", text, re.MULTILINE)


def test_it_speaks_the_first_time_and_when_something_changed_and_is_silent_otherwise(
    place: Workspace,
) -> None:
    told = place.path / "notified"
    arguments = (*NIGHTLY, "--notify", f"tee -a {shlex.quote(str(told))}")
    first = place.run(*arguments)
    assert (first.returncode, first.stderr) == (2, "")
    assert "Findings: 1 warning" in first.stdout
    assert statuses(first.stdout) == ["Watch: "]
    assert first.stdout == told.read_text()
    assert len(first.stdout.splitlines()) <= news.MAX_LINES

    same = place.run(*arguments)
    assert (same.returncode, same.stdout, same.stderr) == (
        2,
        "",
        "",
    )  # the status still says that there is a finding
    assert told.read_text() == first.stdout

    place.locals(2)
    changed = place.run(*arguments)
    assert changed.returncode == 2
    assert statuses(changed.stdout) == ["Watch: "]
    assert changed.stdout.count("1 host new") == 1
    assert changed.stdout.count("new host  host") == 1
    assert "host01" in changed.stdout
    assert told.read_text() == first.stdout + changed.stdout
    assert (place.path / "reports/latest").readlink().name == sorted(
        place.runs(), key=lambda p: name_order(p.name)
    )[-1].name


def test_the_message_names_controller_inventory_status_and_the_report_by_its_whole_path(
    place: Workspace,
) -> None:
    show = place.write("show", "env | grep ^FLEETAUDIT_ | sort > notified\n")
    done = place.run(*NIGHTLY, "-l", "host00", "--notify", f"sh {show}", "inventory.yml")
    (folder,) = place.runs()
    first, second, *_, last = done.stdout.splitlines()
    assert first == f"fleetaudit on {platform.node()}: status 2, expectations not met"
    named = f"Inventory inventory.yml, limit host00 in {place.path}; run {folder.name}"
    assert " ".join(done.stdout.split()).startswith(" ".join(f"{first} {named}".split()))
    assert second.startswith("Inventory inventory.yml, limit host00")
    assert last == f"Report: {folder}/report.txt"
    told = dict(line.split("=", 1) for line in (place.path / "notified").read_text().splitlines())
    assert told == {
        "FLEETAUDIT_RUN": folder.name,
        "FLEETAUDIT_STATUS": "2",
        "FLEETAUDIT_STATUS_WORDS": "expectations not met",
        "FLEETAUDIT_REPORT": f"{folder}/report.txt",
        "FLEETAUDIT_INVENTORY": "inventory.yml",
        "FLEETAUDIT_LIMIT": "host00",
        "FLEETAUDIT_JOB": read_run(folder).run.job,
        "FLEETAUDIT_CONTROLLER": platform.node(),
    }
    guide = (ROOT / "docs/unattended.md").read_text("utf-8")
    assert set(told) <= set(re.findall(r"FLEETAUDIT_[A-Z_]+", guide))


def test_the_report_is_linked_where_people_read_it(place: Workspace) -> None:
    done = place.run(*NIGHTLY, "--report-url", "https://ops.example.org/fleet/")
    (folder,) = place.runs()
    assert (
        done.stdout.splitlines()[-1]
        == f"Report: https://ops.example.org/fleet/{folder.name}/report.txt"
    )
    assert place.run(*NIGHTLY, "--report-url", "ops example").returncode == 64


def test_the_message_says_each_change_once(place: Workspace) -> None:
    place.run(*NIGHTLY)
    place.locals(3)
    lines = place.run(*NIGHTLY).stdout.splitlines()
    assert len([line for line in lines if line.startswith("Changed since")]) == 1
    assert len(lines) == len(set(lines) - {""}) + lines.count("")


def test_an_exit_status_is_described() -> None:
    assert news.describe_status(0) == "all well"
    assert (
        news.describe_status(14)
        == "expectations not met, some host not audited, changed since the baseline"
    )
    assert [news.describe_status(s) for s in (1, 130, 143)] == [
        "a bug in fleetaudit",
        "interrupted",
        "interrupted",
    ]


def test_a_great_change_is_still_one_screen(place: Workspace) -> None:
    place.run(*NIGHTLY)
    place.locals(0)
    hosts = "".join(
        f"    {'x' * n}.example: {{ansible_connection: docker}}\n" for n in range(1, 40)
    )
    place.write(
        "inventory.yml", "all:\n  hosts:\n    host00: {ansible_connection: local}\n" + hosts
    )
    done = place.run(*NIGHTLY)
    assert done.returncode in (4, 6), done.stdout + done.stderr
    assert len(done.stdout.splitlines()) <= news.MAX_LINES
    assert done.stdout.splitlines()[-1].startswith("Report: ")


def test_a_change_adds_8_where_drift_is_to_fail(place: Workspace) -> None:
    arguments = ("run", "-p", "quick.yml", "--format", "json", "--fail-on", "error,drift")
    assert place.run(*arguments).returncode == 0  # nothing to compare with
    assert place.run(*arguments).returncode == 0
    place.locals(2)
    assert place.run(*arguments).returncode == 8
    assert place.run(*arguments, "--baseline", "none").returncode == 0


def test_the_time_of_the_whole_run_is_bounded_and_says_so(
    place: Workspace, silent_port: int
) -> None:
    target = f"{{ansible_host: 127.0.0.1, ansible_port: {silent_port}}}"
    place.write(
        "inventory.yml",
        f"all: {{hosts: {{here: {{ansible_connection: local}}, silent: {target}}}}}\n",
    )
    started = time.monotonic()
    done = place.run(*NIGHTLY, "--run-deadline", "4", "-T", "600", "--host-deadline", "600")
    assert time.monotonic() - started < 20 + BUSY_S
    assert done.returncode == 6, done.stdout + done.stderr
    (folder,) = place.runs()
    here, silent = read_run(folder).hosts
    assert not isinstance(here, NotAudited)
    assert silent.stage == "interrupted"
    assert silent.reason == "the run's deadline of 4 s came before this host answered"
    assert not (
        place.path / "reports/latest"
    ).exists()  # a run that was cut short is no finished one


def test_a_second_run_is_refused_within_a_second_and_a_killed_one_is_taken_over(
    place: Workspace, silent_port: int
) -> None:
    target = f"{{ansible_host: 127.0.0.1, ansible_port: {silent_port}}}"
    place.write("silent.yml", f"all: {{hosts: {{silent: {target}}}}}\n")
    holder = place.start(
        "run", "silent.yml", "-p", "sysctls.yml", "-T", "600", "--host-deadline", "600"
    )
    try:
        until(lambda: len(place.runs()) == 1, "the run to begin")
        before = os.times().children_user + os.times().children_system
        second = place.run(*NIGHTLY)
        cost = os.times().children_user + os.times().children_system - before
        assert second.returncode == 75
        assert f"process {holder.pid}" in second.stderr
        assert cost < 1  # of CPU: how long that takes depends on who else runs here
    finally:
        holder.kill()
        holder.communicate()
    assert place.run(*NIGHTLY).returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_ssh_connections_promptly(
    place: Workspace, silent_port: int, number: int
) -> None:
    target = f"{{ansible_host: 127.0.0.1, ansible_port: {silent_port}}}"
    place.write("silent.yml", f"all: {{hosts: {{silent: {target}}}}}\n")
    log = place.path / "times"
    program = (
        "import sys, time; from fleetaudit import engine\n"
        "from fleetaudit.cli import run_command_line\n"
        "request, audit = engine.StopRequest.request, engine.audit\n"
        "def requested(self, *why): times.append(time.monotonic()); request(self, *why)\n"
        "def timed(*a, **k): out = audit(*a, **k); times.append(time.monotonic()); return out\n"
        "times = []; engine.StopRequest.request, engine.audit = requested, timed\n"
        "status = run_command_line(sys.argv[1:])\n"
        f"open({str(log)!r}, 'w').write(str(times[1] - times[0])); sys.exit(status)"
    )
    _, env = place.command()
    arguments = ["run", "silent.yml", "-p", "sysctls.yml", "-T", "600", "--host-deadline", "600"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=place.path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(place.runs()) == 1, "the run to begin")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 128 + number, stdout + stderr
    assert float(log.read_text()) < 1


# ---- old runs
# ------------------------------------------------------------------------------------------------


def test_old_runs_go_with_a_run_and_by_hand(place: Workspace) -> None:
    for day in (1, 2, 3):
        arguments = (
            "run",
            "-p",
            "quick.yml",
            "--format",
            "html",
            "--baseline",
            "none",
            "--keep",
            "2",
        )
        assert (
            place.run(*arguments, SOURCE_DATE_EPOCH=str(1_769_824_800 + day * 86400)).returncode
            == 0
        )
    assert [path.name for path in place.runs()] == ["2026-02-02T020000Z", "2026-02-03T020000Z"]
    (place.path / "reports/2026-02-02T020000Z/notes").touch()
    kept = place.run("prune", "--keep", "1")
    assert kept.returncode == 0
    assert kept.stdout == ""
    assert "2026-02-02T020000Z: notes was not written by fleetaudit" in kept.stderr
    (place.path / "reports/2026-02-02T020000Z/notes").unlink()
    assert place.run("prune", "--keep", "1").stdout == "removed reports/2026-02-02T020000Z\n"
    assert (
        place.run("prune", "--keep", "1d").stdout == ""
    )  # the last finished run stays, however old
    assert [path.name for path in place.runs()] == ["2026-02-03T020000Z"]
    assert place.run("prune", "--keep", "often").returncode == 64


# ---- notifications
# ----------------------------------------------------------------------------------------------


def test_a_notification_runs_without_a_shell_and_its_failure_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    news.run_notify_command(
        parse_notify_command(f"tee '{tmp_path}/a b $HOME'"), "something\n", print_message
    )
    assert (tmp_path / "a b $HOME").read_text() == "something\n"
    assert capsys.readouterr().err == ""
    news.run_notify_command(["false"], "x", print_message)
    news.run_notify_command(["/nowhere/mail"], "x", print_message)
    news.run_notify_command(["sh", "-c", "printf '\\033[31mno' >&2; exit 3"], "x", print_message)
    failed, missing, said = capsys.readouterr().err.splitlines()
    assert "warning: --notify false: status 1" in failed
    assert "No such file" in missing
    assert "status 3" in said
    assert "\033" not in said
    news.run_notify_command(["true"], "x" * 1_000_000, print_message)  # one that does not read
    assert capsys.readouterr().err == ""


def test_a_notification_that_hangs_is_ended_with_its_children(
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = time.monotonic()
    news.run_notify_command(["sh", "-c", "sleep 610 & sleep 620"], "x", print_message, seconds=0.3)
    assert time.monotonic() - started < 10 + BUSY_S
    assert "did not end within 0.3 s" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "  ", "mail 'me"])
def test_a_notification_without_a_command_is_a_bad_command_line(text: str) -> None:
    with pytest.raises(UsageError):
        parse_notify_command(text)


# ---- schedules
# ------------------------------------------------------------------------------------------------

ODD = Job(
    command=(
        "/opt/fleet audit/bin/fleetaudit",
        "run",
        "--notify",
        "mail -s '100% \"$HOME\"' me\\you",
    ),
    folder="/srv/50% off",
)


def test_a_crontab_line_survives_cron_and_the_shell() -> None:
    line = crontab_line(ODD)
    assert line.startswith("17 4 * * * cd '/srv/50\\% off' && ")
    # As crontab(5) has it: \% becomes %, and an unescaped % would end the command.
    command = line.split(" ", 5)[5].replace("\\%", "%").rstrip("\n")
    assert "%" not in line.replace("\\%", "")
    assert shlex.split(command) == ["cd", ODD.folder, "&&", *ODD.command]


@pytest.mark.parametrize("make", [crontab_line, lambda job: service(job, user="root")])
def test_a_line_break_is_refused_rather_than_scheduled(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="line break"):
        make(Job(command=("fleetaudit", "a\nb"), folder="/"))


def test_systemd_takes_the_units_without_a_word(place: Workspace) -> None:
    verify = needs("systemd-analyze", "systemd")
    notify = ("--notify", "mail -s '100% $HOME' me")
    done = place.run("schedule", "--systemd", "inventory.yml", "-p", "sysctls.yml", *notify)
    assert done.returncode == 0, done.stderr
    text, _, clock = done.stdout.partition("# ---- fleetaudit.timer\n")
    units = place.path / "units"
    units.mkdir()
    (units / "fleetaudit.service").write_text(text)
    (units / "fleetaudit.timer").write_text(clock)
    checked = subprocess.run(
        [verify, "verify", "--man=no", units / "fleetaudit.service", units / "fleetaudit.timer"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:/lib/systemd/system"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_service_is_hardened_and_may_still_unshare_a_network() -> None:
    lines = service(ODD, user="audit").splitlines()
    hardened = {
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
    }
    assert hardened | {"User=audit"} <= set(lines)
    assert "RestrictNamespaces=user net mnt" in lines
    assert "WorkingDirectory=/srv/50%% off" in lines
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith('"mail -s \'100%% \\"$$HOME\\"\' me\\\\you"')
    assert "RandomizedDelaySec=30min" in timer(ODD).splitlines()


CRON_ALONE = """
mount --make-rprivate / &&
for folder in /var/spool/cron /etc/cron.d /run; do mount -t tmpfs none $folder || exit 99; done
mount --bind /dev/null /etc/crontab && mkdir -m 1730 /var/spool/cron/crontabs &&
cp "$1" /var/spool/cron/crontabs/root && chmod 600 /var/spool/cron/crontabs/root && exec "$2" -f
"""


def test_every_option_of_a_schedule_is_one_of_the_run_that_it_prints(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.write("hosts.yml", "all: {hosts: {web1: {}}}\n")
    place.write("w.yml", "[]\n")
    said = [
        "--become",
        "--become-password-file",
        "sudo pw",
        "--format",
        "html,junit",
        "--waivers",
        "w.yml",
    ]
    said += [
        "--baseline",
        "none",
        "--limit",
        "web*",
        "--keep",
        "30d",
        "--fail-on",
        "drift",
        "--playbook",
        "quick.yml",
    ]
    done = place.run("schedule", *said, "hosts.yml")
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout.partition("&&")[2])
    assert words[-1] == "hosts.yml"
    context = run.make_context("run", words[words.index("run") + 1 :])
    assert context.params["become_password_file"] == "sudo pw"
    assert {
        name
        for name, value in context.params.items()
        if name in ("become", "cron") and value is True
    } == {
        "become",
        "cron",
    }
    assert set(said) <= set(words)
    assert place.run("schedule", "--format", "pdf", "hosts.yml").returncode == 64


def test_a_real_cron_runs_the_line(tmp_path: Path) -> None:
    """In a mount namespace of its own, in which there is no other crontab."""
    cron = needs("cron", "cron")
    if os.geteuid() != 0:
        pytest.skip("needs root, for cron in a mount namespace of its own")
    (tmp_path / "50% off").mkdir()
    place = Workspace(tmp_path / "50% off")
    place.write("all of us.yml", "all: {hosts: {here: {ansible_connection: local}}}\n")
    done = place.run("schedule", "all of us.yml", "-p", "quick.yml")
    assert done.returncode == 0, done.stderr
    line = done.stdout.replace("17 4 * * *", "* * * * *")
    table = place.write("table", f'MAILTO=""\n{line}')
    daemon = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", CRON_ALONE, "sh", table, cron],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        latest = place.path / "reports/latest"
        until(lambda: latest.exists() or daemon.poll() is not None, "cron to run it", 100)
        assert daemon.poll() is None, daemon.communicate()[0]
    finally:
        daemon.kill()
        daemon.communicate()
    (host,) = read_run(latest).hosts
    assert (host.name, isinstance(host, NotAudited)) == ("here", False)
