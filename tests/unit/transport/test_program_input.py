"""What a command is sent after its ready line, and that nothing waits for what may never come."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import msgspec
import pytest

from fleetaudit.model import ProbeChoice
from fleetaudit.probe import offer as offers
from fleetaudit.probe.native_program import ARCHITECTURES
from fleetaudit.probe.offer import Offer, new_offer
from fleetaudit.transport import Deadline
from fleetaudit.transport.program_start import ReadyDialogue
from tests.support.probe_runs import plan_of

PLAN = plan_of("unread-close")
READY = b"fleetaudit-shell/2 0 root\n"
ELF = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0the rest"


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes a small program for the real ones, which need not be built."""
    monkeypatch.setattr(offers, "native_binary", lambda architecture: ELF + architecture.encode())
    _forget_programs()
    yield
    _forget_programs()


def _forget_programs() -> None:
    """Clears what is kept of the programs of another test."""
    offers.harmless_script.cache_clear()
    offers._compressed.cache_clear()


def offered(choice: ProbeChoice) -> Offer:
    target = msgspec.structs.replace(PLAN.target, probe=choice)
    return new_offer(msgspec.structs.replace(PLAN, target=target), deadline_s=60)


def dialogue(offer: Offer) -> ReadyDialogue:
    return ReadyDialogue(offer, Deadline.after(60), "")


def test_a_python_program_tells_its_length_and_stdin_stays_open() -> None:
    offer = offered("auto")
    one = dialogue(offer)
    sent = one.next_input(READY, b"")
    first, _, program = sent.partition(b"\n")
    assert int(first.removeprefix(b"#")) == len(program)
    assert program.endswith(b"\n#end\n")
    assert program.removesuffix(b"#end\n") == bytes(offer).partition(b"\n")[2]
    assert not one.finished


@pytest.mark.parametrize("choice", ["auto", "native"])
@pytest.mark.parametrize("tool", [b"cat", b"gzip -dc"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "armv7l", "s390x"])
def test_the_program_of_the_machine_follows_its_name_and_size(
    choice: ProbeChoice, tool: bytes, machine: str
) -> None:
    offer = offered(choice)
    one = dialogue(offer)
    first = one.next_input(READY, b"")
    assert (first == b"#native\n") == (choice == "native")
    assert one.next_input(READY + b"fleetaudit-native/1 ", b"") == b""
    line = b"fleetaudit-native/1 %b %b\n" % (machine.encode(), tool)
    assert one.next_input(READY + line[:-1], b"") == b""
    head, _, data = one.next_input(READY + line, b"").partition(b"\n")
    assert one.finished
    name, size = head.split()
    program = data if tool == b"cat" else gzip.decompress(data)
    assert (name.decode(), int(size)) == (offer.nonce, len(program))
    assert re.match(rb"\x7fELF\x02\x01\x01\0\0\nexit\n\0the rest", program)
    assert f"nonce\t{offer.nonce}\n".encode() in program
    assert program.rpartition(b"end ")[2].isascii()
    assert any(architecture.encode() in program for architecture in ARCHITECTURES)


@pytest.mark.parametrize(
    "line", [b"mips cat", b"", b" cat", b"x86_64", b"x86_64\x00 cat", b"\xff\xfe gzip -dc"]
)
def test_a_machine_without_a_program_is_sent_nothing_and_is_not_waited_for(line: bytes) -> None:
    one = dialogue(offered("native"))
    one.next_input(READY, b"")
    answer = one.next_input(READY + b"fleetaudit-native/1 " + line + b"\n", b"")
    assert (answer, one.finished) == (b"", True)


def test_the_reply_of_a_python_ends_stdin() -> None:
    one = dialogue(offered("auto"))
    one.next_input(READY, b"")
    assert one.next_input(READY + b"fleetaudit-python/1 127\nfleetaudit-pr", b"") == b""
    assert not one.finished
    assert one.next_input(READY + b"fleetaudit-python/1 127\nfleetaudit-probe/1 zlib:", b"") == b""
    assert one.finished


def test_only_a_line_near_the_ready_line_asks_for_a_program() -> None:
    one = dialogue(offered("auto"))
    one.next_input(READY, b"")
    much = READY + b"x" * 100_000
    assert (one.next_input(much, b""), one.finished) == (b"", True)
    assert one.next_input(much + b"\nfleetaudit-native/1 x86_64 cat\n", b"") == b""


@pytest.mark.parametrize("choice", ["auto", "python", "native"])
def test_the_command_of_an_earlier_version_gets_python_up_to_its_end(choice: ProbeChoice) -> None:
    offer = offered(choice)
    one = dialogue(offer)
    sent = one.next_input(READY.replace(b"/2", b"/1"), b"")
    assert one.finished
    assert sent == (b"" if choice == "native" else bytes(offer))


def test_a_connection_that_is_tried_again_begins_anew() -> None:
    one = dialogue(offered("native"))
    one.next_input(READY, b"")
    one.next_input(READY + b"fleetaudit-native/1 x86_64 cat\n", b"")
    one.start()
    assert not one.finished
    assert one.next_input(READY, b"") == b"#native\n"
