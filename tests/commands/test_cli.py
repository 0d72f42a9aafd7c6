"""The command line as a user meets it: real processes, their exit statuses, their words, and what
they leave behind.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from fleetaudit import __version__
from fleetaudit.errors import InputError
from fleetaudit.model import NotAudited
from fleetaudit.probe import protocol
from fleetaudit.store.journal import read_journal
from fleetaudit.store.latest import point_latest
from fleetaudit.store.lock import hold_lock
from fleetaudit.store.run_file import encode_run, read_run
from fleetaudit.store.run_folder import create_run_folder
from tests import SCHEMAS
from tests.support.commands import Workspace, until
from tests.support.runs import small_fleet
from tests.support.timing import BUSY_S

PLAYBOOK = """
- name: A quick one
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout]
    expect:
      net.ipv4.tcp_fin_timeout: {SENTENCE}
"""
MET = "{at_least: 1}"
NOT_MET = "{at_most: 0, severity: warning}"


class Folder(Workspace):
    """A folder of a user's with two playbooks, whose expectation this machine meets and does not
    meet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.write("met.yml", PLAYBOOK.replace("{SENTENCE}", MET))
        self.write("not-met.yml", PLAYBOOK.replace("{SENTENCE}", NOT_MET))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def inventory_of(**ports: int) -> str:
    """An inventory: this machine for port 0, else SSH to that port of loopback."""
    hosts = dict[str, dict[str, object]]()
    for name, port in ports.items():
        local: dict[str, object] = {"ansible_connection": "local"}
        hosts[name] = {"ansible_host": "127.0.0.1", "ansible_port": port} if port else local
    return json.dumps({"all": {"hosts": hosts}})


# ---- exit statuses
# -------------------------------------------------------------------------------------------------


def test_status_0_when_all_hosts_are_audited_and_expectations_met(folder: Folder) -> None:
    done = folder.run("run", "localhost,", "-p", "met.yml", "--format", "text")
    assert done.returncode == 0, done.stdout + done.stderr
    status, blank, first, second = done.stdout.splitlines()[:4]
    assert status == "All as expected: the one audited host meets every expectation."
    assert blank == ""
    assert first == "1 of 1 scenario as expected on 1 host; 1 of 1 other expectation met."
    assert "unread-close, IPv4" in second
    assert "1 host: 1 audited, 0 not audited." in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Report: reports/2")
    assert done.stderr == ""  # no terminal, no progress


def test_status_2_when_an_expectation_is_not_met(folder: Folder) -> None:
    done = folder.run("run", "localhost,", "-p", "not-met.yml", "--format", "text")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Findings: 1 warning" in done.stdout
    assert "net.ipv4.tcp_fin_timeout" in done.stdout


def test_a_finding_below_fail_on_does_not_change_the_status(folder: Folder) -> None:
    done = folder.run(
        "run", "localhost,", "-p", "not-met.yml", "--format", "json", "--fail-on", "error"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Findings: 1 warning" in done.stdout


def test_status_4_when_a_host_is_not_audited_and_it_is_named_with_what_to_type(
    folder: Folder, closed_port: int
) -> None:
    folder.write("inventory.yml", inventory_of(here=0, dead=closed_port))
    done = folder.run("run", "-p", "met.yml", "--format", "text", "-q")
    assert done.returncode == 4, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Not audited: 1 host"
    assert lines[1] == "  connect: connection refused: dead"
    assert f"{closed_port}" in done.stdout
    run = read_run(folder.path / "reports/latest")
    assert [host.name for host in run.hosts] == ["here", "dead"]


def test_status_6_when_both(folder: Folder, closed_port: int) -> None:
    folder.write("inventory.yml", inventory_of(here=0, dead=closed_port))
    done = folder.run("run", "-p", "not-met.yml", "--format", "json")
    assert done.returncode == 6, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "-e", "a", "localhost,"],
        ["run", "--keep", "soon", "localhost,"],
        ["run", "--shard", "3/2", "localhost,"],
        ["run", "--notify", "mail 'me", "localhost,"],
        ["run", "-k=secret", "localhost,"],
        ["merge"],
        ["schedule", "--at", "25:00", "localhost,"],
        ["schedule", "--keep", "30 days", "localhost,"],
        ["schedule", "--fail-on", "often", "localhost,"],
        ["schedule", "--notify", "mail 'ops", "localhost,"],
        ["run"],
        ["run", "-f", "0", "localhost,"],
        ["run", "-T", "nan", "localhost,"],
        ["run", "--host-deadline", "nan", "localhost,"],
        ["run", "--format", "pdf", "localhost,"],
        ["run", "--fail-on", "drifts", "localhost,"],
        ["walk"],
        ["diff", "a"],
        ["report"],
    ],
    ids=" ".join,
)
def test_status_64_for_a_bad_command_line(folder: Folder, arguments: list[str]) -> None:
    done = folder.run(*arguments)
    assert done.returncode == 64, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.strip()
    assert not (folder.path / "reports").exists()


