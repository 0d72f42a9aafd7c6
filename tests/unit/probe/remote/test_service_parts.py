"""Parts of the probe that ask services: what is sent, and what is made of an answer."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model.service import SERVICE_BUDGET_S
from fleetaudit.probe.remote import service_early, service_http, service_listener, services
from fleetaudit.probe.remote.constants import PATTERN
from fleetaudit.probe.remote.service_target import (
    CannotAsk,
    Target,
    is_own_address,
    server_name,
)

CONTINUE = b"HTTP/1.1 100 Continue\r\nServer: early\r\n\r\n"
REFUSED = b"HTTP/1.1 413 No\r\nServer: nginx/1.22.1\r\nConnection: close\r\n\r\nServer: x"


def whole(body: service_early.Body, step: int) -> bytes:
    """Returns all of a body, of which at most `step` bytes are sent at once."""
    sent = b""
    while piece := body.piece(len(sent)):
        sent += piece[:step]
    return sent


def unchunked(data: bytes) -> bytes:
    """Returns what the chunks of RFC 9112, section 7.1, contain."""
    found = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert rest == b"\r\n"
            return found
        found += rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        data = rest[length + 2 :]


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 50000, 65536])
@pytest.mark.parametrize("step", [1000, 16384, 1 << 20])
def test_a_body_has_its_size_however_it_is_sent(size: int, step: int) -> None:
    plain = whole(service_early.Body(size, False), step)
    assert len(plain) == size
    assert plain[:16384] == PATTERN[: min(size, 16384)]
    assert len(unchunked(whole(service_early.Body(size, True), step))) == size


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"", 0),
        (b"HTTP/1.1 41", 0),
        (b"HTTP/1.1 413", 413),
        (REFUSED, 413),
        (CONTINUE, 0),
        (CONTINUE[:20], 0),
        (CONTINUE + b"HTTP/1.1 103 Early Hints\r\n\r\n" + REFUSED, 413),
        (b"HTTP/1.0 200 OK\n\n", 200),
        (b"HTTP/2 200\r\n\r\n", 0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 0),
    ],
)
def test_the_status_is_that_of_the_final_answer(received: bytes, status: int) -> None:
    assert service_http.status_of(received) == status


@pytest.mark.parametrize(
    ("received", "is_garbage"),
    [
        (b"", False),
        (b"HTT", False),
        (b"HTTP/1.1 ", False),
        (b"HTTP/1.1 413 No", False),
        (b"HTTP/1.1 what is this", True),
        (b"\x15\x03\x01", True),
        (b"SSH-2.0", True),
    ],
)
def test_garbage_is_what_no_answer_begins_with(received: bytes, is_garbage: bool) -> None:
    assert service_http.is_garbage(received) is is_garbage


@given(st.binary(max_size=300))
def test_any_bytes_have_a_status_and_a_server(received: bytes) -> None:
    for data in (received, REFUSED[:15] + received, CONTINUE + received):
        assert 0 <= service_http.status_of(data) <= 999
        assert len(service_http.server_of(data)) <= 200
        service_http.is_garbage(data)
        service_http.says_close(data)


def test_the_server_is_that_of_the_head_of_the_final_answer() -> None:
    assert service_http.server_of(CONTINUE + REFUSED) == "nginx/1.22.1"
    assert service_http.server_of(b"HTTP/1.1 200 OK\r\n\r\nServer: body") == ""
    assert service_http.server_of(b"HTTP/1.1 200 OK\r\nSERVER:  \xff \r\n\r\n") == "\ufffd"
    assert service_http.says_close(REFUSED)
    assert not service_http.says_close(b"HTTP/1.1 200 OK\r\n\r\nConnection: close\r\n")


def test_equal_tries_are_one_with_the_smallest_number_of_bytes() -> None:
    one = {"writing": "", "status": 413, "unread_status": 0, "ending": "FIN", "error": ""}
    tries = [{**one, "sent": 9}, {**one, "ending": "RST", "sent": 1}, {**one, "sent": 7}]
    assert services.fold_tries(tries) == [
        {**one, "sent": 7, "count": 2},
        {**one, "ending": "RST", "sent": 1, "count": 1},
    ]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("shop.example:8443", "shop.example"),
        ("localhost", "localhost"),
        ("127.0.0.1:80", None),
        ("[::1]:443", None),
    ],
)
def test_tls_names_no_address(host: str, name: str | None) -> None:
    assert server_name(host) == name


def asked(**how: object) -> dict[str, object]:
    return {"address": "127.0.0.1", "port": 80, "url": "", "method": "POST", **how}


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("http://127.0.0.1:80/a?b=%20", "127.0.0.1:80", "/a?b=%20"),
        ("http://[::1]", "[::1]", "/"),
        ("http://a-b.example", "a-b.example", "/"),
    ],
)
def test_a_url_has_a_host_and_a_path(url: str, host: str, path: str) -> None:
    target = Target(asked(url=url))
    assert (target.host, target.path, target.where()) == (host, path, "127.0.0.1:80")


@pytest.mark.parametrize("url", ["http://", "http:///x", "http://a/b c", "http://a/\n", "x://a/"])
def test_a_url_that_cannot_be_sent_is_refused(url: str) -> None:
    with pytest.raises(CannotAsk):
        Target(asked(url=url))


def test_listeners_accept_for_an_address_that_are_bound_to_it_or_to_all() -> None:
    assert service_listener.accepting_addresses("127.0.0.1", 80) == [
        b"0100007F:0050",
        b"0000000000000000FFFF00000100007F:0050",
        b"00000000:0050",
        b"00000000000000000000000000000000:0050",
    ]
    assert service_listener.accepting_addresses("::1", 443)[1:] == [
        b"00000000000000000000000000000000:01BB"
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "::1"])
def test_the_loopback_is_the_hosts_own(address: str) -> None:
    assert is_own_address(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@pytest.mark.parametrize("address", ["localhost", "127.1", "127.0.0.1\n", "127.0.0.1 ", "::1", ""])
def test_a_name_is_no_address(address: str) -> None:
    assert not is_own_address(socket.AF_INET, address)


def test_the_time_of_a_service_is_the_one_that_the_plan_counts_with() -> None:
    assert services.SERVICE_S == SERVICE_BUDGET_S
