"""What the tests of services share: services to ask for, and the real probe that asks them."""

from __future__ import annotations

from typing import Any

from fleetaudit.model import Service, ServiceCheck, ServiceResult
from fleetaudit.probe.request import service_call
from tests.support.probe_runs import request, run


def http(port: int, *checks: Any, **how: Any) -> Service:
    """Returns a service on a port of 127.0.0.1 that speaks HTTP, with these checks."""
    url = how.pop("url", f"http://127.0.0.1:{port}/")
    how.setdefault("name", f"port {port}")
    return Service(url=url, port=port, checks=checks, **how)


def plain(port: int, *checks: Any, **how: Any) -> Service:
    """Returns a service on a port of 127.0.0.1 of which no protocol is known."""
    return http(port, *checks, url="", **how)


def ask(*services: Service, deadline: float = 200.0, **how: Any) -> list[ServiceResult]:
    """Returns the results of services, from the program as it runs on a host."""
    call = request(deadline=deadline)
    call["services"] = [service_call(each) for each in services]
    return list(run(call, **how).services)


def check_of(result: ServiceResult, name: str) -> ServiceCheck:
    """Returns the result of one check."""
    assert not result.problem, result.problem
    (found,) = [each for each in result.checks if each.check == name]
    return found


def answered(check: ServiceCheck, writing: str = "") -> str:
    """Returns in how many of the tries of one way of writing the client got a status: "3 of 4"."""
    tries = [each for each in check.tries if each.writing == writing]
    got = sum(each.count for each in tries if each.status)
    return f"{got} of {sum(each.count for each in tries)}"