@pytest.mark.parametrize(
    ("inventory", "playbook"),
    [
        ("all:\n  hostss: {a: }", PLAYBOOK.replace("{SENTENCE}", MET)),
        ("all: {hosts: {a: }}", "- name: x\n  hosst: all\n"),
    ],
    ids=["inventory", "playbook"],
)
def test_status_65_for_files_that_make_no_sense_with_file_and_line(
    folder: Folder, inventory: str, playbook: str
) -> None:
    folder.write("hosts.yml", inventory)
    folder.write("play.yml", playbook)
    done = folder.run("run", "hosts.yml", "-p", "play.yml")
    assert done.returncode == 65, done.stdout + done.stderr
    assert "hosts.yml:2" in done.stderr or "play.yml:2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "nowhere.yml"],
        ["run", "localhost,", "-l", "web*"],
        ["run", "localhost,", "-p", "nowhere.yml"],
        ["run", "localhost,", "--private-key", "nowhere"],
        ["run", "localhost,", "--known-hosts", "nowhere"],
        ["run", "localhost,", "--resume", "nowhere"],
        ["run", "localhost,", "--baseline", "nowhere"],
        ["run", "localhost,", "--shard", "2/2"],
        ["report", "nowhere"],
        ["explain", "nowhere", "web1"],
    ],
    ids=" ".join,
)
def test_status_66_for_what_is_missing_or_matches_nothing(
    folder: Folder, arguments: list[str]
) -> None:
    done = folder.run(*arguments)
    assert done.returncode == 66, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder.path / "reports").exists()


def test_status_73_where_the_output_cannot_be_written(folder: Folder) -> None:
    folder.write("file", "")
    done = folder.run("run", "localhost,", "-p", "met.yml", "-o", "file/reports")
    assert done.returncode == 73, done.stdout + done.stderr
    assert "file/reports: cannot be written" in done.stderr
    command, env = folder.command("scenarios")
    with Path("/dev/full").open("w") as full:
        written = subprocess.run(
            command, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300
        )
    assert written.returncode == 73
    assert written.stderr.strip().endswith(
        "standard output cannot be written: No space left on device"
    )


def test_a_reader_that_goes_away_is_no_bug(folder: Folder) -> None:
    process = folder.start("probe")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(30) == 73
    process.stderr.close()


def test_status_75_at_once_where_another_run_holds_the_folder(folder: Folder) -> None:
    with hold_lock(folder.path / "reports"):
        done = folder.run("run", "localhost,", "-p", "met.yml")
    assert done.returncode == 75, done.stdout + done.stderr
    assert f"process {os.getpid()}" in done.stderr


