"""The conversation with sudo, word by word and in every order: when the password goes, when the
program, when none.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.app.probe_program import sudoers_line
from fleetaudit.errors import TransportError, UsageError
from fleetaudit.model import Become, Secret
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Output, ignore_stage
from fleetaudit.transport.become import BecomeDialogue
from fleetaudit.transport.sudo_errors import PromptHistory, explain_failure
from tests.support.commands import Workspace

pytestmark = pytest.mark.commands

READY = b"fleetaudit-shell/1 0 root\n"
SECRET = Secret("sesame")


def escalation(password: Secret | None = SECRET, **changes: object) -> BecomeDialogue:
    become = Become(password=password, **changes)  # type: ignore[arg-type]
    return BecomeDialogue(become, protocol.COMMAND, b"program", ignore_stage)


def prompt(one: BecomeDialogue) -> bytes:
    found = re.search(r"\[fleetaudit-[0-9a-f]+\]", one.command)
    assert found
    return found[0].encode()


def test_the_command_line_of_sudo_ends_in_our_command_unchanged() -> None:
    one = escalation()
    asks, never = (
        shlex.split(one.command),
        shlex.split(escalation(None, user="a b", program="/x/sudo").command),
    )
    assert asks[0] == "echo"
    assert asks[1].removesuffix(";") == prompt(one).decode()
    assert asks[2:7] == ["env", "LC_ALL=C", "sudo", "-H", "-S"]
    assert asks[-2] == "-c"
    assert never[2:-3] == ["env", "LC_ALL=C", "/x/sudo", "-H", "-n", "-u", "a b"]
    assert shlex.split(escalation(method="doas").command)[2:-3] == [
        "env",
        "LC_ALL=C",
        "doas",
        "-n",
        "-u",
        "root",
    ]
    assert never[-3:] == shlex.split(protocol.COMMAND)
    assert "sesame" not in escalation().command


def test_every_dialogue_has_its_own_prompt() -> None:
    assert prompt(escalation()) != prompt(escalation())


def test_without_a_password_the_program_is_sent_after_the_ready_line() -> None:
    one = escalation(None)
    assert (one.next_input(b"motd\n", b"warning\n"), one.finished) == (b"", False)
    assert (one.next_input(b"motd\n" + READY, b"warning\n"), one.finished) == (b"program", True)
    assert one.next_input(b"motd\n" + READY, b"warning\n") == b""


def test_the_password_is_sent_once_after_our_prompt_and_the_program_after_the_ready_line() -> None:
    one = escalation()
    assert (one.next_input(b"motd\n", b"Password:"), one.finished) == (b"", False)
    asked = b"Password:" + prompt(one)
    assert (one.next_input(b"motd\n", asked), one.finished) == (b"sesame\n", False)
    assert (one.next_input(b"motd\n", asked), one.finished) == (b"", False)
    assert (one.next_input(b"motd\n" + READY[:-1], asked), one.finished) == (
        b"",
        False,
    )  # half of it may be of another user
    assert (one.next_input(b"motd\n" + READY, asked), one.finished) == (b"program", True)
    assert one.next_input(b"motd\n" + READY, asked + prompt(one)) == b""


def test_a_second_prompt_or_another_user_ends_the_dialogue() -> None:
    one = escalation()
    assert one.next_input(b"", prompt(one)) == b"sesame\n"
    assert (one.next_input(b"", prompt(one) + b"Sorry\n" + prompt(one)), one.finished) == (
        b"",
        True,
    )
    other = escalation()
    assert (other.next_input(b"fleetaudit-shell/1 1 daemon\n", b""), other.finished) == (b"", True)


def test_a_dialogue_that_starts_again_forgets_the_old_one() -> None:
    one = escalation()
    one.next_input(READY, prompt(one))
    one.start()
    assert not one.finished
    assert one.next_input(b"", prompt(one)) == b"sesame\n"


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from([b"x", READY[:9], READY[9:], READY, b"\n", b"PROMPT", b"PRO"]),
        )
    )
)
def test_no_output_in_any_pieces_makes_it_send_something_twice_or_too_early(
    pieces: list[tuple[bool, bytes]],
) -> None:
    one, stdout, stderr, said = escalation(), bytearray(), bytearray(), b""
    for on_stdout, piece in pieces:
        heard = stdout if on_stdout else stderr
        heard += piece.replace(b"PROMPT", prompt(one)).replace(b"PRO", prompt(one)[:5])
        new = one.next_input(stdout, stderr)
        said += new
        if new == b"sesame\n":
            assert prompt(one) in stderr
            assert READY not in stdout
        elif new:
            assert new == b"program"
            assert READY in stdout
    assert said in (b"", b"sesame\n", b"program", b"sesame\nprogram")


def test_long_output_before_the_ready_line_is_searched_piece_by_piece() -> None:
    one, stdout = escalation(), bytearray()
    for piece in (b"noise\n" * 100_000, READY[:7], READY[7:20], READY[20:]):
        assert not one.finished
        stdout += piece
        said = one.next_input(stdout, b"")
    assert said == b"program"


def test_the_deadline_for_sudo_ends_when_the_command_runs() -> None:
    one, whole = escalation(), Deadline.after(500)
    assert one.read_deadline(whole) is whole  # as long as the login shell starts
    one.next_input(prompt(one) + b"\n", b"")
    assert 25 < one.read_deadline(whole).remaining() <= 30
    assert escalation().read_deadline(Deadline.after(0)).remaining() == 0
    one.next_input(READY, b"")
    assert one.read_deadline(whole) is whole


def test_the_prompt_is_not_part_of_the_output() -> None:
    one = escalation()
    output = Output(stdout=READY + b"line\n", stderr=prompt(one) + b"warning\n", exit_status=0)
    assert one.check_output(output) == Output(
        stdout=READY + b"line\n", stderr=b"warning\n", exit_status=0
    )


def test_a_failure_of_the_connection_stays_one() -> None:
    one = escalation()
    one.next_input(prompt(one), b"")
    one.read_deadline(Deadline.after(0))
    refused = TransportError("authenticate", "no key", hint="x")
    broke = TransportError("execute", "broke off", hint="x", transient=True)
    assert one.explain_error(refused) is refused
    assert one.explain_error(broke) is broke
    assert one.explain_error(TransportError("execute", "late", hint="x")).stage == "become"
    shell = escalation()
    shell.next_input(b"Ticket?", b"")
    shell.read_deadline(Deadline.after(0))
    hung = shell.explain_error(TransportError("execute", "late", hint="x"))
    assert (hung.stage, "not started in time" in hung.reason, "“Ticket?”" in hung.reason) == (
        "execute",
        True,
        True,
    )
    one.next_input(READY, b"")
    late = TransportError("execute", "late", hint="x")
    assert one.explain_error(late) is late


@pytest.mark.parametrize("password", ["two\nlines", "nul\0"])
def test_a_password_that_cannot_be_typed_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(TransportError) as e:
        escalation(Secret(password))
    assert e.value.stage == "become"
    assert password[:3] not in str(e.value)


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ("sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", 1, "setuid"),
        (
            (
                "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid'"
                " option set?"
            ),
            1,
            "nosuid",
        ),
        (
            "alice is not in the sudoers file.  This incident will be reported.",
            1,
            "is not in sudoers",
        ),
        ("Sorry, user alice may not run sudo on web1.", 1, "may not run sudo on web1"),
        ("sudo: no tty present and no askpass program specified", 1, "asks for a password"),
        ("sudo: interactive authentication is required", 1, "asks for a password"),
        ("sudo: I'm sorry alice. I'm afraid I can't do that", 1, "does not let"),
        (
            "sudo: /etc/sudoers is world writable\nsudo: no valid sudoers sources found, quitting",
            1,
            "cannot be used",
        ),
        (
            (
                ">>> /etc/sudoers: syntax error near line 3 <<<\nsudo: parse error in /etc/sudoers"
                " near line 3"
            ),
            1,
            "line 3",
        ),
        (
            "sudo: You are required to change your password immediately",
            1,
            "password of the user who logs in",
        ),
        (
            (
                "sudo: unable to resolve host web1: Name or service not known\nsudo: a password is"
                " required"
            ),
            1,
            "asks for a",
        ),
        ("sh: 1: sudo: not found", 127, "not installed"),
        ("env: can't execute 'sudo': No such file or directory", 127, "not installed"),
        ("sudo: /bin/sh: command not found", 1, "finds no /bin/sh"),
        (
            "sudo: something new\033[2J",
            1,
            "ended with status 1 and did not run the command; it printed “sudo: something new",
        ),
        ("", None, "without an exit status"),
    ],
)
def test_messages_of_other_versions_of_sudo_are_recognized_or_quoted(
    said: str, status: int | None, words: str
) -> None:
    found = explain_failure(
        said.encode(), Become(), Output(stdout=b"", stderr=b"", exit_status=status), PromptHistory()
    )
    assert words in found.reason
    assert found.reason.isprintable()


def test_a_sudoers_line_escapes_every_special_and_takes_only_names() -> None:
    line = sudoers_line("alice", r"/bin/sh -c 'a,b:c=d \ * ? [x]'")
    assert line == r"alice ALL=(root) NOPASSWD: /bin/sh -c a\,b\:c\=d \\ \* \? \[x\]"
    assert sudoers_line("a.b@EXAMPLE", "/x y").startswith(r"a.b\@EXAMPLE ALL=")
    for user in ("", "ALL", "a b", "a,b", "alice ALL=(ALL) NOPASSWD: ALL #", "a\nb"):
        with pytest.raises(UsageError):
            sudoers_line(user, "/x y")


def test_the_command_first_prints_its_user_in_a_line_unlike_a_result_line() -> None:
    done = subprocess.run(
        protocol.COMMAND, shell=True, input=b"#\nprint('program')", capture_output=True, check=True
    )
    name = pwd.getpwuid(os.getuid()).pw_name
    assert done.stdout == f"{protocol.SHELL_MARK}{os.getuid()} {name}\nprogram\n".encode()
    assert not protocol.SHELL_MARK.encode().startswith(protocol.REPLY_MARK[:-3])


def test_the_verb_prints_either_the_command_or_the_sudoers_line(
    tmp_path: Path,
) -> None:
    place = Workspace(tmp_path)
    assert place.run("probe", "--command").stdout == protocol.COMMAND + "\n"
    assert (
        place.run("probe", "--sudoers", "alice").stdout
        == sudoers_line("alice", protocol.COMMAND) + "\n"
    )
    for words in (
        ("--command", "--sudoers", "alice"),
        ("--sudoers", "ALL"),
        ("--command", "-p", "quick.yml"),
    ):
        done = place.run("probe", *words)
        assert (done.returncode, done.stdout) == (64, ""), done.stderr


def test_a_host_that_repeats_the_ready_mark_costs_no_more_than_it_is_long() -> None:
    """Run in a child, whose CPU time is bounded: the search was quadratic and held every thread."""
    text = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from fleetaudit.errors import TransportError
from fleetaudit.model import Become
from fleetaudit.transport import Output, ignore_stage
from fleetaudit.transport.become import BecomeDialogue
from fleetaudit.probe.protocol import SHELL_MARK
escalation = BecomeDialogue(Become(), "true", b"", ignore_stage)
marks = SHELL_MARK.encode() * (8 * 1024 * 1024 // len(SHELL_MARK))
try:
    escalation.check_output(Output(stdout=marks, stderr=b"", exit_status=1))
except TransportError as e:
    print(e.stage)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "execute\n"), done.stderr


def test_a_second_name_of_the_same_user_is_refused_with_the_name_to_write() -> None:
    one = escalation(None, user="toor2")
    with pytest.raises(
        TransportError, match=r"toor2 is a second name of that user .become_user: toor."
    ) as caught:
        one.check_output(Output(stdout=b"fleetaudit-shell/1 7 toor\n", stderr=b"", exit_status=0))
    assert caught.value.stage == "become"


def test_a_connection_that_drops_after_the_password_is_not_tried_again() -> None:
    one = escalation()
    dropped = TransportError("execute", "the connection broke off", hint="", transient=True)
    assert one.explain_error(dropped) is dropped  # nothing was sent yet
    assert one.next_input(b"", prompt(one)) == b"sesame\n"
    blamed = one.explain_error(dropped)
    assert (blamed.stage, blamed.transient) == ("become", False)
    assert prompt(one).decode() not in blamed.reason


@pytest.mark.parametrize(
    ("become", "there"),
    [
        (Become(program="/opt/sudo", password=SECRET), "/opt/sudo -k; /opt/sudo -v"),
        (Become(method="su", program="/opt/a b/su", password=SECRET), "'/opt/a b/su' root -c true"),
    ],
    ids=["sudo", "su"],
)
def test_the_next_command_is_of_the_program_that_the_inventory_names(
    become: Become, there: str
) -> None:
    output = Output(stdout=b"", stderr=b"", exit_status=1)
    twice = PromptHistory(asked=True, answered=True, asked_again=True)
    assert explain_failure(b"", become, output, twice).there == there
