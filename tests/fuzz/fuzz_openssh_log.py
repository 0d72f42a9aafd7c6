"""The log of ssh, and what sudo and su print: `transport.openssh_log`, `sudo_errors`, `become`.

Every log gives an output or a `TransportError` with a printable reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from fleetaudit.errors import TransportError
    from fleetaudit.model import Become, Secret, SshTarget
    from fleetaudit.transport import Deadline, Output, ignore_stage
    from fleetaudit.transport.become import BecomeDialogue
    from fleetaudit.transport.child import ChildResult
    from fleetaudit.transport.openssh_log import Login, StageMarks, check_result

TARGET = SshTarget(address="192.0.2.1", user="audit", client="openssh")
LOGIN = Login(TARGET, frozenset({"/home/audit/.ssh/id"}), "ssh audit@192.0.2.1")
PASSWORD = "correct-horse-battery"
WORDS = (
    "debug1: ", "Connection refused", "Permission denied (publickey,password).", "Host key",
    "Authenticated to ", "Server host key: ssh-ed25519 SHA256:", "No route to host", "@@@@@@@@@@@",
    "REMOTE HOST IDENTIFICATION HAS CHANGED", "kex_exchange_identification: ", "Offending ",
    "Connection closed by ", "Load key ", "open failed: ", "exec request failed on channel 0",
    "[sudo] password", "Sorry, try again.", "is not in the sudoers file", "su: ", "doas: ",
    "Transferred: ", "Bytes per second: ", "\r\n", "known_hosts:1",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Explains a log, as the end of ssh, and as what sudo printed."""
    status, in_time, log = data[:1], data[1:2] < b"\xf0", data[2:]
    marks = list[str]()
    StageMarks(TARGET, lambda stage, found: marks.append(f"{stage} {found}")).read(log)
    assert all(map(str.isprintable, marks))
    output = Output(stdout=b"", stderr=log[:500], exit_status=255 if status > b"\x20" else 1)
    try:
        check_result(ChildResult(output=output, in_time=in_time, log=log), LOGIN)
    except TransportError as e:
        assert e.reason.isprintable(), ascii(e.reason)
        assert len(e.reason) < 4000
        assert "\n" not in e.hint
    _become(log)


def _become(printed: bytes) -> None:
    """Answers prompts in what was printed, and explains the end."""
    become = Become(password=Secret(PASSWORD))
    dialogue = BecomeDialogue(become, "true", b"program", ignore_stage)
    dialogue.start()
    for end in range(0, len(printed) + 1, max(1, len(printed) // 8)):
        dialogue.next_input(b"", printed[:end])
        dialogue.read_deadline(Deadline.after(1))
    try:
        dialogue.check_output(Output(stdout=b"", stderr=printed, exit_status=1))
    except TransportError as e:
        assert e.reason.isprintable(), ascii(e.reason)
        assert PASSWORD not in e.reason


def seeds() -> Iterable[bytes]:
    """Yields logs that end in each stage."""
    for word in WORDS:
        text = word if isinstance(word, str) else word.decode()
        yield b"\xff\0debug1: Connecting to h [192.0.2.1] port 22.\r\n" + text.encode() + b"\r\n"
    yield b'\xff\0debug1: Authenticated to h ([192.0.2.1]:22) using "publickey".\r\n'


if __name__ == "__main__":
    fuzz(TestOneInput)
