"""Made-up results of services, and hosts that have them."""

from __future__ import annotations

from msgspec import UNSET

from fleetaudit.model import Audited, Kernel, ServiceCheck, ServiceResult, ServiceTry

URL = "http://127.0.0.1:8080/upload"


def service(*checks: ServiceCheck, name: str = "upload", server: str = "") -> ServiceResult:
    """Returns the result of a service with these checks; those of one name are joined."""
    joined = dict[str, ServiceCheck]()
    for check in checks:
        before = joined.get(check.check)
        tries = (*before.tries, *check.tries) if before else check.tries
        joined[check.check] = ServiceCheck(
            check=check.check, tries=tries, problem=check.problem, hint=check.hint
        )
    return ServiceResult(name=name, target=URL, server=server, checks=tuple(joined.values()))


def early(*tries: ServiceTry, status: int = 413, count: int = 4) -> ServiceCheck:
    """Returns the check "early answer" with these tries, or with `count` of one kind."""
    plain = ServiceTry(
        writing="send all, then read",
        count=count,
        status=status,
        ending="FIN" if status else "RST",
        sent=1_000_000,
    )
    return ServiceCheck(check="early answer", tries=tries or (plain,))


def idle(seconds: float | None) -> ServiceCheck:
    """Returns the check "idle" of a server that closed after so many seconds, None: never."""
    tried = ServiceTry(status=200, ending="open" if seconds is None else "FIN", seconds=seconds)
    return ServiceCheck(check="idle", tries=(tried,))


def asked(host: str, *services: ServiceResult) -> Audited:
    """Returns an audited host with these services; without any it was asked for none."""
    return Audited(
        name=host,
        kernel=Kernel(release="6.12.1", version="#1", machine="x86_64"),
        isolation="namespace",
        services=services or UNSET,
    )
