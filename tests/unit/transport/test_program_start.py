"""Why a program did not start, from what was printed instead."""

from __future__ import annotations

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Output
from fleetaudit.transport.program_start import ReadyDialogue, not_started

READY = protocol.SHELL_MARK.encode() + b"0 root\n"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("bash: line 1: /bin/sh: No such file or directory", 127),
        ("bash: line 1: /bin/sh: Permission denied", 126),
        ("bash: line 1: /bin/sh: cannot execute: required file not found", 126),
        ("zsh:1: no such file or directory: /bin/sh", 127),
        ("fish: Unknown command: /bin/sh", 127),
        ("/bin/sh: Command not found.", 1),
    ],
)
def test_a_missing_bin_sh_is_recognized_in_every_shells_words(said: str, status: int) -> None:
    reason = not_started(Output(stdout=b"", stderr=said.encode(), exit_status=status), "").reason
    assert (
        reason
        == f"/bin/sh is missing or may not be run on this host (exit status {status}): “{said}”"
    )


@pytest.mark.parametrize(
    "said",
    [
        "fish: Unexpected ')' for unopened parenthesis",
        "python3: not found",
        "",
        "/bin/sh: 1: exec: fish: not found",
    ],
)
def test_another_missing_file_is_not_taken_for_a_missing_bin_sh(said: str) -> None:
    reason = not_started(Output(stdout=b"", stderr=said.encode(), exit_status=127), "").reason
    assert "no /bin/sh" not in reason
    assert "ended with status 127" in reason
    assert said in reason


def test_the_reason_ends_in_the_output_bounded_and_printable() -> None:
    output = Output(
        stdout=b"motd\n" * 5000 + b"come \x1b[31mback", stderr=b"\xff", exit_status=None
    )
    reason = not_started(output, "").reason
    assert reason.isprintable()
    assert reason.endswith("motd come \ufffd[31mback” and on stderr “\ufffd”")
    assert "with no exit status" in reason
    assert len(reason) < 800
    flood = not_started(
        Output(stdout=b"x" * 100, stderr=b"", exit_status=None, cut="stdout"), ""
    ).reason
    assert flood == "the host sent more on stdout than the limit, before it started our command"


def test_the_program_is_sent_once_after_the_whole_line_and_again_after_a_restart() -> None:
    dialogue = ReadyDialogue(b"program", Deadline.after(100), "hint")
    for heard in (b"", b"Welcome\n", b"Welcome\n" + READY[:-1]):
        assert (dialogue.next_input(heard, b""), dialogue.finished) == (b"", False)
    assert (dialogue.next_input(b"Welcome\n" + READY, b""), dialogue.finished) == (b"program", True)
    assert dialogue.next_input(b"Welcome\n" + READY, b"") == b""
    dialogue.start()
    assert (dialogue.next_input(b"", b""), dialogue.finished) == (b"", False)


def test_failures_of_the_connection_and_of_the_program_are_returned_unchanged() -> None:
    dialogue = ReadyDialogue(b"program", Deadline.after(0), "hint")
    for stage, transient in (("connect", False), ("execute", True)):
        failed = TransportError(stage, "broke off", hint="x", transient=transient)
        assert dialogue.explain_error(failed) is failed
    late = TransportError("execute", "late", hint="x")
    assert "not started in time" in dialogue.explain_error(late).reason
    dialogue.next_input(READY, b"")
    assert dialogue.explain_error(late) is late
    in_time = ReadyDialogue(b"program", Deadline.after(100), "hint")
    assert in_time.explain_error(late) is late
