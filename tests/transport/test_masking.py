"""A password that a host prints back: in no reason, and in nothing that is kept of its output."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fleetaudit.engine import EngineSettings, audit
from fleetaudit.errors import ReplyError, TransportError
from fleetaudit.model import (
    Become,
    HostPlan,
    LocalTarget,
    NotAudited,
    Plan,
    Secret,
    SshTarget,
)
from fleetaudit.probe import protocol
from fleetaudit.text.sanitize import printable_line, quote_line
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.masking import Masking
from fleetaudit.transport.registry import Transports
from tests.support.sshd import Start

# A sudo that asks with the prompt it is given, and then tells what it read, on the stream that is
# named.
TALKATIVE = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -p) prompt=$2; shift 2;; *) shift;; esac; done
printf %s "$prompt" >&2
read -r password
echo "debug: login: $password" >&2
echo "debug: $password again"
{then}
"""


def target(login: str | None = None, become: str | None = None) -> SshTarget:
    return SshTarget(
        address="h",
        password=Secret(login) if login is not None else None,
        become=Become(password=Secret(become)) if become is not None else None,
    )


def plan_of(one: SshTarget | LocalTarget) -> HostPlan:
    return HostPlan(
        name="h",
        groups=(),
        target=one,
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def error(reason: str) -> TransportError:
    return TransportError(
        "execute", reason, hint="ssh hunter2@h", transient=True, changed_key=("a", "b")
    )


def test_both_passwords_are_masked_and_the_rest_of_an_error_stays() -> None:
    masked = Masking(target("hunter2", "sesame")).error(error("it printed “hunter2, sesame”"))
    assert (masked.reason, masked.hint) == ("it printed “…, …”", "ssh hunter2@h")
    assert (masked.stage, masked.transient, masked.changed_key) == ("execute", True, ("a", "b"))


def test_an_error_without_a_password_is_returned_unchanged() -> None:
    for one in (target(), target("hunter2"), target("", " ")):
        assert Masking(one).error(said := error("nothing of that kind")) is said


@pytest.mark.parametrize(
    "secret", ["two  blanks", "tab\tand\x1bescape", "hunter2" * 60, "öäü€", "“quote”", "a.*b("]
)
def test_a_password_is_masked_whole_and_where_it_was_cut(secret: str) -> None:
    masking = Masking(target(secret, "hunter2"))
    for before in range(250, 301, 3):  # the end of what a reason carries comes anywhere in it
        reason = masking.error(error(quote_line("x" * before + " " + secret, "it printed "))).reason
        assert printable_line(secret)[:4] not in reason
    for start in range(1, len(secret) - 5, 7):  # and so does the beginning
        reason = masking.error(
            error(quote_line(secret[start:] + " and more", "it printed "))
        ).reason
        assert printable_line(secret[start:])[:40] not in reason


def test_a_short_password_is_masked_as_a_word_and_leaves_no_holes() -> None:
    reason = Masking(target("no")).error(error("unknown, and none: “no”")).reason
    assert reason == "unknown, and none: “…”"


def test_output_is_masked_before_it_is_cut_and_a_result_line_stays() -> None:
    line = protocol.REPLY_MARK + b'{"a": "hunter2"}\n'
    masked = Masking(target("hunter2")).output(
        Output(stdout=line, stderr=b"x\nhunter2\xff\n", exit_status=0)
    )
    assert (masked.stdout, masked.stderr) == (line, b"x\n\xe2\x80\xa6\xff\n")


@pytest.mark.parametrize(
    "then", ["exit 1", "exec sleep 30", "echo 'fleetaudit-shell/1 65534 nobody'", "kill -9 $$"]
)
def test_a_sudo_that_prints_the_password_is_reported_without_it(tmp_path: Path, then: str) -> None:
    program = tmp_path / "sudo"
    program.write_text(TALKATIVE.replace("{then}", then))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    become = Become(user="nobody", program=str(program), password=Secret("two  words"))
    host = plan_of(LocalTarget(become=become))
    results = list[object]()
    audit(
        Plan(playbooks=(), hosts=(host,)),
        run_command=Transports().run,
        settings=EngineSettings(host_deadline_s=3),
        judge=lambda audited, plan: audited,
        on_result=results.append,
    )
    (result,) = results
    assert isinstance(result, NotAudited)
    assert "words" not in result.reason, result.reason
    assert "[fleetaudit-" not in result.reason


def test_a_forced_command_that_prints_the_password_is_reported_without_it(
    start_sshd: Start,
) -> None:
    sshd = start_sshd("ForceCommand echo 'debug: hunter2 sesame' >&2")
    one = sshd.target(password=Secret("hunter2"), become=None)
    with pytest.raises(TransportError, match="debug: … sesame"):
        Transports().run(one, protocol.COMMAND, b"", Deadline.after(120), Limits())


@pytest.mark.parametrize("stream", ["", " >&2"])
def test_a_program_that_prints_the_password_is_reported_without_it(
    start_sshd: Start, stream: str
) -> None:
    sshd = start_sshd(
        f"ForceCommand echo 'fleetaudit-shell/1 0 root'; echo 'debug: hunter2 sesame'{stream}"
    )
    one = sshd.target(password=Secret("hunter2"), become=None)
    output = Transports().run(one, protocol.COMMAND, b"", Deadline.after(60), Limits())
    with pytest.raises(ReplyError, match="debug: … sesame"):
        protocol.decode_reply(plan_of(one), output.stdout, output.stderr, output.exit_status)
