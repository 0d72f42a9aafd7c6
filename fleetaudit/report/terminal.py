"""A comparison as the closing text of a command.

The status comes first, in the words of the page, then the verdict, changes and findings, then the
hosts that were not audited, each cause with the command to type.

Rules: pure, and plain text. Text from hosts passes `terminal_line`. A host that was not audited is
always counted, its cause always shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.compare.columns import differing_columns
from fleetaudit.analysis.compare.common import MAIN_SCENARIO, group_by, open_severities
from fleetaudit.analysis.compare.met_expectations import columns_to_meet
from fleetaudit.analysis.compare.summary import describe_met
from fleetaudit.analysis.compare.view_model import (
    Build,
    Column,
    Comparison,
    DifferingHosts,
    FindingGroup,
    FindingRow,
    MetExpectations,
    NextStep,
    NotRun,
    Remedy,
    Sentence,
)
from fleetaudit.model import (
    SEVERITIES,
    HostResult,
    NotAudited,
    NotSelected,
    Severity,
)
from fleetaudit.text.kernel_releases import fold_releases
from fleetaudit.text.phrases import and_more, count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .changes import changes_lines
from .service_text import service_lines
from .text_lines import cause_lines, command_line, join_hosts, rest_line, wrap
from .watch_text import watch_lines

MOST_ROWS = 12
"""How many findings, causes and differing scenarios are shown each; the rest is counted."""
MOST_NAMES, MOST_RANGES = 6, 8
"""How many kernels with one ending are named; if there are more, how many ranges of them."""
MOST_REASONS = 4
"""How many reasons are shown why verdicts were not run."""
MOST_REMEDIES = 4
"""How many remedies of one finding are shown, if they differ from host to host."""


def summary(
    comparison: Comparison, *, width: int = 80, problems_only: bool = False, changes: bool = True
) -> str:
    """Returns the closing text of a run, sentences wrapped to `width`, commands left whole.

    `problems_only` leaves out everything that needs no action, and the status, so the text may be
    empty. A caller that reports changes itself passes `changes=False`.

    The blocks are separated by an empty line: status, verdict, qualifications, who resets,
    services, changes, findings, waived findings, hosts that were not audited, and the coverage,
    such as "12 hosts: 10 audited, 2 not audited.".
    """
    if not changes:
        comparison = replace(comparison, changes=None)
    select_blocks = _problems if problems_only else _everything
    blocks = filter(None, select_blocks(comparison, width))
    return "\n".join("".join(line + "\n" for line in block) for block in blocks)


def _problems(comparison: Comparison, width: int) -> Iterator[list[str]]:
    """Yields only the blocks that need action."""
    changes = comparison.changes
    yield _qualifications(comparison, width)
    if changes is not None and changes.needs_attention:
        yield changes_lines(changes, width, MOST_ROWS)
    yield _findings(comparison.findings, width)
    yield _table_differences(comparison, width)
    yield _causes(comparison.causes, comparison.coverage.not_audited, width)


def _everything(comparison: Comparison, width: int) -> Iterator[list[str]]:
    """Yields all blocks in their order."""
    yield status_lines(comparison, width)
    yield _verdict(comparison, width)
    yield _qualifications(comparison, width)
    yield watch_lines(comparison.watch, width)
    yield service_lines(comparison.services, width)
    if comparison.changes is not None:
        yield changes_lines(comparison.changes, width, MOST_ROWS)
    yield _findings(comparison.findings, width)
    yield _waived(comparison.findings, width)
    yield _table_differences(comparison, width)
    yield _causes(comparison.causes, comparison.coverage.not_audited, width)
    yield _coverage(comparison, width)


def progress(host: HostResult) -> str:
    """Returns the line that is printed as soon as a host is done.

    For example "web1: audited, kernel 6.1.0-18-amd64, 2 findings". Findings of severity info and
    waived ones are not counted.
    """
    name = terminal_line(host.name)
    if isinstance(host, NotSelected):
        return f"{name}: {terminal_line(host.reason, 300)}"
    if isinstance(host, NotAudited):
        return f"{name}: not audited: {host.stage}: {terminal_line(host.reason, 300)}"
    text = f"{name}: audited, kernel {terminal_line(host.kernel.release)}"
    findings = sum(severity != "info" for severity in open_severities(host.findings))
    return f"{text}, {count_noun(findings, 'finding')}" if findings else text


# ---- the status


def status_lines(comparison: Comparison, width: int) -> list[str]:
    """Returns the status with its sentence, what to do first, and what the severities mean.

    The words are those of the page. A command is on one line, so that it can be pasted.
    """
    status = comparison.status
    lines = wrap([f"{status.label}: {_plain_text(status.sentence)}"], width)
    if status.first is not None:
        lines += _first_step(status.first, comparison.first_step, width)
    if comparison.unmet_hosts:
        lines += wrap([status.meaning], width)
    return lines


def _plain_text(sentence: Sentence) -> str:
    """Returns a sentence without its links."""
    return terminal_line("".join(part.text for part in sentence))


def _first_step(step: NextStep, text: str, width: int) -> list[str]:
    """Returns what to do first, and on which hosts; `text` is the whole command or sentence."""
    label = "First" + surround(", for ", terminal_line(step.hosts))
    if step.is_typed:
        return [command_line(label, text)]
    return wrap([f"{label}:  {terminal_line(text)}"], width)


# ---- the verdict


def _verdict(comparison: Comparison, width: int) -> list[str]:
    """Returns what is met, then the endings of the scenarios that matter most."""
    coverage = comparison.coverage
    if not coverage.audited:
        return ["No host was audited, so nothing is known about any kernel."]
    if coverage.void == coverage.audited:
        void = (
            "No verdict: the positive control failed on every audited host, so the observations"
            " prove nothing."
        )
        return wrap([void], width)
    met = comparison.met
    return [
        *wrap([describe_met(met)], width),
        *_not_run(met, comparison.not_run, width),
        *wrap(_endings(comparison), width),
    ]


def _not_run(met: MetExpectations, reasons: Sequence[NotRun], width: int) -> list[str]:
    """Returns how many verdicts were not run, then each reason; [] if none are missing."""
    if not met.lacks_more_verdicts:
        return []
    verdicts = f"{met.verdicts_not_run:,} of {count_noun(met.verdicts, 'verdict')}"
    hosts = count_noun(met.hosts_not_run, "host")
    rows = map(_reason_not_run, reasons[:MOST_REASONS])
    return [
        *wrap([f"Not run: {verdicts} (one per scenario, family and host), on {hosts}:"], width),
        *wrap(rows, width, "  "),
        *rest_line(len(reasons) - MOST_REASONS, "more reason"),
    ]


def _reason_not_run(row: NotRun) -> str:
    """Returns one reason, with its scenarios and hosts."""
    reason = terminal_line(row.reason, 200) or "no reason reported"
    names = ", ".join(map(terminal_line, row.scenarios[:MOST_NAMES]))
    more = and_more(len(row.scenarios[MOST_NAMES:]) + row.more_scenarios)
    verdicts = count_noun(row.verdicts, "verdict")
    return f"{verdicts}: {reason} ({names}{more}): {join_hosts(row.hosts)}"


def _endings(comparison: Comparison) -> Iterator[str]:
    """Yields a sentence per main scenario, then what is known about the others."""
    columns = columns_to_meet(comparison.columns)
    main = _main_columns(columns)
    for column in main:
        yield _column_sentence(column, comparison.builds)
    others = [column for column in columns if column not in main]
    if others:
        yield from _other_endings(others, comparison.builds)


def _other_endings(columns: list[Column], builds: tuple[Build, ...]) -> Iterator[str]:
    """Yields a sentence per scenario in which kernels differ, or that there is none."""
    differing = differing_columns(columns)
    if not differing and len(builds) > 1:
        yield "All kernels have the same endings in every other scenario."
    for column in differing[:MOST_ROWS]:
        yield _column_sentence(column, builds)
    if len(differing) > MOST_ROWS:
        more = count_noun(len(differing) - MOST_ROWS, "more scenario")
        yield f"Kernels differ in {more}: see the report."


def _main_columns(columns: list[Column]) -> list[Column]:
    """Returns all scenarios of a small playbook, else only the one that the tool is about."""
    by_scenario = group_by(columns, lambda column: column.scenario)
    if len(by_scenario) <= MOST_ROWS:
        return columns
    if MAIN_SCENARIO in by_scenario:
        return by_scenario[MAIN_SCENARIO]
    return sorted(columns, key=lambda column: "RST" not in column.expect)[:1]


def _column_sentence(column: Column, builds: tuple[Build, ...]) -> str:
    """Returns the endings of one scenario and the kernels with each.

    For example "Close with unread data (unread-close, IPv4): RST on 6.1.0; FIN on 5.4.0.".
    """
    names = _build_names(builds, column)
    labels = {name: cell.label for name, cell in zip(names, column.cells, strict=True)}
    parts = [f"{label} on {_kernels(label, labels)}" for label in dict.fromkeys(labels.values())]
    families = surround(", ", column.families)
    name = f"{terminal_line(column.title)} ({terminal_line(column.scenario)}{families})"
    return f"{name}: {'; '.join(parts)}."


def _build_names(builds: tuple[Build, ...], column: Column) -> list[str]:
    """Returns a name for each build: its release.

    If builds of one release have different endings, the name has version and machine too, such as
    "6.1.0 (#1 SMP Debian, x86_64)".
    """
    labels = defaultdict[str, set[str]](set)
    for build, cell in zip(builds, column.cells, strict=True):
        labels[build.kernel.release].add(cell.label)
    ambiguous = {release for release, of_release in labels.items() if len(of_release) > 1}
    return [terminal_line(_build_name(build, ambiguous)) for build in builds]


def _build_name(build: Build, ambiguous: set[str]) -> str:
    """Returns the release of a build, with version and machine if it is ambiguous."""
    kernel = build.kernel
    if kernel.release not in ambiguous:
        return kernel.release
    return f"{kernel.release} ({kernel.version}, {kernel.machine})"


def _kernels(label: str, labels: Mapping[str, str]) -> str:
    """Returns the kernels with one label: each one, or how many and in which ranges.

    A range has no kernel with another label in it.
    """
    names = [name for name, other in labels.items() if other == label]
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    ranges = fold_releases(names, labels.keys() - {*names})
    more = and_more(len(ranges) - MOST_RANGES)
    return f"{len(names)} kernels ({', '.join(ranges[:MOST_RANGES])}{more})"


def _coverage(comparison: Comparison, width: int) -> list[str]:
    """Returns how many hosts were audited, not audited, and not selected by any play."""
    c = comparison.coverage
    hosts = count_noun(c.selected, "host")
    counts = f"{hosts}: {c.audited:,} audited, {c.not_audited:,} not audited"
    if not c.not_selected:
        return [f"{counts}."]
    names = join_hosts(comparison.not_selected)
    return wrap([f"{counts}, {c.not_selected:,} not selected by any play ({names})."], width)


# ---- what needs attention


def _qualifications(comparison: Comparison, width: int) -> list[str]:
    """Returns what limits the verdicts: void hosts, hosts without a verdict, and notes."""
    sentences = (
        _about_hosts(
            "Void",
            comparison.coverage.void,
            "where the positive control failed; their verdicts prove nothing",
        ),
        _about_hosts(
            "No verdict",
            comparison.met.hosts_without_verdict,
            "on which no scenario ran; the report has the reasons",
        ),
        _about_hosts(
            "No private namespace",
            comparison.coverage.on_host,
            "measured in the network namespace of the host, where its firewall takes part",
        ),
        *(terminal_line(note, 400) for note in comparison.run.notes),
    )
    return wrap(sentences, width)


def _about_hosts(title: str, hosts: int, text: str) -> str:
    """Returns a sentence about a number of hosts, "" if there are none."""
    return f"{title}: {count_noun(hosts, 'host')} {text}." if hosts else ""


def _findings(groups: tuple[FindingGroup, ...], width: int) -> list[str]:
    """Returns the counts, then each finding above info that is not waived, with its remedies."""
    if not groups:
        return []
    lines = ["Findings: " + ", ".join(_finding_counts(groups))]
    open_ = [group for group in groups if group.needs_attention]
    for group in open_[:MOST_ROWS]:
        lines += _finding(group, width)
    return [
        *lines,
        *rest_line(len(open_) - MOST_ROWS, "more expectation not met", "more expectations not met"),
    ]


def _finding_counts(groups: Sequence[FindingGroup]) -> Iterator[str]:
    """Yields the number of findings by severity, the most severe first, then those waived."""
    hosts = Counter[Severity]()
    for group in groups:
        hosts[group.severity] += group.hosts
    for severity in filter(hosts.get, reversed(SEVERITIES)):
        yield _severity_count(hosts[severity], severity)
    waived = sum(group.waived for group in groups)
    if waived:
        yield f"{waived:,} waived"


def _severity_count(hosts: int, severity: Severity) -> str:
    """Returns "2 warnings", "3 info"."""
    return f"{hosts:,} info" if severity == "info" else count_noun(hosts, severity)


def _finding(group: FindingGroup, width: int) -> list[str]:
    """Returns the rows of one expectation that are not waived, then the remedies."""
    rows = filter(_is_open, group.rows)
    lines = wrap((_finding_row(group, row) for row in rows), width, "  ")
    for remedy in group.remedies[:MOST_REMEDIES]:
        lines += _remedy(group, remedy, width)
    if len(group.remedies) > MOST_REMEDIES:
        lines.append("      other hosts need other fixes: see the report")
    return lines


def _is_open(row: FindingRow) -> bool:
    """Returns whether a row is not waived."""
    return row.is_open


def _remedy(group: FindingGroup, remedy: Remedy, width: int) -> list[str]:
    """Returns one remedy, with its hosts if hosts need different ones.

    A command is on one line, "      fix:  sysctl -w net.ipv4.tcp_fin_timeout=60"; a sentence is
    wrapped.
    """
    label = "fix"
    if not group.fix:
        label = f"fix on {join_hosts(remedy.hosts)}"
    if remedy.is_command:
        return [command_line(f"      {label}", remedy.text)]
    return wrap([f"{label}: {terminal_line(remedy.text)}"], width, "      ")


def _waived(groups: tuple[FindingGroup, ...], width: int) -> list[str]:
    """Returns the findings that are waived, each with the reason."""
    sentences = list(chain.from_iterable(map(_waived_rows, groups)))
    if not sentences:
        return []
    return [
        "Waived, not counted:",
        *wrap(sentences[:MOST_ROWS], width, "  "),
        *rest_line(len(sentences) - MOST_ROWS, "more", "more"),
    ]


def _waived_rows(group: FindingGroup) -> Iterator[str]:
    """Yields the rows of one expectation that are waived."""
    for row in group.rows:
        if row.waived is not None:
            yield f"{_finding_row(group, row)}; {terminal_line(row.waived, 300)}"


def _finding_row(group: FindingGroup, row: FindingRow) -> str:
    """Returns what was expected and observed, on which hosts."""
    detail = surround(" (", terminal_line(group.detail), ")")
    since = surround(", first seen ", terminal_line(row.since))
    expected, observed = terminal_line(group.expected, 200), terminal_line(row.observed, 200)
    return (
        f"{group.severity}  {terminal_line(group.subject)}{detail}: expected {expected},"
        f" observed {observed}{since}: {join_hosts(row.hosts)}"
    )


def _table_differences(comparison: Comparison, width: int) -> list[str]:
    """Returns where hosts differ from the table of kernels, [] if none does."""
    differing = comparison.differing_hosts
    if not differing:
        return []
    return [
        "Not as the table of kernels has it for the very build:",
        *wrap(map(_table_difference, differing[:MOST_ROWS]), width, "  "),
        *rest_line(len(differing) - MOST_ROWS, "more difference"),
    ]


def _table_difference(row: DifferingHosts) -> str:
    """Returns one difference from the table of kernels."""
    release, scenario = terminal_line(row.build.kernel.release), terminal_line(row.scenario)
    return (
        f"{release}: {scenario} ({row.families}) ended in {row.measured}, in the table in"
        f" {row.table}; {terminal_line(row.reason, 300)}: {join_hosts(row.hosts)}"
    )


def _causes(causes: tuple[Cause, ...], hosts: int, width: int) -> list[str]:
    """Returns the causes why hosts were not audited."""
    if not causes:
        return []
    lines = [f"Not audited: {count_noun(hosts, 'host')}"]
    for cause in causes[:MOST_ROWS]:
        lines += cause_lines(cause, width)
    rest = causes[MOST_ROWS:]
    if rest:
        count = count_noun(sum(cause.hosts.count for cause in rest), "host")
        others = count_noun(len(rest), "other cause")
        lines.append(f"  and {count} for {others}: see the report")
    return lines