@pytest.mark.parametrize(
    "variable",
    [
        {"FLEETAUDIT_FORKS": "many"},
        {"FLEETAUDIT_TIMEOUT": "-1"},
        {"FLEETAUDIT_HOST_KEY_POLICY": "lax"},
        {"FLEETAUDIT_CONFIG": "config.yml"},
        {"FLEETAUDIT_BECOME_PASSWORD_FILE": "secret"},
        {"FLEETAUDIT_LOG_PATH": "/nowhere/log"},
        {"SOURCE_DATE_EPOCH": "yesterday"},
    ],
    ids=lambda variable: next(iter(variable)),
)
def test_status_78_for_an_environment_that_makes_no_sense(
    folder: Folder, variable: dict[str, str]
) -> None:
    done = folder.run("run", "localhost,", "-p", "met.yml", **variable)
    assert done.returncode == 78, done.stdout + done.stderr
    assert next(iter(variable)) in done.stderr


BUG = (
    "from fleetaudit import cli; from fleetaudit.analysis import judge; "
    "judge.HostJudge.__call__ = lambda self, audited, plan: 1 / 0; "
)


def test_status_1_for_a_bug_with_a_traceback_in_the_log_and_the_host_named(folder: Folder) -> None:
    _, env = folder.command()
    arguments = ["run", "localhost,", "-p", "met.yml", "--format", "json"]
    program = BUG + f"cli.main({arguments!r})"
    log = folder.path / "log"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder.path,
        env=env | {"FLEETAUDIT_LOG_PATH": str(log)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "a bug in fleetaudit" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "ZeroDivisionError" in log.read_text()
    (host,) = read_run(folder.path / "reports/latest").hosts
    assert isinstance(host, NotAudited)
    assert host.reason.startswith("a bug in fleetaudit: ZeroDivisionError")


# ---- signals
# ------------------------------------------------------------------------------------------------


def journal_of(folder: Folder) -> list[Path]:
    return list((folder.path / "reports").glob("2*/hosts.jsonl"))


def running(folder: Folder, closed_port: int, silent_port: int) -> subprocess.Popen[str]:
    """A run that has reported one host and waits for the other."""
    folder.write("inventory.yml", inventory_of(dead=closed_port, silent=silent_port))
    process = folder.start(
        "run", "-p", "met.yml", "--format", "text", "-T", "600", "--host-deadline", "600"
    )
    until(lambda: any(path.stat().st_size for path in journal_of(folder)), "the first host")
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_saves_and_reports_what_was_gathered(
    folder: Folder, closed_port: int, silent_port: int, number: int, status: int
) -> None:
    process = running(folder, closed_port, silent_port)
    sent = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    assert time.monotonic() - sent < 10 + BUSY_S
    assert process.returncode == status, stdout + stderr
    assert "  interrupted: silent\n" in stdout
    assert "Traceback" not in stderr
    (run_folder,) = [path.parent for path in journal_of(folder)]
    hosts = read_run(run_folder).hosts
    assert [(host.name, host.stage) for host in hosts] == [
        ("dead", "connect"),
        ("silent", "interrupted"),
    ]
    assert (run_folder / "report.txt").exists()
    assert not (folder.path / "reports/latest").is_symlink()  # it stays with the last finished run


def test_a_terminal_that_closed_does_not_hide_an_interrupt(
    folder: Folder, closed_port: int, silent_port: int
) -> None:
    folder.write("inventory.yml", inventory_of(dead=closed_port, silent=silent_port))
    command, environment = folder.command(
        "run", "-p", "met.yml", "-T", "50", "--host-deadline", "50"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder.path, env=environment, stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    until(lambda: any(path.stat().st_size for path in journal_of(folder)), "the first host")
    os.close(ours)  # writing to it gives EIO from now on
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (run_folder,) = [path.parent for path in journal_of(folder)]
    assert len(read_run(run_folder).hosts) == 2


def test_a_second_signal_ends_at_once(folder: Folder, closed_port: int, silent_port: int) -> None:
    process = running(folder, closed_port, silent_port)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "once more" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    process.communicate(timeout=300)
    assert time.monotonic() - sent < 2 + BUSY_S
    assert process.returncode == 130


def test_what_kill_9_leaves_is_a_journal_that_can_be_read_and_a_free_lock(
    folder: Folder, closed_port: int, silent_port: int
) -> None:
    process = running(folder, closed_port, silent_port)
    process.kill()
    process.communicate(timeout=300)
    (journal,) = journal_of(folder)
    assert [host.name for host in read_journal(journal)] == ["dead"]
    with pytest.raises(InputError, match="never finished"):
        read_run(journal.parent)
    told = folder.run("report", journal.parent)
    assert told.returncode == 65
    assert "never finished: its journal has 1 host" in told.stderr
    assert folder.run("run", "localhost,", "-p", "met.yml", "--format", "json").returncode == 0


# ---- where words come from
# -----------------------------------------------------------------------------------------


def test_options_beat_the_environment_and_the_environment_beats_defaults(folder: Folder) -> None:
    folder.write("inventory.yml", inventory_of(default=0))
    folder.write("other.yml", inventory_of(other=0))
    environment = {
        "FLEETAUDIT_INVENTORY": "other.yml",
        "FLEETAUDIT_OUTPUT_DIR": "out",
        "FLEETAUDIT_FORKS": "2",
    }
    run = ("run", "-p", "met.yml", "--format", "json")
    assert folder.run(*run, **environment).returncode == 0
    assert [host.name for host in read_run(folder.path / "out/latest").hosts] == ["other"]
    assert folder.run(*run, "inventory.yml", "-o", "mine", **environment).returncode == 0
    assert [host.name for host in read_run(folder.path / "mine/latest").hosts] == ["default"]


def test_source_date_epoch_stops_the_clock(folder: Folder) -> None:
    done = folder.run(
        "run",
        "localhost,",
        "-p",
        "met.yml",
        "--format",
        "json",
        "-o",
        "out",
        SOURCE_DATE_EPOCH="1769824800",
    )
    assert done.returncode == 0, done.stderr
    run = read_run(folder.path / "out/2026-01-31T020000Z").run
    assert run.started == run.finished == "2026-01-31T02:00:00Z"


def test_version_is_the_packages(folder: Folder) -> None:
    done = folder.run("--version")
    assert (done.returncode, done.stdout) == (0, f"fleetaudit {__version__}\n")


# ---- the other verbs
# -----------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(folder: Folder) -> Folder:
    with create_run_folder(
        folder.path / "reports", datetime(2026, 1, 31, 2, tzinfo=UTC)
    ) as run_folder:
        run_folder.write("run.json", encode_run(small_fleet()))
        run_folder.finish(small_fleet())
        point_latest(run_folder.output, run_folder.id)
    return folder


def test_report_as_json_gives_the_bytes_of_run_json(fleet: Folder) -> None:
    done = fleet.run("report", "reports/latest", "--format", "json")
    assert done.returncode == 0
    assert done.stdout.encode() == (fleet.path / "reports/latest/run.json").read_bytes()


@pytest.mark.parametrize("format_", ["text", "html", "json"])
def test_the_same_run_gives_the_same_bytes_whatever_the_day(fleet: Folder, format_: str) -> None:
    for name, seed in (("one", "1"), ("two", "2")):
        done = fleet.run(
            "report", "reports/latest", "--format", format_, "-o", name, PYTHONHASHSEED=seed
        )
        assert done.returncode == 0, done.stderr
    assert (fleet.path / "one").read_bytes() == (fleet.path / "two").read_bytes() != b""


def test_report_as_text_fits_its_width(fleet: Folder) -> None:
    done = fleet.run("report", "reports/latest", COLUMNS="70")
    wrapped = [
        line for line in done.stdout.splitlines() if not line.startswith("      ")
    ]  # commands stay whole
    assert max(map(len, wrapped)) <= 70
    assert "not audited" in done.stdout


def test_explain_shows_every_verdict_of_a_host_and_the_packets_of_one(fleet: Folder) -> None:
    run = read_run(fleet.path / "reports/latest")
    name = next(h.name for h in run.hosts if h.kernel is not None)
    whole = fleet.run("explain", "reports/latest", name)
    assert whole.returncode == 0, whole.stderr
    assert "unread-close" in whole.stdout
    one = fleet.run("explain", "reports/latest", name, "unread-close/ipv4")
    assert one.returncode == 0, one.stderr
    assert "unread-close over ipv4" in one.stdout
    assert "closer > peer    Flags [R.]" in one.stdout
    assert "-- closer closes" in one.stdout
    assert "TCPAbortOnClose +1" in one.stdout
    assert "ipv6" not in one.stdout.split("Why")[0]


def test_explain_as_json_has_what_the_text_has_and_the_same_statuses(fleet: Folder) -> None:
    run = read_run(fleet.path / "reports/latest")
    schema = json.loads((SCHEMAS / "explain.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for host in run.hosts:
        done = fleet.run("explain", "reports/latest", host.name, "--format", "json", LC_ALL="C")
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        validator.validate(found)
        assert found["host"] == host.name
        assert len(found["verdicts"]) == len(host.observations)
    name = next(h.name for h in run.hosts if h.kernel is not None)
    words = ("explain", "reports/latest", name, "unread-close/ipv4", "--format", "json")
    done = fleet.run(*words, "--pcap", "one.pcap")
    [verdict] = json.loads(done.stdout)["verdicts"]
    assert (verdict["scenario"], verdict["family"]) == ("unread-close", "ipv4")
    assert any("R" in segment[2] for segment in verdict["evidence"]["wire"])
    assert (fleet.path / "one.pcap").stat().st_size > 0
    for wrong in (("nobody",), (name, "unread-clse")):
        done = fleet.run("explain", "reports/latest", *wrong, "--format", "json")
        assert (done.returncode, done.stdout) == (66, "")


def test_explain_of_a_host_that_was_not_audited_says_why(fleet: Folder) -> None:
    run = read_run(fleet.path / "reports/latest")
    host = next(h for h in run.hosts if isinstance(h, NotAudited))
    done = fleet.run("explain", "reports/latest", host.name, "unread-close")
    assert done.returncode == 0
    assert f"{host.name}: not audited" in done.stdout
    assert host.hint in done.stdout


def test_explain_names_what_comes_near_a_word_that_is_unknown(fleet: Folder) -> None:
    run = read_run(fleet.path / "reports/latest")
    name = next(h.name for h in run.hosts if h.kernel is not None)
    done = fleet.run("explain", "reports/latest", name, "unread-clse")
    assert done.returncode == 66
    assert "unread-close" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["latest", "HOST", "unread-clse"],
         "no scenario “unread-clse” in this run; did you mean unread-close"),
        (["latest", "HOST", "zzz"],
         "no scenario “zzz” in this run; to list them, leave out the scenario"),
        (["latest", "HOST", "unread-close/ipv9"], "“unread-close” has no family “ipv9”"),
        (["latest", "qqqqqqq"], "no host “qqqqqqq” in this run; its hosts: "),
        (["latst", "HOST"],
         "reports/latst: no such run; to list the runs: fleetaudit runs -o reports"),
        (["a b/latest", "HOST"],
         "a b/latest: no such run; to list the runs: fleetaudit runs -o 'a b'"),
    ],
)  # fmt: skip
def test_explain_refuses_with_what_there_is(fleet: Folder, words: list[str], message: str) -> None:
    run = read_run(fleet.path / "reports/latest")
    name = next(h.name for h in run.hosts if h.kernel is not None)
    done = fleet.run("explain", *(name if word == "HOST" else word for word in words))
    assert done.returncode == 66
    assert message in done.stderr


def test_a_missing_inventory_is_compared_with_the_files_that_exist(folder: Folder) -> None:
    folder.write("inventory.yml", "all: {hosts: {a: }}")
    done = folder.run("run", "inventry.yml")
    assert done.returncode == 66
    assert "inventry.yml: there is no such inventory; did you mean “inventory.yml”?" in done.stderr
    assert "if it is a host, add a comma: fleetaudit run inventry.yml," in done.stderr
    several = folder.run("run", "a b", "c")
    assert "if it is a host, add a comma: fleetaudit run 'a b,c,'" in several.stderr
    assert "add a comma" not in folder.run("run", "nowhere/hosts").stderr


def test_scenarios_prints_each_with_its_steps(folder: Folder) -> None:
    done = folder.run("scenarios")
    assert done.returncode == 0
    assert "unread-close  (ipv4, ipv6)" in done.stdout
    assert "    - closer closes" in done.stdout
    assert "expect: RST (" in done.stdout


def test_the_probe_is_explained_instead_of_printed_and_not_with_other_outputs(
    folder: Folder,
) -> None:
    explained = folder.run("probe", "-p", "met.yml", "--explain")
    assert explained.returncode == 0
    assert "What is written\n   No file of a disk" in explained.stdout
    assert "unread-close: " in explained.stdout
    for other in (["--compressed"], ["--command"], ["--sudoers", "audit"]):
        refused = folder.run("probe", "--explain", *other)
        assert refused.returncode == 64
        assert "--explain goes with --playbook only" in refused.stderr
    assert folder.run("probe", "--explain", "-p", "met.yml", "--command").returncode == 64


def test_the_probe_that_is_printed_runs_by_hand(folder: Folder) -> None:
    program = folder.run("probe", "-p", "met.yml")
    assert program.returncode == 0, program.stderr
    done = subprocess.run(
        [sys.executable, "-"], input=program.stdout.encode(), capture_output=True, timeout=300
    )
    reply = protocol.parse_reply(done.stdout)
    assert {observation.scenario for observation in reply.observations} >= {"unread-close"}


def test_inventory_lists_the_hosts_that_a_run_would_audit(folder: Folder) -> None:
    done = folder.run("inventory", "--list-hosts", "web[1:3],db", "-l", "web*:!web2")
    assert (done.returncode, done.stdout) == (0, "web1\nweb3\n")


# ---- on a terminal
# -------------------------------------------------------------------------------------------------


def on_a_terminal(folder: Folder, *arguments: str, **environment: str) -> str:
    """Runs the command with stderr on a terminal and returns what that terminal got."""
    ours, theirs = pty.openpty()
    command, env = folder.command(*arguments, **environment)
    process = subprocess.Popen(
        command, cwd=folder.path, env=env, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    got = b""
    try:
        while chunk := os.read(ours, 4096):
            got += chunk
    except OSError:
        pass  # EIO: the other end is closed
    finally:
        os.close(ours)
        process.wait(60)
    return got.decode("utf-8", "replace")


def test_a_terminal_sees_progress_and_no_color_is_honoured(folder: Folder) -> None:
    arguments = ("run", "localhost,", "-p", "met.yml", "--format", "json")
    plain = on_a_terminal(folder, *arguments, NO_COLOR="1")
    assert "1/1" in plain
    assert "not audited" in plain
    assert "\x1b[3" not in plain  # 30 to 39: colours
    colourful = on_a_terminal(folder, *arguments, NO_COLOR="")
    assert "\x1b[3" in colourful
    forced = folder.run(*arguments, NO_COLOR="", FORCE_COLOR="1").stdout
    assert "\x1b[32m1 of 1 scenario as expected\x1b[0m on 1 host" in forced
    assert "\x1b" not in folder.run(*arguments, NO_COLOR="").stdout
    assert "\x1b[3" not in on_a_terminal(folder, *arguments, NO_COLOR="", TERM="dumb")
    assert on_a_terminal(folder, *arguments, "-q") == ""


# ---- help
# ------------------------------------------------------------------------------------------------


def test_help_is_printed_on_request_and_is_no_error(folder: Folder) -> None:
    for words, same in (
        ((), ("--help",)),
        (("policy",), ("policy", "--help")),
        (("help",), ("--help",)),
        (("help", "run"), ("run", "--help")),
        (("help", "policy", "make"), ("policy", "make", "--help")),
    ):
        done, asked = folder.run(*words), folder.run(*same)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == asked.stdout
        assert done.stdout.startswith("Usage: fleetaudit")
    for words in (
        ("help", "nonsense"),
        ("help", "run", "more"),
        ("nonsense",),
        ("policy", "nonsense"),
    ):
        done = folder.run(*words)
        assert (done.returncode, done.stdout) == (64, "")
