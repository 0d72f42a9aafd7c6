"""Reasons and hints: text from a host is made harmless, and what is to be typed is quoted."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import printable_line, quote_line
from fleetaudit.transport import Output
from fleetaudit.transport.ssh_command import (
    describe_exit,
    known_hosts_name,
    shell_join,
    ssh_command_line,
)


@given(st.one_of(st.binary(max_size=3000), st.text(max_size=3000)), st.integers(1, 400))
def test_text_of_a_host_becomes_one_bounded_printable_line(said: bytes | str, limit: int) -> None:
    line = printable_line(said, limit)
    assert line.isprintable()
    assert len(line) <= limit


def test_harmless_text_stays_unchanged() -> None:
    assert printable_line("Ça va, 東京?\r\n  yes") == "Ça va, 東京? yes"
    assert printable_line(b"\033[2Jx\x00\xff\xe2\x80\xae") == "\ufffd[2Jx\ufffd\ufffd\ufffd"
    assert quote_line(b" \n") == ""


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1)
)
def test_a_shell_reads_back_the_same_arguments(words: list[str]) -> None:
    words = [w for w in words if not w.startswith("~/")]
    assert shlex.split(shell_join(words)) == words


@pytest.mark.parametrize(
    "address", ["web1", "-oProxyCommand=x", "a;b", "$(x)", "::1", "fe80::1%eth0"]
)
@pytest.mark.parametrize("user", ["me", "-l", "a b"])
def test_no_name_of_an_inventory_can_become_an_option_or_a_command(address: str, user: str) -> None:
    words = shlex.split(ssh_command_line(SshTarget(address=address, port=2222), user))
    assert words[:5] == ["ssh", "-p", "2222", "-o", "BatchMode=yes"]
    assert words[-2:] == [f"{user}@{address}", "true"]
    assert words[5:-2] == (["--"] if user.startswith("-") else [])


def test_the_ssh_command_line_has_the_same_keys_and_files() -> None:
    target = SshTarget(address="h", private_keys=("~/my key",), known_hosts=("/a", "/b"))
    assert (
        ssh_command_line(target, "u", "-v")
        == "ssh -o BatchMode=yes -i ~/'my key' -o IdentitiesOnly=yes -o 'UserKnownHostsFile=/a /b'"
        " -v u@h true"
    )


def test_known_hosts_names_carry_a_port_that_is_not_22() -> None:
    assert (
        known_hosts_name("h", 22),
        known_hosts_name("::1", 22),
        known_hosts_name("::1", 23),
    ) == ("h", "::1", "[::1]:23")


def test_the_end_of_a_command_is_described_with_its_output() -> None:
    assert (
        describe_exit(Output(stdout=b"", stderr=b"no\n", exit_status=1))
        == "the command ended with status 1; it printed “no”"
    )
    assert (
        describe_exit(Output(stdout=b"", stderr=b"", exit_status=None))
        == "the command ended without an exit status"
    )
    cut = Output(stdout=b"x", stderr=b"", exit_status=None, cut="stdout")
    assert (
        describe_exit(cut)
        == "the command ended without an exit status after more stdout than is allowed;"
        " it printed “x”"
    )
