"""Prints how real servers answer and close: `python -m tests.services.table`.

Each has its default configuration, except that it refuses large bodies (tests/support/servers.py).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from fleetaudit.model import WRITINGS, Service, ServiceResult, ServiceTry
from tests.support import servers
from tests.support.asked_services import answered, ask, check_of, http
from tests.support.servers import NoServersError

CHECKS = ("early answer", "idle", "pipelined", "unread request")
ROW = "{:28}" + "{:>24}" * 5 + "{:>12}{:>12}{:>10}"
IDLE_S = 90.0
COLUMNS = ("send, read", "attentive", "100-continue", "chunked", "half-close")


def ask_all(names: Iterable[str], **how: Any) -> dict[str, ServiceResult | NoServersError]:
    """Runs servers together, and returns what the probe says of each, or why there is none."""
    found = dict[str, ServiceResult | NoServersError]()
    asked = list[Service]()
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                port = _start(stack, name)
            except NoServersError as e:
                found[name] = e
            else:
                asked.append(http(port, *CHECKS, name=name, **how))
        results = ask(*asked, deadline=sum(each.longest_s for each in asked) + 60)
    return found | {result.name: result for result in results}


def ask_early(name: str, tries: int) -> ServiceResult:
    """Runs one server, and returns what the probe says of its early answer."""
    with contextlib.ExitStack() as stack:
        service = http(_start(stack, name), "early answer", name=name, tries=tries)
        (result,) = ask(service, deadline=service.longest_s + 60)
    return result


def _start(stack: contextlib.ExitStack, name: str) -> int:
    """Starts a server, and the one behind it; returns its port."""
    upstream = 0
    if name == "nginx in front":
        upstream = stack.enter_context(servers.running("Node.js, Connection: close"))
    return stack.enter_context(servers.running(name, upstream=upstream))


def row_of(name: str, result: ServiceResult | NoServersError) -> str:
    """Returns a server's line of the table."""
    if isinstance(result, NoServersError):
        return f"{name:28}not available: {result}"
    early = check_of(result, "early answer")
    cells = [f"{answered(early, name)} {_statuses(early.tries, name)}" for name in WRITINGS]
    (idle,) = check_of(result, "idle").tries
    closes = [check_of(result, name).tries for name in ("pipelined", "unread request")]
    endings = [",".join(dict.fromkeys(each.ending for each in tries)) for tries in closes]
    return ROW.format(name, *cells, f"{idle.seconds:.1f} {idle.ending}", *endings)


def _statuses(tries: tuple[ServiceTry, ...], writing: str) -> str:
    """Returns the statuses that clients got by one way of writing, with their numbers if they
    differ.
    """
    found = Counter[int]()
    for each in tries:
        if each.writing == writing and each.status:
            found[each.status] += each.count
    if len(found) < 2:
        return "".join(map(str, found))
    return ", ".join(f"{status} {count}x" for status, count in sorted(found.items()))


def main() -> None:
    """Prints the table."""
    print(ROW.format("server", *COLUMNS, "idle s", "pipelined", "unread"))
    for name, result in ask_all(servers.SERVERS, idle_at_most=IDLE_S).items():
        print(row_of(name, result))


if __name__ == "__main__":
    main()
