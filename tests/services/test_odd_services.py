"""Services that misbehave cost the probe a bounded time and memory, and no other service."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleetaudit.model import WRITINGS, Service
from fleetaudit.probe.request import service_call
from tests.support import odd_services, probe_runs
from tests.support.asked_services import answered, ask, check_of, http, plain
from tests.support.odd_services import serving

BODY = 8_000_000
ALL = ("early answer", "pipelined", "unread request", "idle")
EARLY = "early answer"
BLIND = "send all, then read"


def test_a_service_that_reads_all_and_never_answers_is_given_up() -> None:
    began = time.monotonic()
    with serving(odd_services.discard) as port:
        (result,) = ask(http(port, *ALL, body=BODY, idle_at_most=30))
    assert time.monotonic() - began < 75
    early = check_of(result, EARLY)
    counts = {each.writing: each.count for each in early.tries}
    assert counts == {**dict.fromkeys(WRITINGS, 1), "half-close": 4}
    assert {each.status for each in early.tries} == {0}
    errors = {each.writing: (each.error, each.ending) for each in early.tries}
    assert errors.pop("half-close") == ("the connection ended without an answer", "FIN")
    assert set(errors.values()) == {("no answer came in time", "open")}
    (idle,) = check_of(result, "idle").tries
    assert (idle.ending, idle.seconds, idle.error) == ("open", None, "no answer came in time")


def test_an_idle_connection_is_timed_while_another_service_lets_its_client_wait() -> None:
    keeping = odd_services.KeepAlive(1.0)
    with serving(keeping) as port, serving(odd_services.never_read) as silent:
        url = f"https://127.0.0.1:{silent}/"
        first, second = ask(http(port, "idle"), http(silent, "idle", url=url))
    assert "TLS" in second.problem
    (idle,) = check_of(first, "idle").tries
    assert idle.ending == "FIN"
    assert idle.seconds is not None
    assert 0.9 <= idle.seconds <= 3


def test_a_service_that_reads_nothing_is_given_up() -> None:
    with serving(odd_services.never_read) as port:
        (result,) = ask(http(port, EARLY, body=100_000_000, writings=(BLIND,)))
    (early,) = check_of(result, EARLY).tries
    assert (early.count, early.status, early.ending) == (1, 0, "open")
    assert early.error == "send: the service reads no more"
    assert 0 < early.sent < 100_000_000


def test_a_service_that_resets_at_once_loses_every_request() -> None:
    with serving(odd_services.reset_at_accept) as port:
        (result,) = ask(http(port, *ALL, body=BODY, tries=3))
    for name in ALL:
        assert {each.ending for each in check_of(result, name).tries} == {"RST"}
    assert answered(check_of(result, EARLY), BLIND) == "0 of 3"


def test_an_answer_that_is_no_http_is_no_answer() -> None:
    with serving(odd_services.garbage) as port:
        (result,) = ask(http(port, EARLY, "pipelined", body=10, tries=2))
    for each in (*check_of(result, EARLY).tries, *check_of(result, "pipelined").tries):
        assert (each.status, each.error) == (0, "the answer is not HTTP/1")


@pytest.mark.parametrize(
    "behaviour",
    [odd_services.endless_head, odd_services.endless_body, odd_services.endless_interim],
)
def test_an_answer_without_an_end_costs_a_bounded_time(behaviour: odd_services.Behaviour) -> None:
    began = time.monotonic()
    with serving(behaviour) as port:
        (result,) = ask(http(port, *ALL, body=10, tries=1, idle_at_most=20))
    assert time.monotonic() - began < 75
    status = 0 if behaviour is odd_services.endless_interim else 200
    assert {each.status for each in check_of(result, EARLY).tries} == {status}
    (idle,) = check_of(result, "idle").tries
    assert (idle.ending, "keeps sending" in idle.error) == ("open", True)


def test_an_answer_that_drips_is_waited_for_up_to_the_end_of_a_try() -> None:
    began = time.monotonic()
    with serving(odd_services.slow_drip) as port:
        (result,) = ask(http(port, EARLY, "idle", body=10, writings=(BLIND,), idle_at_most=3))
    assert time.monotonic() - began < 40
    (early,) = check_of(result, EARLY).tries
    assert (early.count, early.status, early.ending) == (1, 200, "open")
    (idle,) = check_of(result, "idle").tries
    assert (idle.ending, idle.error) == ("open", "the service keeps sending")


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    there = odd_services.Recorder()
    with serving(there) as port, serving(odd_services.Redirect(port)) as here:
        (result,) = ask(http(here, *ALL, body=10, tries=2, idle_at_most=1))
    assert {each.status for each in check_of(result, EARLY).tries} == {302}
    assert there.heads == []


def test_a_full_accept_queue_is_a_problem_of_the_service() -> None:
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        (result,) = ask(http(port, EARLY))
    assert result.problem == f"connecting to 127.0.0.1:{port} failed: ETIMEDOUT"


def test_a_port_without_a_listener_is_a_problem_with_a_hint() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen
        port = sock.getsockname()[1]
        (result,) = ask(http(port, *ALL, name="front door"))
    assert (result.name, result.checks) == ("front door", ())
    assert result.problem == f"nothing listens on 127.0.0.1:{port}"
    assert result.hint == "ss -ltnp"


@pytest.mark.parametrize("address", ["192.0.2.1", "8.8.8.8", "2001:db8::1", "example.org", ""])
def test_no_other_host_is_asked(address: str) -> None:
    (result,) = ask(http(80, *ALL, address=address))
    assert result.problem == f"{address} is no address of this host: no other host is asked"


def test_an_address_that_any_socket_may_bind_to_is_still_not_the_hosts_own() -> None:
    within = probe_runs.in_new_network("sysctl -qw net.ipv4.ip_nonlocal_bind=1")
    (result,) = ask(http(80, *ALL, address="192.0.2.1"), within=within)
    assert "no other host is asked" in result.problem


def test_another_address_of_the_host_is_asked() -> None:
    commands = ("ip address add 192.0.2.1/24 dev lo", "ip address add 192.0.2.2/24 dev lo")
    within = probe_runs.in_new_network(*commands)
    found = ask(*(http(80, "idle", address=f"192.0.2.{n}") for n in (1, 2)), within=within)
    problems = [f"nothing listens on 192.0.2.{n}:80" for n in (1, 2)]
    assert [each.problem for each in found] == problems


@pytest.mark.parametrize(
    ("url", "method"),
    [
        ("http://127.0.0.1/a b", "POST"),
        ("http://127.0.0.1/\r\nX: y", "POST"),
        ("http://user:secret@127.0.0.1/", "POST"),
        ("ftp://127.0.0.1/", "POST"),
        ("http://127.0.0.1/", "POST / HTTP/1.1\r\nX:"),
        ("http://127.0.0.1/", "POST\n"),
    ],
)
def test_a_request_that_would_be_two_is_refused(url: str, method: str) -> None:
    recorder = odd_services.Recorder()
    with serving(recorder) as port:
        (result,) = ask(http(port, *ALL, url=url, method=method))
    assert result.problem == "the URL or the method has characters that cannot be sent"
    assert recorder.heads == []


def test_what_is_sent() -> None:
    recorder = odd_services.Recorder()
    with serving(recorder) as port:
        service = http(
            port, *ALL, url="http://shop.example/a?b=1", body=10, tries=1, idle_at_most=1
        )
        (result,) = ask(service)
    assert result.server == "kept"
    firsts = [head.split(b"\r\n")[0].decode("latin-1") for head in recorder.heads]
    assert firsts[:6] == ["POST /a?b=1 HTTP/1.1"] * 5 + ["GET /a?b=1 HTTP/1.1"]
    assert firsts[7] == "GET /a?b=1 HTTP/1.1"
    assert re.fullmatch("ÿþfleetaudit: no request of any protocol", firsts[6])
    texts = [head.decode("latin-1") for head in recorder.heads[:5]]
    assert ["Transfer-Encoding: chunked" in text for text in texts] == [False] * 3 + [True, False]
    assert ["Content-Length: 10" in text for text in texts] == [True] * 3 + [False, True]
    assert ["Expect: 100-continue" in text for text in texts] == [False] * 2 + [True] + [False] * 2
    assert all("Host: shop.example\r\n" in text for text in texts)


def test_a_service_without_http_is_asked_what_it_can_be_asked() -> None:
    def echo(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\r\n")
        if sock.recv(100) == b"HELO":
            time.sleep(1)

    with serving(echo) as port:
        (result,) = ask(plain(port, *ALL, payload="HELO", tries=2, idle_at_most=2))
    assert check_of(result, EARLY).problem == "needs a service with a URL"
    assert check_of(result, "pipelined").problem == "needs a service with a URL"
    (unread,) = check_of(result, "unread request").tries
    assert (unread.count, unread.ending, unread.status, unread.sent) == (2, "open", 0, 4)
    (idle,) = check_of(result, "idle").tries
    assert (idle.ending, round(idle.seconds or 0)) == ("open", 2)


def test_a_service_that_closes_with_an_unread_request_resets() -> None:
    with serving(lambda sock: time.sleep(0.1)) as port:
        (result,) = ask(plain(port, "unread request", tries=3))
    check = check_of(result, "unread request")
    (unread,) = check.tries
    assert (unread.count, unread.ending, unread.error) == (3, "RST", "recv: ECONNRESET")
    ends = [segment.flags for segment in check.wire if segment.sender == "closer"]
    assert "R" in "".join(ends)


def test_a_pipelined_request_that_nobody_reads_resets() -> None:
    def answer_one(sock: socket.socket) -> None:
        odd_services.answer(sock)
        time.sleep(0.1)

    with serving(answer_one) as port:
        (result,) = ask(http(port, "pipelined"))
    (pipelined,) = check_of(result, "pipelined").tries
    assert (pipelined.count, pipelined.status, pipelined.ending) == (4, 413, "RST")


def test_idle_connections_are_waited_for_at_once() -> None:
    kinds = [odd_services.KeepAlive(seconds) for seconds in (1.0, 3.0, 4.0)]
    kinds.append(odd_services.KeepAlive(2.0, abort=True))
    began = time.monotonic()
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(kind)) for kind in kinds]
        found = ask(*(http(port, "idle", idle_at_most=30) for port in ports))
    assert time.monotonic() - began < 8
    seen = [check_of(result, "idle").tries[0] for result in found]
    assert [round(each.seconds or 0) for each in seen] == [1, 3, 4, 2]
    assert [each.ending for each in seen] == ["FIN", "FIN", "FIN", "RST"]


def test_what_was_seen_before_the_alarm_is_reported() -> None:
    with serving(odd_services.KeepAlive(60)) as port:
        service = http(port, EARLY, "idle", body=10, writings=(BLIND,), idle_at_most=120)
        (result,) = ask(service, deadline=12)
    assert answered(check_of(result, EARLY), BLIND) == "4 of 4"
    (idle,) = check_of(result, "idle").tries
    assert idle.ending == "open"
    assert 2 < (idle.seconds or 0) < 8


def test_a_body_is_never_held_in_memory() -> None:
    with serving(odd_services.discard) as port:
        service = http(port, EARLY, body=1_000_000_000, tries=1, writings=("chunked",))
        call = probe_runs.request(deadline=60)
        call["services"] = [service_call(service)]
        process = probe_runs.start(call)
        highest = 0
        while process.poll() is None:
            highest = max(highest, resident(process.pid))
            time.sleep(0.02)
        process.communicate()
    assert 1 << 20 < highest < 80 << 20


def resident(pid: int) -> int:
    """Returns how many bytes of memory a process has had at most, 0 if it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


