"""Where passwords come from: a terminal, a file, a pipe; never an option's value, and never waited
for forever.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from fleetaudit.app import passwords
from fleetaudit.app.connection_arguments import parse_extra_vars
from fleetaudit.cli import run_command_line
from fleetaudit.errors import (
    ConfigError,
    FleetauditError,
    NothingToDoError,
    UsageError,
)
from fleetaudit.model import Secret
from tests.support.commands import Workspace
from tests.support.sshd import Server

SECRET = "hunter 2"
PLAN = ("run", "web1,", "-C")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def file(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "password"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    "data", [b"hunter 2", b"hunter 2\n", b"hunter 2\r\n", b"hunter 2\nand more\n"]
)
def test_a_password_is_the_first_line_of_its_file(tmp_path: Path, data: bytes) -> None:
    assert passwords.read_password_file(file(tmp_path, data), "--x") == Secret(SECRET)


def test_a_password_may_come_by_a_descriptor() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hunter 2\n")  # the pipe stays open: its first line is enough
    assert passwords.read_password_file(f"/dev/fd/{reading}", "--x") == Secret(SECRET)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("data", "mode", "words"),
    [
        (b"", 0o600, "empty"),
        (b"\nhunter", 0o600, "empty"),
        (b"\xff\xfe", 0o600, "UTF-8"),
        (b"hunter" * 1000, 0o600, "too long"),
        (b"#!/bin/sh\n", 0o700, "a program is not run"),
    ],
)
def test_a_file_without_a_usable_password_is_refused_by_name(
    tmp_path: Path, data: bytes, mode: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        passwords.read_password_file(file(tmp_path, data, mode), "--become-password-file")
    assert str(caught.value).startswith(f"--become-password-file {tmp_path}/password: ")
    assert "hunter" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="no such file"):
        passwords.read_password_file(str(tmp_path / "none"), "--x")
    with pytest.raises(FleetauditError, match="cannot be read: is a directory"):
        passwords.read_password_file(str(tmp_path), "--x")


def test_a_pipe_that_stays_empty_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAIT_S", 0.2)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match=r"nothing came of it within 0\.2 s"):
        passwords.read_password_file(str(tmp_path / "fifo"), "--x")


@pytest.mark.parametrize(
    ("option", "said_in"),
    [
        ("become_password_file", "environment"),
        *((f"{whose}_password_file", where) for whose in ("become", "connection")
          for where in ("configuration", "ansible.cfg", "command line")),
    ],
)  # fmt: skip
def test_how_a_program_is_to_be_piped_can_be_typed_wherever_it_was_named(
    place: Workspace, option: str, said_in: str
) -> None:
    program = file(place.path, b"#!/bin/sh\n", 0o700)
    typed, environment, words = "--" + option.replace("_", "-"), dict[str, str](), list[str]()
    match said_in:
        case "environment":
            environment["FLEETAUDIT_" + option.upper()] = program
        case "configuration":
            place.write("fleetaudit.yml", f"{option}: {program}\n")
        case "ansible.cfg":
            place.write("ansible.cfg", f"[defaults]\n{option} = {program}\n")
        case _:
            words += [typed, program]
    done = place.run("run", "web1,", *words, **environment)
    assert done.returncode == 78, done.stderr
    assert done.stderr.endswith(f" pipe its output: {typed} <(PROGRAM)\n")


def fed(place: Workspace, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command, environment = place.command(*arguments)
    return subprocess.run(
        command, cwd=place.path, env=environment, input=data, capture_output=True, timeout=300
    )


@pytest.mark.parametrize("option", ["--become-password-file", "--connection-password-file"])
def test_an_unattended_job_may_read_its_password_from_a_pipe(place: Workspace, option: str) -> None:
    done = fed(place, b"hunter 2\n", *PLAN, "--cron", option, "-")
    assert (done.returncode, done.stderr) == (0, b"")
    done = fed(place, b"", *PLAN, "--cron", option, "-")
    assert (done.returncode, b"its first line is empty" in done.stderr) == (78, True)


def test_standard_input_is_not_read_for_two_passwords(place: Workspace) -> None:
    two = ("--become-password-file", "-", "--connection-password-file", "/dev/stdin")
    done = fed(place, b"hunter 2\n", *PLAN, *two)
    assert done.returncode == 64
    assert b"--connection-password-file and --become-password-file: standard input" in done.stderr


@pytest.mark.parametrize("verb", ["run", "doctor"])
@pytest.mark.parametrize(
    ("asks", "option"), [("-K", "--become-password-file"), ("-k", "--connection-password-file")]
)
def test_a_prompt_and_a_file_for_one_password_are_refused(
    place: Workspace, verb: str, asks: str, option: str
) -> None:
    done = place.run(verb, "web1,", asks, option, file(place.path, b"x"))
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == f"fleetaudit: {asks} and {option}: either of them, not both\n"


def test_a_file_that_is_typed_goes_before_one_of_the_environment(place: Workspace) -> None:
    typed = ("-b", "--become-password-file", file(place.path, b"x"))
    done = place.run(*PLAN, *typed, FLEETAUDIT_BECOME_PASSWORD_FILE="none")
    assert (done.returncode, done.stderr) == (0, "")


DUMPED = """
import ctypes, resource, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
{reads}
print(*resource.getrlimit(resource.RLIMIT_CORE), hard, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
READS = {
    "a file": (
        "from fleetaudit.app import passwords; passwords.read_password_file(sys.argv[1], '--x')"
    ),
    "a vault password": (
        "from fleetaudit.inventory.vault import load_vault; load_vault(sys.argv[1])"
    ),
    "an inventory with a password": (
        "from fleetaudit.inventory.vault import Vault, decrypt_file;"
        " decrypt_file(b'h ansible_password=x', Vault(), source='hosts')"
    ),
    "a password file that is missing": (
        "import contextlib\nfrom fleetaudit.app import passwords\n"
        "with contextlib.suppress(Exception): passwords.read_password_file('/none', '--x')"
    ),
    "any secret": "from fleetaudit.model import Secret; Secret('x')",
    "nothing": "from fleetaudit.inventory.vault import load_vault; load_vault(None)",
}


@pytest.mark.parametrize("what", READS)
def test_who_has_read_a_password_dumps_no_core(tmp_path: Path, what: str) -> None:
    command = [sys.executable, "-c", DUMPED.format(reads=READS[what]), file(tmp_path, b"hunter 2")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    soft, hard, hard_before, dumpable = map(int, done.stdout.split())
    assert dumpable == (what == "nothing")
    if hard_before == 0:
        pytest.skip("no process dumps core here")
    assert (soft, hard) == (hard_before if what == "nothing" else 0, hard_before)


# ---- passwords that nobody needs
# -----------------------------------------------------------------------------------

MIXED = """
all:
  hosts:
    a:
    b: {ansible_connection: openssh}
    c: {ansible_connection: openssh}
    d: {ansible_connection: local}
"""


@pytest.mark.parametrize(
    "words", [("-K",), ("--become-user", "app"), ("--become-method", "doas", "-K")]
)
def test_options_of_become_without_become_are_reported_once(
    place: Workspace, words: tuple[str, ...]
) -> None:
    place.write("mixed.yml", MIXED)
    done = place.run("run", "mixed.yml", "-C", *words)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 0
    named, _, why = line.removeprefix("fleetaudit: note: ").partition(": ")
    assert set(named.split(", ")) == {word for word in words if word.startswith("-")}
    assert why.startswith("not used, because no host becomes another user; -b makes")


def test_become_options_are_used_if_a_host_becomes_another_user(place: Workspace) -> None:
    words = ("--become-user", "app", "-K")
    assert place.run(*PLAN, *words, "-b").stderr == ""
    place.write("one.yml", "all: {hosts: {a: {ansible_become: true}, b: }}\n")
    assert place.run("run", "one.yml", "-C", *words).stderr == ""
    assert (
        "not used"
        not in place.run(*PLAN, FLEETAUDIT_BECOME_PASSWORD_FILE=file(place.path, b"x")).stderr
    )


@pytest.mark.parametrize("limit", ["b", "d", "b:d"])
@pytest.mark.parametrize("verb", [("run", "-C"), ("doctor",)])
def test_a_password_to_log_in_with_is_refused_where_no_host_takes_one(
    place: Workspace, limit: str, verb: tuple[str, ...]
) -> None:
    place.write("mixed.yml", MIXED)
    done = place.run(
        *verb, "mixed.yml", "-l", limit, "--connection-password-file", file(place.path, b"x")
    )
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(
        "fleetaudit: --connection-password-file: no host takes a password: "
    )


def test_hosts_that_take_no_password_are_counted_where_others_take_it(place: Workspace) -> None:
    place.write("mixed.yml", MIXED)
    (line,) = place.run("run", "mixed.yml", "-C", "-k").stderr.splitlines()
    assert line.startswith("fleetaudit: note: -k: not used for 2 hosts: the system's own ssh")
    assert place.run("run", "mixed.yml", "-C", "-k", "-l", "a:d").stderr == ""
    off = place.run(
        "run",
        "mixed.yml",
        "-C",
        "--host-key-policy",
        "off",
        "--connection-password-file",
        file(place.path, b"x"),
        "-l",
        "a:d",
    )
    # a takes one, and says why not: it cannot be audited.
    assert (off.returncode, "the host key is not checked" in off.stdout) == (4, True)


def test_a_file_that_everybody_can_read_is_reported(place: Workspace) -> None:
    done = place.run(*PLAN, "--connection-password-file", file(place.path, b"x", 0o644))
    assert (done.returncode, "chmod 600" in done.stderr) == (0, True)
    done = place.run(*PLAN, "--connection-password-file", file(place.path, b"x"))
    assert (done.returncode, done.stderr) == (0, "")


# ---- on a terminal
# -------------------------------------------------------------------------------------------------


def on_a_terminal(place: Workspace, *arguments: str, answers: list[bytes]) -> tuple[int, bytes]:
    """Runs the command with a terminal of its own, answers what it asks in order; returns its
    status and the screen.
    """
    command, environment = place.command(*arguments)
    ours, theirs = pty.openpty()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        cwd=place.path,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lead,
    )
    os.close(theirs)
    screen, until, waiting = b"", time.monotonic() + 60, list(answers)
    while time.monotonic() < until:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            screen += data
            if data.endswith(b": ") and waiting:
                os.write(ours, waiting.pop(0))
    os.close(ours)
    return process.wait(timeout=300), screen


def test_k_and_big_k_ask_on_the_terminal_and_show_nothing(place: Workspace, sshd: Server) -> None:
    here = {
        "ansible_host": "127.0.0.1",
        "ansible_port": sshd.port,
        "ansible_user": getpass.getuser(),
    }
    here["ansible_ssh_private_key_file"] = str(sshd.keys.user())
    place.write("hosts.yml", json.dumps({"all": {"hosts": {"here": here}}}))
    command = (
        "run",
        "hosts.yml",
        "-p",
        "quick.yml",
        "-k",
        "-K",
        "--known-hosts",
        str(sshd.known_hosts),
    )
    status, screen = on_a_terminal(place, *command, answers=[b"hunter 2\n", b"\n"])
    assert status == 0, screen
    assert screen.count(b"password to log in with: ") == 1
    assert screen.count(b"become password (empty: the one to log in with): ") == 1
    assert b"hunter" not in screen


def test_an_empty_answer_is_no_password(place: Workspace) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", answers=[b"\n"])
    assert (status, b"no password was given" in screen) == (64, True)


def test_a_byte_that_is_no_text_is_an_answer_that_is_refused(place: Workspace) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", answers=[b"hunter\xff\n"])
    assert (status, b"-K: what was typed is not valid text" in screen) == (64, True), screen
    assert b"hunter" not in screen
    assert b"Traceback" not in screen


@pytest.mark.parametrize("name", ["-", "/dev/tty"])
@pytest.mark.parametrize(
    ("asks", "option"), [(b"-K", "--become-password-file"), (b"-k", "--connection-password-file")]
)
def test_a_password_is_not_read_from_a_terminal_that_shows_it(
    place: Workspace, name: str, asks: bytes, option: str
) -> None:
    status, screen = on_a_terminal(place, *PLAN, option, name, answers=[])
    assert (status, b"; " + asks + b" asks without showing it" in screen) == (64, True), screen


def test_an_interrupt_at_the_question_ends_it_all(place: Workspace) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", answers=[b"\x03"])
    assert status == 130, screen
    assert not place.runs()


@pytest.mark.parametrize("interrupt", [True, False])
def test_a_terminal_that_closes_at_the_question_hides_no_interrupt(
    place: Workspace, interrupt: bool
) -> None:
    command, environment = place.command("run", "web1,", "-K")
    ours, theirs = pty.openpty()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(
            signal.SIGHUP, signal.SIG_IGN
        )  # as under nohup, so that the status is the command's own

    process = subprocess.Popen(
        command,
        cwd=place.path,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        preexec_fn=lead,
    )
    os.close(theirs)
    seen = b""
    while not seen.endswith(b": "):
        seen += os.read(ours, 4096)
    # Stopped meanwhile, so that it meets the interrupt and the closed terminal at once.
    process.send_signal(signal.SIGSTOP)
    if interrupt:
        process.send_signal(signal.SIGINT)
    os.close(ours)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if interrupt else 64), errors
    assert (b"fleetaudit: interrupted" in errors) == interrupt, errors
    assert not place.runs()


