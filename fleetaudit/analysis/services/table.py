"""Folds the services of a run into rows: what each did, on which hosts. Pure.

Rules:
- Hosts are folded if a service did the same on them: from the same server and program, each check
  lost all, some or no answers and closed after as many whole seconds. Their tries are added up.
- Equal runs give equal rows: those with the most lost answers first, then by name and hosts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat

from fleetaudit.analysis.groups import count_order, group
from fleetaudit.model import Audited, ServiceCheck, ServiceCheckName, ServiceResult, ServiceTry
from fleetaudit.text.host_ranges import fold_hosts

from .model import CheckRow, NotAsked, ServiceRow, ServiceTable
from .servers import Cure, find_cure, find_product
from .tries import count_tries

Asked = tuple[str, ServiceResult]
"""A host and the result of one of its services."""


def has_services(host: Audited) -> bool:
    """Returns whether services of a host were to be asked."""
    return bool(host.asked_services)


def service_table(audited: Iterable[Audited]) -> ServiceTable:
    """Returns what the services of the hosts of a run did.

    A service, or a check, that could not be asked is in `not_asked`, and its numbers nowhere else.
    """
    hosts = [host for host in audited if has_services(host)]
    results = [*chain.from_iterable(map(_results_of, hosts))]
    groups = group((_key(result), (name, result)) for name, result in results)
    rows = [_row(found) for found in groups.values() if check_rows(found[0][1])]
    return ServiceTable(
        asked=len(hosts), rows=tuple(sorted(rows, key=_order)), not_asked=_not_asked(results)
    )


def check_rows(result: ServiceResult) -> tuple[CheckRow, ...]:
    """Returns the checks of one service on one host, without those that could not be made."""
    return _check_rows([result])


def rows_by_check(result: ServiceResult) -> dict[ServiceCheckName, list[CheckRow]]:
    """Returns the rows of one service on one host by check: one for each way of writing."""
    return group((row.check, row) for row in check_rows(result))


def _results_of(host: Audited) -> Iterator[Asked]:
    """Yields the services of a host with its name."""
    return zip(repeat(host.name), host.asked_services)


# ---- the rows of the fleet


def _key(result: ServiceResult) -> Hashable:
    """Returns what the hosts of one row have in common."""
    outcomes = tuple(map(_outcome, check_rows(result)))
    return result.name, result.target, result.server, result.executable, outcomes


def shares(row: CheckRow) -> tuple[str, ...]:
    """Returns whether all, some or no clients got an answer, or were reset and left open."""
    counts = (row.answered,) if row.asks_answer else (row.resets, row.open)
    return tuple(_share(count, row.tries) for count in counts)


def _outcome(row: CheckRow) -> Hashable:
    """Returns what is the same in a check on all hosts of one row."""
    return row.check, row.writing, shares(row), row.seconds and round(row.seconds[0])


def _share(count: int, tries: int) -> str:
    """Returns "all", "none" or "some"."""
    return {0: "none", tries: "all"}.get(count, "some")


def _row(found: Sequence[Asked]) -> ServiceRow:
    """Returns the row of hosts on which a service did the same."""
    results = [result for _, result in found]
    first, checks = results[0], _check_rows(results)
    product = find_product(first.server, first.executable)
    names = tuple(name for name, _ in found)
    return ServiceRow(
        service=first.name,
        target=first.target,
        server=first.server,
        executable=first.executable,
        product=product,
        units=tuple(sorted({result.unit for result in results} - {""})),
        hosts=fold_hosts(names),
        checks=checks,
        cures=tuple(_cures(product, checks)),
        names=names,
    )


def _cures(product: str, checks: Iterable[CheckRow]) -> Iterator[Cure]:
    """Returns the cures of the checks that lost answers, and that of "idle"; each once."""
    names = [check.check for check in checks if check.needs_cure]
    return map(partial(find_cure, product), dict.fromkeys(names))


def _order(row: ServiceRow) -> tuple[float, str, str, str, tuple[str, ...]]:
    """Returns the key that sorts rows: the greatest share of lost answers first."""
    share = row.lost / max(row.tries, 1)
    return -share, row.service, row.server, row.executable, row.hosts.ranges


# ---- the checks of one row


def _check_rows(results: Iterable[ServiceResult]) -> tuple[CheckRow, ...]:
    """Returns the checks of a service, the tries of all its hosts together."""
    tries = chain.from_iterable(map(_tries_of, results))
    return tuple(_check_row(*key, found) for key, found in group(tries).items())


def _tries_of(
    result: ServiceResult,
) -> Iterator[tuple[tuple[ServiceCheckName, str], ServiceTry]]:
    """Yields the tries of a service with their check and their way of writing."""
    for check in result.checks:
        for each in check.tries:
            yield (check.check, each.writing), each


def _check_row(check: ServiceCheckName, writing: str, tries: Sequence[ServiceTry]) -> CheckRow:
    """Returns the row of one check and one way of writing."""
    statuses = count_tries(tries, lambda seen: seen.status)
    endings = count_tries(tries, lambda seen: seen.ending)
    statuses.pop(0, 0)
    return CheckRow(
        check=check,
        writing=writing,
        tries=endings.total(),
        answered=statuses.total(),
        resets=endings["RST"],
        fins=endings["FIN"],
        open=endings["open"],
        unread=sum(each.count for each in tries if each.unread_status and not each.status),
        statuses=tuple(sorted(statuses.items(), key=count_order)),
        seconds=_seconds(tries),
        error=next(filter(None, (each.error for each in tries)), ""),
    )


def _seconds(tries: Iterable[ServiceTry]) -> tuple[float, float] | None:
    """Returns the least and the greatest wait for the close, None if there was no close."""
    closed = [each.seconds for each in tries if each.ending in ("FIN", "RST")]
    known = [seconds for seconds in closed if seconds is not None]
    return (min(known), max(known)) if known else None


# ---- what could not be asked


def _not_asked(results: Iterable[Asked]) -> tuple[NotAsked, ...]:
    """Returns what could not be asked, by service, check and reason, in order of appearance."""
    groups = group(chain.from_iterable(map(_problems_of, results)))
    return tuple(
        NotAsked(
            service=service,
            target=target,
            check=check,
            problem=problem,
            hint=hint,
            hosts=fold_hosts(names),
            names=tuple(names),
        )
        for (service, target, check, problem, hint), names in groups.items()
    )


def _problems_of(asked: Asked) -> Iterator[tuple[tuple[str, str, str, str, str], str]]:
    """Yields the reasons why a service or one of its checks could not be asked, with the host."""
    name, result = asked
    failed: list[ServiceResult | ServiceCheck] = [result, *result.checks]
    for each in failed:
        if each.problem:
            check = each.check if isinstance(each, ServiceCheck) else ""
            yield (result.name, result.target, check, each.problem, each.hint), name