@pytest.mark.parametrize("version", probe_runs.VERSIONS)
def test_every_python_sees_the_same(version: str) -> None:
    python = probe_runs.interpreter(version)
    with serving(odd_services.answer) as port:
        (result,) = ask(http(port, *ALL, body=BODY, tries=2, idle_at_most=2), python=python)
    early = check_of(result, EARLY)
    assert {(each.writing, each.status) for each in early.tries} == {
        (name, 413 if name in ("read while sending", "Expect: 100-continue") else 0)
        for name in WRITINGS
    }
    assert {each.ending for each in check_of(result, "unread request").tries} == {"FIN"}


def test_an_ordinary_user_asks_too_and_says_what_it_cannot_see() -> None:
    probe_runs.need_root()
    with serving(odd_services.answer) as port:
        service = http(port, EARLY, body=BODY, tries=2, writings=(BLIND,))
        (result,) = ask(service, before=probe_runs.AS_NOBODY, python="/usr/bin/python3")
    early = check_of(result, EARLY)
    assert answered(early, BLIND) == "0 of 2"
    assert (early.wire, result.executable) == ((), "")
    assert (
        early.wire_note == "a packet capture needs CAP_NET_RAW or user namespaces; set become: true"
    )


def own_address() -> str:
    """Returns an address of this machine that is not of its loopback; skips without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError as e:
            pytest.skip(f"needs an address other than the loopback: {e}")
        address: str = sock.getsockname()[0]
        return address


def test_on_another_address_of_the_host_segments_are_captured_too() -> None:
    address = own_address()
    with serving(odd_services.answer, address) as port:
        service = http(port, EARLY, address=address, body=BODY, writings=(BLIND,))
        (result,) = ask(service)
    early = check_of(result, EARLY)
    assert answered(early, BLIND) == "0 of 4"
    assert {"S", "S."} < {segment.flags for segment in early.wire}
    assert any("R" in segment.flags for segment in early.wire if segment.sender == "closer")


def test_without_the_array_module_there_is_no_capture() -> None:
    before = "import socket, sys\nsys.modules['array'] = None\n"
    with serving(odd_services.answer) as port:
        service = http(port, EARLY, body=BODY, writings=(BLIND,))
        (result,) = ask(service, before=before)
    early = check_of(result, EARLY)
    assert answered(early, BLIND) == "0 of 4"
    assert early.wire_note == "no packet socket: needs Python's array module"


def test_over_ipv6() -> None:
    with serving(odd_services.answer, "::1") as port:
        service = http(port, EARLY, address="::1", url=f"http://[::1]:{port}/", body=BODY)
        (result,) = ask(service)
    early = check_of(result, EARLY)
    assert answered(early, "read while sending") == "4 of 4"
    assert early.wire


class Tls:
    """A behaviour over TLS."""

    def __init__(self, folder: Path, behaviour: odd_services.Behaviour) -> None:
        self.names = list[str | None]()
        self.behaviour = behaviour
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.context.sni_callback = lambda sock, name, context: self.names.append(name)

    def __call__(self, sock: socket.socket) -> None:
        with self.context.wrap_socket(sock, server_side=True) as wrapped:
            self.behaviour(wrapped)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a certificate that nobody signed, and its key."""
    probe_runs.need_program("openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return folder


def over_tls(port: int, *checks: str, **how: object) -> Service:
    """Returns a service whose URL begins with https."""
    return http(port, *checks, url=f"https://shop.example:{port}/", **how)


def test_over_tls(certificate: Path) -> None:
    tls = Tls(certificate, odd_services.KeepAlive(2))
    with serving(tls) as port:
        (result,) = ask(over_tls(port, *ALL, body=100_000, tries=2, idle_at_most=9))
    assert set(tls.names) == {"shop.example"}
    early = check_of(result, EARLY)
    assert {each.status for each in early.tries} == {200}
    (idle,) = check_of(result, "idle").tries
    assert (round(idle.seconds or 0), idle.ending) == (2, "FIN")


def test_early_answers_over_tls(certificate: Path) -> None:
    with serving(Tls(certificate, odd_services.answer)) as port:
        (result,) = ask(over_tls(port, EARLY, body=BODY, tries=3))
    early = check_of(result, EARLY)
    assert answered(early, BLIND) == "0 of 3"
    assert answered(early, "Expect: 100-continue") == "3 of 3"


def test_a_service_that_speaks_no_tls_is_a_problem() -> None:
    with serving(odd_services.garbage) as port:
        (result,) = ask(over_tls(port, *ALL))
    assert result.problem.startswith(f"TLS with 127.0.0.1:{port} failed: ")


def test_a_name_that_tls_cannot_send_costs_no_other_service_its_result() -> None:
    with serving(odd_services.answer) as port:
        odd = http(port, *ALL, url="https://shop..example/", name="odd")
        found = ask(odd, http(port, EARLY, body=10, tries=1))
    assert found[0].problem
    assert {each.status for each in check_of(found[1], EARLY).tries} == {413}


def test_without_pythons_ssl_https_is_a_problem() -> None:
    before = "import sys\nsys.modules['ssl'] = None\n"
    with serving(odd_services.answer) as port:
        (result,) = ask(over_tls(port, *ALL), before=before)
    assert result.problem == "https needs Python's ssl module, which this host's Python lacks"