def test_what_is_raised_after_an_interrupt_ends_as_an_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def closed(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError(errno.EIO, os.strerror(errno.EIO))  # what restoring the terminal gives

    monkeypatch.setattr("getpass.getpass", closed)
    opened = os.open
    monkeypatch.setattr(
        "os.open", lambda path, *rest: os.dup(0) if path == "/dev/tty" else opened(path, *rest)
    )
    assert run_command_line(["run", "web1,", "-K"]) == 130


@pytest.mark.parametrize("option", ["-k", "-K"])
def test_without_a_terminal_the_question_is_an_error_at_once(place: Workspace, option: str) -> None:
    command, environment = place.command("run", "web1,", option)
    done = subprocess.run(
        command,
        cwd=place.path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        start_new_session=True,
    )
    assert done.returncode == 64
    assert f"{option} needs a terminal, and there is none" in done.stderr
    assert not place.runs()


def test_cron_never_asks_whatever_terminal_there_is(place: Workspace) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", "--cron", answers=[])
    assert (status, b"--cron never asks" in screen) == (64, True)


def test_a_dry_run_asks_nothing(place: Workspace) -> None:
    assert place.run(*PLAN, "-k", "-K").returncode == 0


# ---- extra variables
# -----------------------------------------------------------------------------------------------


def test_extra_variables_beat_every_other(place: Workspace) -> None:
    place.write(
        "hosts.yml", "all: {hosts: {a: {ansible_host: old}, b: }, vars: {ansible_port: 1}}\n"
    )
    done = place.run(
        "run",
        "hosts.yml",
        "-C",
        "-e",
        "ansible_host=new ansible_port=2222",
        "-e",
        "ansible_user=me",
    )
    assert [line.split("  ")[1] for line in done.stdout.splitlines()] == [
        "ssh me@new port 2222"
    ] * 2


def test_extra_variables_are_split_as_ansible_splits_them() -> None:
    assert parse_extra_vars(("a=1 b='x y'", "a=2", "c==")) == {"a": "2", "b": "x y", "c": "="}


@pytest.mark.parametrize("text", ["a", "@vars.yml", '{"a": 1}', "a='x", "1a=2", "a=-o hunter"])
def test_what_is_no_variable_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match=r"^-e") as caught:
        parse_extra_vars((text,))
    assert "hunter" not in str(caught.value)


