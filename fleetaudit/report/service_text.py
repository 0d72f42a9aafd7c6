"""How services answer and close, as text for a terminal: over the fleet, and on one host.

Rules: pure, and plain text; text from hosts passes `terminal_line`. Services that lose answers come
first. Rows that are not shown are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import attrgetter

from fleetaudit.analysis.services import CheckRow, NotAsked, ServiceRow, ServiceTable, service_table
from fleetaudit.model import SERVICE_CHECKS, Audited, ServiceCheckName
from fleetaudit.text.phrases import count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .text_lines import command_line, join_hosts, rest_line, wrap

MOST_ROWS = 12
MOST_SERVER = 80
_DETAIL = "      "


def service_lines(table: ServiceTable, width: int) -> list[str]:
    """Returns how the services of the fleet answer and close; [] if none were to be asked."""
    if not table.asked:
        return []
    lines = wrap([f"Services: {_headline(table)}"], width)
    for row in table.rows[:MOST_ROWS]:
        lines += _row_lines(row, width)
    lines += rest_line(len(table.rows) - MOST_ROWS, "more row")
    for problem in table.not_asked[:MOST_ROWS]:
        lines += _problem_lines(problem, width)
    return lines + rest_line(len(table.not_asked) - MOST_ROWS, "more reason")


def host_service_lines(host: Audited, width: int) -> list[str]:
    """Returns how the services of one host answer and close, with the cures of their servers.

    [] if none were to be asked.
    """
    table = service_table([host])
    lines = service_lines(table, width)
    cures = chain.from_iterable(map(attrgetter("cures"), table.rows))
    for cure in dict.fromkeys(cures):
        subject = surround("", cure.product, ", ")
        lines += wrap([f"{subject}{cure.check}: {cure.text}."], width, "  ")
        lines += [f"{_DETAIL}{source}" for source in cure.sources]
    return lines


def _headline(table: ServiceTable) -> str:
    """Returns how many clients lost their answer, and on how many hosts services were asked."""
    hosts = count_noun(table.asked, "host")
    if not table.tries:
        return f"no client asked for an answer on {hosts}."
    return f"{table.lost:,} of {count_noun(table.tries, 'client')} lost the answer, on {hosts}."


def _row_lines(row: ServiceRow, width: int) -> list[str]:
    """Returns a service with its server and its hosts, then a line for each of its checks."""
    server = terminal_line(row.server or row.executable or "unknown server", MOST_SERVER)
    title = f"{terminal_line(row.service)} ({server}): {join_hosts(row.hosts)}"
    details = (_check_text(name, row.of(name)) for name in SERVICE_CHECKS)
    return [*wrap([title], width, "  "), *wrap(details, width, _DETAIL)]


def _check_text(name: ServiceCheckName, rows: tuple[CheckRow, ...]) -> str:
    """Returns one check of a service, with each way of writing; "" if it was not made."""
    seen = [f"{surround('', row.writing, ': ')}{row}" for row in rows]
    return surround(f"{name}:  ", terminal_line("; ".join(seen)))


def _problem_lines(problem: NotAsked, width: int) -> Iterator[str]:
    """Yields what could not be asked, why, and the next command to type."""
    check = surround(", ", terminal_line(problem.check))
    subject = f"{terminal_line(problem.service)}{check}: {join_hosts(problem.hosts)}"
    yield from wrap([f"not asked: {subject}: {terminal_line(problem.problem, 400)}"], width, "  ")
    if problem.hint:
        yield command_line(f"{_DETAIL}next", problem.hint)
