"""Makes the view of services from the table of all hosts. Pure.

Rules: verdicts are the judge's: a finding, or the id of an expectation that is met. Of a service,
or a check, that could not be asked, only the reason and the next command are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import attrgetter

from fleetaudit.analysis.causes import is_command
from fleetaudit.analysis.judge.services import WRITERS
from fleetaudit.analysis.services import CheckRow, Cure, NotAsked, ServiceRow, ServiceTable
from fleetaudit.analysis.services.model import ANSWER_CHECKS
from fleetaudit.caching.shared_parts import distinct_objects
from fleetaudit.model import SEVERITIES, Audited, Finding, ServiceCheck
from fleetaudit.text.phrases import agree, count_noun, surround

from .common import build_key
from .comparison_input import ComparisonInput
from .listed_rows import list_hosts, name_first
from .sentences import linked_number, make_sentence
from .traces import segment_row
from .view_model import (
    CheckLine,
    CureView,
    ListedHosts,
    NotAskedLine,
    Sentence,
    ServiceCard,
    ServicesView,
    Trace,
    Verdict,
)

HTTPS = "https://"
MOST_CARDS = 30
MOST_PROBLEMS = 20
_UNKNOWN = "unknown: "
"""How the judge begins what it could not see."""
_WORST_FIRST: Mapping[Verdict, int] = {
    "error": 0,
    "warning": 1,
    "info": 2,
    "unknown": 3,
    "met": 4,
    "no expectation": 5,
}


def view_services(table: ServiceTable, source: ComparisonInput) -> ServicesView | None:
    """Returns what the services did, None if no host had any to ask."""
    if not table.asked:
        return None
    rows, failed = table.rows[:MOST_CARDS], table.not_asked[:MOST_PROBLEMS]
    maker = _CardMaker(source)
    row_hosts = list_hosts(rows, [*map(_row_texts, rows)], "service")
    failed_hosts = list_hosts(failed, [*map(_problem_texts, failed)], "unasked")
    return ServicesView(
        headline=_headline(table),
        cards=tuple(map(maker.make, rows, row_hosts)),
        more_cards=len(table.rows) - len(rows),
        not_asked=tuple(map(_not_asked_line, failed, failed_hosts)),
        more_not_asked=len(table.not_asked) - len(failed),
    )


def _headline(table: ServiceTable) -> Sentence:
    """Returns how many clients lost their answer, and what could not be asked."""
    failed = len(table.not_asked)
    problems = linked_number(count_noun(failed, "more question"), "not-asked")
    unknown = (" Of ", problems, " nothing is known.")[: 3 * failed]
    if not table.tries:
        return make_sentence("No client waited for an answer.", *unknown)
    clients = count_noun(table.tries, "client")
    services = count_noun(len({row.service for row in table.rows}), "service")
    where = f"{services} on {count_noun(table.asked, 'host')}"
    lost = f"{table.lost:,} of {clients} lost {agree(table.lost, 'its', 'their')} answer"
    return make_sentence(f"{lost}, of {where}.", *unknown)


def _row_texts(row: ServiceRow) -> tuple[str, ...]:
    """Returns the names of a row, each with more detail than the one before."""
    server = row.product or row.server or row.executable
    with_server = f"{row.service}{surround(' (', server, ')')}"
    with_counts = f"{with_server}, {row.tries - row.lost} of {row.tries} answers"
    return row.service, with_server, with_counts, f"{with_counts} {row.hosts.ranges[0]}"


def _problem_texts(row: NotAsked) -> tuple[str, ...]:
    """Returns the names of a problem, each with more detail than the one before."""
    service = f"{row.service}{surround(' ', row.check)}"
    return service, f"{service}: {row.problem}", f"{service}: {row.problem} {row.hint}"


def _not_asked_line(row: NotAsked, at: ListedHosts) -> NotAskedLine:
    """Returns what could not be asked for one reason."""
    return NotAskedLine(
        service=row.service,
        check=row.check,
        problem=row.problem,
        hint=row.hint,
        is_command=is_command(row.hint),
        at=at,
    )


class _CardMaker:
    """Makes the card of each service, numbered from 1."""

    def __init__(self, source: ComparisonInput) -> None:
        self.source = source
        self.hosts = {host.name: host for host in source.audited}
        self.count = 0

    def make(self, row: ServiceRow, at: ListedHosts) -> ServiceCard:
        """Returns the card of one service."""
        self.count += 1
        hosts = [self.hosts[name] for name in row.names]
        findings = _findings_of(row.service, hosts)
        known = set[str]().union(*distinct_objects(host.expectations for host in hosts))
        checks = tuple(_check_line(row.service, check, findings, known) for check in row.checks)
        worst = min(checks, key=_badness)
        unmet = {check.check for check in row.checks if check.lost} | _unmet(checks)
        return ServiceCard(
            anchor=f"service-{self.count}",
            name=row.service,
            target=row.target,
            product=row.product,
            server=row.server,
            executable=row.executable,
            units=name_first(row.units),
            answered=row.tries - row.lost,
            tries=row.tries,
            closes=", ".join(map(_closes, row.of("idle"))),
            verdict=worst.verdict,
            verdict_text=worst.verdict_text,
            checks=checks,
            cures=tuple(_cure(cure) for cure in row.cures if cure.check in unmet),
            traces=tuple(self._traces(row.service, hosts[0])),
            at=at,
        )

    def _traces(self, service: str, host: Audited) -> Iterator[Trace]:
        """Yields the segments of each check of the first host that has some."""
        results = [result for result in host.asked_services if result.name == service]
        for check in chain.from_iterable(map(attrgetter("checks"), results)):
            if check.wire:
                yield self._trace(service, host, check)

    def _trace(self, service: str, host: Audited, check: ServiceCheck) -> Trace:
        """Returns the segments of one try; the server is the closer."""
        return Trace(
            anchor="",
            title=f"{service}, {check.check}",
            host=host.name,
            build=self.source.builds[build_key(host)],
            observed=check.check,
            verdict="no expectation",
            on_host=True,
            rows=tuple(segment_row(segment, None) for segment in check.wire),
            wire_note=check.wire_note,
            omitted=0,
            peer=(),
            kernel=None,
            queue=(),
            bytes=(),
        )


# ---- verdicts


def _badness(line: CheckLine) -> int:
    """Returns the place of a verdict, the worst first."""
    return _WORST_FIRST[line.verdict]


def _unmet(lines: Iterable[CheckLine]) -> set[str]:
    """Returns the checks that are not as expected."""
    return {line.check for line in lines if line.verdict in SEVERITIES}


def _findings_of(service: str, hosts: Iterable[Audited]) -> dict[str, Finding]:
    """Returns the worst finding of each check of a service, by its id."""
    begin = f"service:{service}/"
    found = dict[str, Finding]()
    for finding in chain.from_iterable(distinct_objects(host.findings for host in hosts)):
        if finding.id.startswith(begin):
            found[finding.id] = max(found.get(finding.id, finding), finding, key=_severity)
    return found


def _severity(finding: Finding) -> tuple[bool, int]:
    """Returns the key that sorts findings: open ones first, then by severity."""
    return finding.is_open, SEVERITIES.index(finding.severity)


def _check_line(
    service: str, row: CheckRow, findings: Mapping[str, Finding], known: set[str]
) -> CheckLine:
    """Returns one check of a service with its verdict.

    `known` are the ids of the expectations, met or not.
    """
    id_ = f"service:{service}/{row.check}"
    finding = _finding_of_row(row, findings.get(id_))
    verdict, text = _verdict(finding, id_ in known)
    return CheckLine(
        check=row.check,
        writing=row.writing,
        answered=row.answered if row.check in ANSWER_CHECKS else None,
        tries=row.tries,
        seen=_SEEN[row.check](row),
        error=row.error,
        expected=finding.expected if finding else "",
        verdict=verdict,
        verdict_text=text,
    )


def _finding_of_row(row: CheckRow, finding: Finding | None) -> Finding | None:
    """Returns the finding of a check if it is about this way of writing, else None.

    What a finding of lost answers observed names the ways of writing that it is about.
    """
    if finding is None or row.lost or not row.writing:
        return finding
    return finding if WRITERS.get(row.writing, "") in finding.observed else None


def _verdict(finding: Finding | None, is_expected: bool) -> tuple[Verdict, str]:
    """Returns the verdict on a check, and its words."""
    if finding is None:
        return _WITHOUT_FINDING[is_expected]
    if finding.observed.startswith(_UNKNOWN):
        return "unknown", "unknown"
    waived = ", waived" * (not finding.is_open)
    return finding.severity, f"{finding.severity}{waived}"


_WITHOUT_FINDING: Mapping[bool, tuple[Verdict, str]] = {
    True: ("met", "as expected"),
    False: ("no expectation", "no expectation"),
}


# ---- what was seen


def _see_answers(row: CheckRow) -> str:
    """Returns what clients got, and how connections ended: "413: 3, no answer: 1; RST: 1, FIN: 3".

    An answer that had arrived where a client gave up is lost, too.
    """
    got = [f"{status}: {count:,}" for status, count in row.statuses]
    unread = surround(" (it had arrived for ", row.unread, ", unread)")
    got += [f"no answer: {row.lost:,}{unread}"] * bool(row.lost)
    return "; ".join(filter(None, (", ".join(got), _see_endings(row))))


def _see_endings(row: CheckRow) -> str:
    """Returns how connections ended: "RST: 3, FIN: 1"."""
    counts = (("RST", row.resets), ("FIN", row.fins), ("still open", row.open))
    return ", ".join(f"{name}: {count:,}" for name, count in counts if count)


def _closes(row: CheckRow) -> str:
    """Returns after how many seconds an idle connection was closed."""
    if row.seconds is None:
        return "still open when the time was over"
    least, most = (f"{seconds:.1f}" for seconds in row.seconds)
    return f"closed after {' to '.join(dict.fromkeys((least, most)))} s"


def _see_idle(row: CheckRow) -> str:
    """Returns when and how an idle connection ended."""
    if row.seconds is None:
        return _closes(row)
    return f"{_closes(row)}; {_see_endings(row)}"


_SEEN = {
    "early answer": _see_answers,
    "pipelined": _see_answers,
    "idle": _see_idle,
    "unread request": _see_endings,
}
"""What was seen of each check, in words."""


def _cure(cure: Cure) -> CureView:
    """Returns a cure as the page shows it."""
    return CureView(check=cure.check, text=cure.text, sources=tuple(map(_source, cure.sources)))


def _source(text: str) -> tuple[str, str]:
    """Returns the name of a source, and its address if it is one."""
    address = text if text.startswith(HTTPS) else ""
    return text.removeprefix(HTTPS), address