def test_a_password_is_no_option() -> None:
    with pytest.raises(UsageError, match="everybody on this machine") as caught:
        parse_extra_vars(("ansible_become_pass=hunter",))
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        "--private-key",
        "--known-hosts",
        "--connection-password-file",
        "--become-password-file",
        "-p",
        "--vault-password-file",
    ],
)
def test_a_file_in_the_home_of_an_unknown_user_is_a_missing_file(
    place: Workspace, option: str
) -> None:
    done = place.run("run", "localhost,", option, "~nobody-of-that-name/file")
    assert done.returncode == 66, done.stderr
    assert "~nobody-of-that-name/file" in done.stderr


def test_files_of_ansible_cfg_are_read_only_where_somebody_connects(place: Workspace) -> None:
    place.write("ansible.cfg", "[defaults]\nconnection_password_file = gone\n")
    for words in (("probe",), ("run", "localhost,", "--check")):
        done = place.run(*words)
        assert done.returncode == 0, done.stderr
    done = place.run("run", "localhost,")
    assert (done.returncode, "gone: no such file" in done.stderr) == (66, True), done.stderr


@pytest.mark.parametrize(
    "key", ["ansible_password", "ansible_ssh_passphrase", "become_pass", "db_passwd"]
)
def test_a_variable_of_the_command_line_is_no_password(key: str) -> None:
    with pytest.raises(UsageError, match=f"-e {key}: everybody"):
        parse_extra_vars((f"{key}=hunter2",))
    assert parse_extra_vars(("compass=north bypass_proxy=1",)) == {
        "compass": "north",
        "bypass_proxy": "1",
    }
