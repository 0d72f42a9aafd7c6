"""A fleet that was watched and whose services were asked: some reset, some lose answers."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from fleetaudit.model import (
    Audited,
    AuditRun,
    Finding,
    Segment,
    ServiceCheck,
    ServiceResult,
    ServiceTry,
    Watched,
)
from tests.support.runs import K510, K612, K618, Fleet, exposure_of, run_of
from tests.support.service_results import early, idle, service
from tests.support.watches import CURL, HAPROXY, NGINX, NOT_ROOT, owner, resets, unread, watched

HOSTS = 12
KERNELS = (K510, K612, K618)
LOST = ServiceTry(
    writing="send all, then read",
    count=3,
    ending="RST",
    sent=2_000_000,
    error="send: Connection reset by peer",
)
GOT = ServiceTry(writing="Expect: 100-continue", count=4, status=413, ending="FIN")
SEGMENTS: tuple[Segment, ...] = (
    Segment(at_us=0, sender="peer", flags="S", seq=0, ack=0, length=0),
    Segment(at_us=20, sender="closer", flags="S.", seq=0, ack=1, length=0),
    Segment(at_us=40, sender="peer", flags=".", seq=1, ack=1, length=0),
    Segment(at_us=60, sender="peer", flags="P.", seq=1, ack=1, length=65_483),
    Segment(at_us=90, sender="closer", flags="P.", seq=1, ack=20_000, length=180),
    Segment(at_us=95, sender="closer", flags="F.", seq=181, ack=20_000, length=0),
    Segment(at_us=99, sender="closer", flags="R", seq=182, ack=0, length=0),
)


def host_watch(number: int) -> Watched:
    """Returns what was seen on a host: the last one could not be watched."""
    if number == HOSTS - 1:
        return NOT_ROOT
    if number % 2:
        inside = replace(owner(HAPROXY, unit="pod1234"), namespace="net:[4026532299]")
        found = watched(
            resets(40 + number),
            resets(3, port=80, reason="linger 0", of=owner(NGINX, unit="nginx.service")),
            resets(2, of=inside),
        )
        return replace(found, aborts_on_close=40 + number, unread=(unread(3),))
    return replace(watched(resets(port=0, reason="keepalive", of=owner(CURL))), aborts_on_close=0)


def host_services() -> tuple[ServiceResult, ...]:
    """Returns three services: one loses answers, one does not, one could not be asked."""
    answers = early(LOST, replace(LOST, count=1, status=413, ending="FIN", error=""), GOT)
    upload = service(answers, idle(5.0), name="upload")
    checks = (replace(upload.checks[0], wire=SEGMENTS), upload.checks[1])
    ending = ServiceCheck(check="unread request", tries=(ServiceTry(count=4, ending="RST"),))
    return (
        replace(upload, checks=checks, executable=HAPROXY, unit="haproxy.service"),
        service(early(), idle(75.0), ending, name="front", server="nginx/1.26.3"),
        ServiceResult(name="admin", target="127.0.0.1:9000", problem="refused", hint="ss -ltnp"),
    )


FINDINGS = (
    Finding(
        id="service:upload/early answer",
        severity="warning",
        expected="413 for every client",
        observed="1 of 4 clients that send all, then read got 413 (3 got a reset)",
    ),
    Finding(
        id="service:upload/idle",
        severity="error",
        expected="open for at least 61 s",
        observed="closed after 5 s with FIN",
    ),
)
EXPECTATIONS = (
    "service:upload/early answer",
    "service:upload/idle",
    "service:front/early answer",
    "service:front/idle",
)


def culprits(hosts: int = HOSTS) -> Iterator[Audited]:
    """Yields hosts that were watched; the first six of each dozen had services to ask."""
    fleet = Fleet()
    for n in range(hosts):
        name = f"web{n:02}.example.net"
        host = fleet.host(name, KERNELS[n % 3], exposure=exposure_of(n, 4000, n % 3))
        host = replace(host, watch=host_watch(n % HOSTS))
        if n % HOSTS < HOSTS // 2:
            host = replace(
                host,
                services=host_services(),
                findings=(*host.findings, *FINDINGS),
                expectations=(*host.expectations, *EXPECTATIONS),
            )
        yield host


def culprit_run(hosts: int = HOSTS) -> AuditRun:
    """Returns the run of these hosts."""
    return run_of(culprits(hosts))


EVIL = "<img src=x onerror=alert(1)>\"'&\u202e\u200b"
LONG = "n" * 200


def hostile_run() -> AuditRun:
    """Returns a run whose hosts chose every text that they can choose: markup, bidi, long words."""
    fleet, hosts = Fleet(), list[Audited]()
    path = f"/opt/{EVIL}/{LONG}"
    of = replace(owner(path, unit=f"{EVIL}{LONG}"), namespace=EVIL)
    for n, text in enumerate((EVIL, LONG, f"{EVIL} {LONG}")):
        seen = watched(resets(5, of=of), resets(2, reason=text), resets(1, port=0, of=owner(text)))
        seen = replace(seen, unread=(unread(1, of=of),), notes=(text, f"{text} {n}"))
        tried = ServiceTry(writing="chunked", count=1, ending="RST", error=text)
        checks = (early(tried), ServiceCheck(check="pipelined", problem=text, hint=text))
        upload = service(*checks, name=f"up {n}", server=text)
        upload = replace(upload, executable=path, unit=text, target=f"http://[::1]:8080/{LONG}")
        host = fleet.host(f"web{n}", K612)
        hosts.append(replace(host, watch=seen, services=(upload,)))
    failed = fleet.host("down", K510)
    hosts.append(replace(failed, watch=Watched(problem=f"{EVIL} {LONG}", hint=f"cat {EVIL}{LONG}")))
    return run_of(hosts)
