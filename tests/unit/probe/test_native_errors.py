"""Why a host that was to run the native probe has no reply: the kind, the reason, what to type."""

from __future__ import annotations

import msgspec
import pytest

from fleetaudit.errors import ReplyError
from fleetaudit.model import LocalTarget, ProbeChoice
from fleetaudit.probe import native_errors, protocol
from tests.support.replies import plan

READY = b"fleetaudit-shell/2 0 root\n"
ASKED = READY + b"fleetaudit-native/1 x86_64 gzip -dc\n"
UNKNOWN = READY + b"fleetaudit-native/1 %b cat\n"


def refused(
    stdout: bytes, status: int | None, stderr: bytes = b"", probe: ProbeChoice = "auto"
) -> ReplyError:
    host = msgspec.structs.replace(plan(), target=LocalTarget(probe=probe))
    with pytest.raises(ReplyError) as e:
        protocol.open_reply(host, stdout, stderr, status)
    assert e.value.reason.isprintable()
    return e.value


@pytest.fixture(autouse=True)
def _built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_errors, "has_native", lambda architecture: architecture == "x86_64")


@pytest.mark.parametrize(
    ("stdout", "status", "kind", "words"),
    [
        (UNKNOWN % b"mips", 88, "machine not supported", "for the machine “mips”"),
        (UNKNOWN % b"\x1b[2J\xff", 88, "machine not supported", "for the machine “"),
        (UNKNOWN % b"aarch64", 88, "no python", "the native probe for aarch64 is not built"),
        (ASKED, 88, "transfer cut short", "did not arrive whole"),
        (ASKED, 126, "program not executable", "for x86_64, which is what `uname -m` prints"),
        (ASKED, 127, "program not executable", "for x86_64, which is what `uname -m` prints"),
        (ASKED, 137, "command failed", "was killed by a signal"),
        (ASKED, 87, "no executable folder", "even for a moment"),
        (
            ASKED + b"fleetaudit-folders/1 /dev/shm:execute /run:create /tmp:fill /x\x1b:\xff y\n",
            87,
            "no executable folder",
            "/dev/shm (execution is not allowed); /run (no file can be created); /tmp (there is no"
            " room); ",
        ),
    ],
)
def test_each_cause_has_a_kind_a_reason_and_a_next_command(
    stdout: bytes, status: int, kind: str, words: str
) -> None:
    error = refused(stdout, status, b"sh: something\x1b[2J\n")
    assert (error.stage, error.kind) == ("execute", kind)
    assert words in error.reason
    assert error.hint


@pytest.mark.parametrize(
    ("found", "words", "hint"),
    [
        ("/proc:find", "/proc (is not mounted)", "mount -t proc proc /proc"),
        ("rm:run", "rm (does not work)", "rm -f /nothing"),
        ("/tmp:fill", "/tmp (there is no room)", "mount -o remount,exec /dev/shm"),
    ],
)
def test_the_next_command_is_for_what_is_at_fault(found: str, words: str, hint: str) -> None:
    error = refused(ASKED + b"fleetaudit-folders/1 %b\n" % found.encode(), 87)
    assert error.reason.endswith(f"even for a moment: {words}")
    assert error.hint.endswith(hint)


def test_what_the_program_itself_says_is_quoted() -> None:
    error = refused(ASKED, 2, b"the request is not whole\n")
    assert error.kind == "command failed"
    assert "ended with status 2" in error.reason
    assert "“the request is not whole”" in error.reason
    assert "fleetaudit-native" not in error.reason


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("auto", "no Python from 2.7 on that works, and there is no native probe"),
        ("native", "no Python is tried (fleetaudit_probe: native), and there is no native probe"),
    ],
)
def test_the_reason_says_why_no_python_ran(probe: ProbeChoice, words: str) -> None:
    assert refused(UNKNOWN % b"mips", 88, probe=probe).reason.startswith(words)


@pytest.mark.parametrize(
    ("probe", "status", "kind", "hint"),
    [
        ("auto", 86, "no python", "replace its forced command"),
        ("native", 0, "command refused", "replace its forced command"),
        ("python", 86, "no python", "fleetaudit_probe: auto"),
    ],
)
def test_a_forced_command_of_an_earlier_version_is_named(
    probe: ProbeChoice, status: int, kind: str, hint: str
) -> None:
    error = refused(READY.replace(b"/2", b"/1"), status, probe=probe)
    assert error.kind == kind
    assert hint in error.hint
