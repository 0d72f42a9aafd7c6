"""Where passwords come from: a terminal, a file, a pipe; never an option's value, and never waited for for ever."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from pathlib import Path

import pytest

from fleetaudit.cli import passwords
from fleetaudit.cli.connecting import extra_variables
from fleetaudit.errors import ConfigError, FleetauditError, NothingToDoError, UsageError
from fleetaudit.model import Secret
from tests.commands import Place

SECRET = "hunter 2"
PLAN = ("run", "web1,", "-C")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def file(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "password"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("data", [b"hunter 2", b"hunter 2\n", b"hunter 2\r\n", b"hunter 2\nand more\n"])
def test_a_password_is_the_first_line_of_its_file(tmp_path: Path, data: bytes) -> None:
    assert passwords.in_file(file(tmp_path, data), "--x") == Secret(SECRET)


def test_a_password_may_come_by_a_descriptor() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hunter 2\n")  # the pipe stays open: its first line is enough
    assert passwords.in_file(f"/dev/fd/{reading}", "--x") == Secret(SECRET)
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
        passwords.in_file(file(tmp_path, data, mode), "--become-password-file")
    assert str(caught.value).startswith(f"--become-password-file {tmp_path}/password: ")
    assert "hunter" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="no such file"):
        passwords.in_file(str(tmp_path / "none"), "--x")
    with pytest.raises(FleetauditError, match="cannot be read: is a directory"):
        passwords.in_file(str(tmp_path), "--x")


def test_a_pipe_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAIT_S", 0.2)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match=r"nothing came of it within 0\.2 s"):
        passwords.in_file(str(tmp_path / "fifo"), "--x")


def test_a_file_that_everybody_can_read_is_told_of(place: Place) -> None:
    done = place.run(*PLAN, "--connection-password-file", file(place.path, b"x", 0o644))
    assert (done.returncode, "chmod 600" in done.stderr) == (0, True)
    done = place.run(*PLAN, "--connection-password-file", file(place.path, b"x"))
    assert (done.returncode, done.stderr) == (0, "")


# ---- on a terminal -------------------------------------------------------------------------------------------------


def on_a_terminal(place: Place, *arguments: str, answers: list[bytes]) -> tuple[int, bytes]:
    """Runs the command with a terminal of its own, answers what it asks in order; returns its status and the screen."""
    command, environment = place.command(*arguments)
    ours, theirs = pty.openpty()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command, cwd=place.path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=lead
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
    return process.wait(timeout=30), screen


def test_k_and_big_k_ask_on_the_terminal_and_show_nothing(place: Place) -> None:
    place.write("hosts.yml", "all: {hosts: {here: {ansible_connection: local}}}\n")
    command = ("run", "hosts.yml", "-p", "quick.yml", "-k", "-K")
    status, screen = on_a_terminal(place, *command, answers=[b"hunter 2\n", b"\n"])
    assert status == 0, screen
    assert screen.count(b"password to log in with: ") == 1
    assert screen.count(b"password for sudo (empty: the one to log in with): ") == 1
    assert b"hunter" not in screen


def test_an_empty_answer_is_no_password(place: Place) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", answers=[b"\n"])
    assert (status, b"no password was given" in screen) == (64, True)


def test_an_interrupt_at_the_question_ends_it_all(place: Place) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", answers=[b"\x03"])
    assert status == 130, screen
    assert not place.runs()


@pytest.mark.parametrize("option", ["-k", "-K"])
def test_without_a_terminal_the_question_is_an_error_at_once(place: Place, option: str) -> None:
    command, environment = place.command("run", "web1,", option)
    done = subprocess.run(
        command, cwd=place.path, env=environment, capture_output=True, text=True, timeout=20, start_new_session=True
    )
    assert done.returncode == 64
    assert f"{option} asks on a terminal, and there is none" in done.stderr
    assert not place.runs()


def test_cron_never_asks_whatever_terminal_there_is(place: Place) -> None:
    status, screen = on_a_terminal(place, "run", "web1,", "-K", "--cron", answers=[])
    assert (status, b"--cron never asks" in screen) == (64, True)


def test_a_dry_run_asks_nothing(place: Place) -> None:
    assert place.run(*PLAN, "-k", "-K").returncode == 0


# ---- extra variables -----------------------------------------------------------------------------------------------


def test_extra_variables_beat_every_other(place: Place) -> None:
    place.write("hosts.yml", "all: {hosts: {a: {ansible_host: old}, b: }, vars: {ansible_port: 1}}\n")
    done = place.run("run", "hosts.yml", "-C", "-e", "ansible_host=new ansible_port=2222", "-e", "ansible_user=me")
    assert [line.split("  ")[1] for line in done.stdout.splitlines()] == ["ssh me@new port 2222"] * 2


def test_extra_variables_are_split_as_ansible_splits_them() -> None:
    assert extra_variables(("a=1 b='x y'", "a=2", "c==")) == {"a": "2", "b": "x y", "c": "="}


@pytest.mark.parametrize("text", ["a", "@vars.yml", '{"a": 1}', "a='x", "1a=2", "a=-o hunter"])
def test_what_is_no_variable_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match=r"^-e") as caught:
        extra_variables((text,))
    assert "hunter" not in str(caught.value)


def test_a_password_is_no_option() -> None:
    with pytest.raises(UsageError, match="everybody on this machine") as caught:
        extra_variables(("ansible_become_pass=hunter",))
    assert "hunter" not in str(caught.value)
