"""Options of the command line that the inventory overrides: the notes name hosts and variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.cli import run_command_line

HOSTS = """all:
  vars: {ansible_ssh_user: core}
  hosts:
    a: {ansible_user: x}
    b: {ansible_become: false, ansible_timeout: 5}
    c: {ansible_become: true, ansible_become_user: db, ansible_sudo_pass: hunter2}
    d: {ansible_ssh_private_key_file: ~/other, ansible_become_method: doas}
    l: {ansible_connection: local}
    o: {ansible_connection: openssh, ansible_become_user: x}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("hosts.yml").write_text(HOSTS)
    Path("key").write_text("")
    Path("password").write_text("secret\n")
    Path("password").chmod(0o600)


def notes(
    capsys: pytest.CaptureFixture[str], *options: str, source: str = "hosts.yml"
) -> list[str]:
    assert run_command_line(["run", source, "-C", *options]) == 0
    return [
        line.removeprefix("fleetaudit: note: ") for line in capsys.readouterr().err.splitlines()
    ]


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (
            ["-u", "me"],
            "-u: not used for 5 of 6 hosts: ansible_ssh_user (hosts.yml:2) takes precedence",
        ),
        (
            ["-T", "7"],
            "-T: not used for 1 of 6 hosts: ansible_timeout (hosts.yml:5) takes precedence",
        ),
        (["-b"], "-b: not used for 1 of 6 hosts: ansible_become (hosts.yml:5) takes precedence"),
        (
            ["-b", "--become-user", "app"],
            (
                "--become-user: not used for 2 of 6 hosts: ansible_become_user (hosts.yml:6 and 1"
                " more) takes precedence"
            ),
        ),
        (
            ["-b", "--become-method", "sudo"],
            (
                "--become-method: not used for 1 of 6 hosts: ansible_become_method (hosts.yml:7)"
                " takes precedence"
            ),
        ),
        (
            ["--private-key", "key"],
            (
                "--private-key: not used for 1 of 6 hosts: ansible_ssh_private_key_file"
                " (hosts.yml:7) takes precedence"
            ),
        ),
        (
            ["--transport", "paramiko"],
            (
                "--transport: not used for 1 of 6 hosts: ansible_connection (hosts.yml:9) takes"
                " precedence"
            ),
        ),
        (
            ["--become-password-file", "password"],
            (
                "--become-password-file: not used for 1 of 6 hosts: ansible_sudo_pass (hosts.yml:6)"
                " takes precedence"
            ),
        ),
        (
            ["-b", "-l", "b"],
            "-b: not used for the host: ansible_become (hosts.yml:5) takes precedence",
        ),
    ],
)
def test_a_note_names_the_option_the_number_of_hosts_and_the_variable(
    options: list[str], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = notes(capsys, *options)
    assert note in found
    assert "hunter2" not in "".join(found)
    assert "secret" not in "".join(found)


def test_passwords_and_extra_variables_are_noted_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("hosts").write_text("a ansible_password=hunter2\nb\n")
    found = notes(
        capsys,
        "--connection-password-file",
        "password",
        "-u",
        "me",
        "-e",
        "ansible_user=you",
        source="hosts",
    )
    assert found == [
        "-u: not used for 2 of 2 hosts: ansible_user (-e) takes precedence",
        (
            "--connection-password-file: not used for 1 of 2 hosts: ansible_password (hosts:1)"
            " takes precedence"
        ),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ["-u", "core"],  # what the variables say, too
        ["-T", "5", "-l", "b"],
        ["-b", "--become-user", "db", "-l", "c"],
        ["-u", "me", "-l", "l"],  # nobody logs in there
        [],
    ],
)
def test_a_variable_that_overrides_nothing_gives_no_note(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert notes(capsys, *options) == []


def test_only_options_that_were_typed_count(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fleetaudit.yml").write_text("timeout: 7\n")
    assert notes(capsys) == []
