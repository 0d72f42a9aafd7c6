"""Finding a socket by sock_diag(7) and in the tables of /proc/net."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

import pytest

from fleetaudit.probe.remote import proc_net
from fleetaudit.probe.remote.constants import CLOSE_WAIT, GONE, LISTEN, MAX_WORD
from fleetaudit.probe.remote.proc_net import NO_SOCKET
from fleetaudit.probe.remote.sock_diag import diag_request, parse_answer

NEAR = (int(socket.AF_INET), "127.0.0.1", 40001)
FAR = (int(socket.AF_INET), "127.0.0.1", 80)


def word(address: bytes) -> str:
    """Returns 32 bits of an address as this machine prints them."""
    return f"{struct.unpack('=I', address)[0]:08X}"


def line(state: str = "08", queues: str = "00000010:00000005", timer: str = "00:00000000") -> bytes:
    address = word(b"\x7f\0\0\1")
    return f"   1: {address}:9C41 {address}:0050 {state} {queues} {timer} 00000000 0".encode()


def find(monkeypatch: pytest.MonkeyPatch, lines: Iterable[bytes], seconds: float = 10) -> object:
    def file_lines(path: str) -> Iterator[bytes]:
        assert path == "/proc/net/tcp"
        return iter(lines)

    monkeypatch.setattr(proc_net, "file_lines", file_lines)
    return proc_net.find_listed(NEAR, FAR, seconds)


def test_an_address_is_written_as_the_kernel_writes_it() -> None:
    assert proc_net.table_address(NEAR) == f"{word(bytes([127, 0, 0, 1]))}:9C41".encode()
    loopback = (int(socket.AF_INET6), "::1", 80)
    expected = f"{word(bytes(4)) * 3}{word(bytes([0, 0, 0, 1]))}:0050"
    assert proc_net.table_address(loopback) == expected.encode()


def test_a_listed_socket_has_a_state_and_two_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(monkeypatch, [b"  sl  local_address", line()]) == (CLOSE_WAIT, 16, 5)


def test_a_socket_that_is_not_listed_or_in_time_wait_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find(monkeypatch, []) == NO_SOCKET
    assert find(monkeypatch, [line(timer="03:00000100")]) == NO_SOCKET


def test_the_reverse_direction_is_another_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    address = word(b"\x7f\0\0\1")
    other = f"   1: {address}:0050 {address}:9C41 08 00000000:00000000 00:00000000 0".encode()
    assert find(monkeypatch, [other]) == NO_SOCKET


@pytest.mark.parametrize("state", ["0E", "-1", "zz"])
def test_a_state_that_linux_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    with pytest.raises(ValueError, match=r"."):
        find(monkeypatch, [line(state=state)])


def test_a_table_that_takes_too_long_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(monkeypatch, [b"x"] * 600, seconds=-1) is None


def answer(state: int = CLOSE_WAIT, timer: int = 0, unread: int = 5, unsent: int = 16) -> bytes:
    """Returns a struct nlmsghdr and a struct inet_diag_msg (linux/inet_diag.h)."""
    message = struct.pack("=BBBB", socket.AF_INET, state, timer, 0) + b"\0" * 48
    message += struct.pack("=IIIII", 0, unread, unsent, 0, 0)
    return struct.pack("=IHHII", 16 + len(message), 20, 0, 1, 0) + message


def test_an_answer_of_sock_diag_has_the_same_three_numbers() -> None:
    assert len(answer()) == 16 + 72
    assert parse_answer(answer()) == (CLOSE_WAIT, 16, 5)


@pytest.mark.parametrize("odd", [answer(timer=3), answer(state=LISTEN)])
def test_an_answer_of_a_listener_or_of_time_wait_is_no_socket(odd: bytes) -> None:
    assert parse_answer(odd) == (GONE, 0, 0)


def test_an_answer_that_is_too_short_is_refused() -> None:
    with pytest.raises(OSError, match="sock_diag"):
        parse_answer(answer()[:79])


def test_a_request_names_both_ends_and_no_cookie() -> None:
    request = diag_request(NEAR, FAR)
    assert len(request) == 56  # struct inet_diag_req_v2
    assert request[:2] == bytes([socket.AF_INET, socket.IPPROTO_TCP])
    assert struct.unpack_from("!HH", request, 8) == (40001, 80)
    assert request[12:16] == request[28:32] == bytes([127, 0, 0, 1])
    assert struct.unpack_from("=III", request, 44) == (0, MAX_WORD, MAX_WORD)
