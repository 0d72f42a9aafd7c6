"""The five answers at the head of the page, as sentences with numbers. Pure.

Rules: a sentence is true of an empty fleet, of one host and of ten thousand. A number that a reader
may doubt is a link to its details. Of a host that was not audited or is void, only that is stated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from fleetaudit.analysis.causes import Cause
from fleetaudit.model import Severity
from fleetaudit.text.phrases import agree, count_noun, surround

from .changes import LISTED_EFFECTS
from .common import MAIN_SCENARIO, group_by
from .host_links import NO_FILTERS
from .sentences import linked_name, linked_number, make_sentence
from .view_model import (
    NOT_SELECTED,
    Build,
    Changes,
    Column,
    Coverage,
    FindingGroup,
    KernelClass,
    KernelClassName,
    MetExpectations,
    Production,
    Sentence,
    SummaryItem,
    TextPart,
)

KernelsOfClass = Sequence[tuple[Build, tuple[Column, ...]]]

_CLASS_TEXTS: tuple[tuple[KernelClassName, str, str], ...] = (
    (
        "mixed",
        "is mixed: its hosts have different endings",
        "are mixed: hosts of the same build have different endings",
    ),
    ("otherwise", "is otherwise not as expected", "are otherwise not as expected"),
    ("unknown", "is unknown in some scenarios", "are unknown in some scenarios"),
    (
        "void",
        "is void: the positive control failed on all its hosts",
        "are void: the positive control failed on all their hosts",
    ),
    (
        "no expectation",
        "was observed without an expectation",
        "were observed without an expectation",
    ),
    (
        "met",
        "is as expected in every scenario that it ran",
        "are as expected in every scenario that they ran",
    ),
)
"""What the summary says of the builds of a class, in the singular and in the plural."""


class SummaryInput(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a comparison that the summary is made of.

    `production` has all hosts that reported their counters, most aborts first.
    """

    coverage: Coverage
    met: MetExpectations
    kernels: Sequence[KernelClass]
    builds: Sequence[Build]
    columns: Sequence[Column]
    findings: Sequence[FindingGroup]
    unmet_hosts: Sequence[tuple[Severity, int]]
    changes: Changes | None
    causes: Sequence[Cause]
    production: Sequence[Production]


def summarize(source: SummaryInput) -> tuple[SummaryItem, ...]:
    """Returns the five answers in their order.

    Each is at least one sentence. Questions and keys never change: keys are anchors of the page.
    """
    coverage = describe_coverage(source.coverage)
    return (
        _item("kernels", "Which kernels reset?", _kernels(source), coverage),
        _item(
            "expectations", "Which hosts do not meet expectations?", _expectations(source), coverage
        ),
        _item(
            "changes",
            "What changed?",
            [_changed(source.changes)],
            _compared_hosts(source),
            is_brief=source.changes is None or not source.changes.needs_attention,
        ),
        _item(
            "not-audited",
            "Which hosts were not audited?",
            _not_audited(source),
            "",
            is_brief=not source.coverage.not_audited,
        ),
        _item(
            "production",
            "Resets counted in production",
            _production(source),
            _counted_on(source),
            is_brief=not source.production,
        ),
    )


def describe_coverage(coverage: Coverage) -> str:
    """Returns which hosts a statement about the fleet is based on.

    For example "from 9 of 12 selected hosts; 2 not audited, 1 void".
    """
    if not coverage.selected:
        return "no host was selected"
    gaps = (
        (coverage.not_audited, "not audited"),
        (coverage.not_selected, "not selected by any play"),
        (coverage.void, "void"),
    )
    named = ", ".join(f"{hosts:,} {text}" for hosts, text in gaps if hosts)
    share = _share(coverage.valid, coverage.selected, "selected host")
    return f"from {share}{surround('; ', named)}"


def _share(n: int, total: int, noun: str) -> str:
    """Returns "the one host", "all 4 hosts" or "3 of 4 hosts"."""
    if n == total:
        return _all_of(total, noun)
    return f"{n:,} of {count_noun(total, noun)}"


def _all_of(total: int, noun: str) -> str:
    """Returns "the one host" or "all 4 hosts"."""
    return agree(total, f"the one {noun}", f"all {total:,} {noun}s")


def _item(
    key: str,
    question: str,
    sentences: Iterable[Sentence],
    coverage: str,
    *,
    is_brief: bool = False,
) -> SummaryItem:
    return SummaryItem(
        key=key,
        question=question,
        sentences=tuple(sentences),
        coverage=coverage,
        is_brief=is_brief,
    )


# ---- 1: kernels


def _kernels(source: SummaryInput) -> list[Sentence]:
    """Returns which kernels reset, then what the main scenario ends in, then the other classes."""
    if not source.coverage.valid:
        return [make_sentence(_no_kernel_known(source.coverage))]
    if not source.columns:
        return [make_sentence("No scenario ran, so what the kernels do was not measured.")]
    classes: Mapping[KernelClassName, KernelsOfClass] = {
        kernel_class.name: kernel_class.builds for kernel_class in source.kernels
    }
    total = len(source.builds)
    sentences = [_resets(classes.get("resets", ()), total)]
    sentences += [describe_main_scenario(column, total) for column in main_columns(source.columns)]
    sentences += [
        _kernel_class(len(classes[name]), total, singular, plural)
        for name, singular, plural in _CLASS_TEXTS
        if name in classes
    ]
    return [*sentences, *_not_run(source.met)]


def _not_run(met: MetExpectations) -> list[Sentence]:
    """Returns how many verdicts are missing because a scenario was not run, [] if none are."""
    missing = met.verdicts_not_run
    if not missing:
        return []
    number = linked_number(f"{missing:,} of {count_noun(met.verdicts, 'verdict')}", "not-run")
    return [make_sentence(number, f" {agree(missing, 'was', 'were')} not run.")]


def _no_kernel_known(coverage: Coverage) -> str:
    """Returns why nothing is known about any kernel."""
    if not coverage.selected:
        return "No host was selected, so nothing is known about any kernel."
    if not coverage.audited:
        return "No host was audited, so nothing is known about any kernel."
    return "The positive control failed on every audited host, so the observations prove nothing."


def _resets(kernels: KernelsOfClass, total: int) -> Sentence:
    """Returns how many of the `total` builds reset where no RST is expected."""
    if not kernels:
        return make_sentence(f"No unexpected resets on {_any_build(total)}.")
    hosts = sum(build.hosts.count for build, _ in kernels)
    verb = agree(len(kernels), "resets", "reset")
    run = count_noun(hosts, "host runs", "hosts run")
    builds = {"build": [build.label for build, _ in kernels]}
    run_by = linked_number(run, "kernels", builds)
    number = linked_number(f"{len(kernels):,} of {count_noun(total, 'kernel build')}", "kernels")
    where = _reset_where(kernels)
    them = agree(len(kernels), "it", "them")
    return make_sentence(number, f" {verb} a connection {where}; ", run_by, f" {them}.")


def _any_build(total: int) -> str:
    """Returns "the one kernel build" or "any of 4 kernel builds"."""
    return agree(total, "the one kernel build", f"any of {total:,} kernel builds")


def _reset_where(kernels: KernelsOfClass) -> str:
    """Returns which connections the kernels reset."""
    columns = chain.from_iterable(of_build for _, of_build in kernels)
    if all(column.all_read for column in columns):
        return "whose data had all been read"
    return "where no RST is expected"


def main_columns(columns: Iterable[Column]) -> list[Column]:
    """Returns the column that the tool is about, [] without one."""
    by_scenario = group_by(columns, lambda column: column.scenario)
    must_reset = [column for column in columns if column.must_reset]
    return by_scenario.get(MAIN_SCENARIO, must_reset)[:1]


def describe_main_scenario(column: Column, total: int) -> Sentence:
    """Returns what a scenario ends in on the `total` builds."""
    link = linked_name(column.title or column.scenario, column.anchor)
    if len(column.groups) == 1:
        ending = column.groups[0][0]
        return make_sentence(link, f": {ending} on {_all_of(total, 'kernel build')}.")
    parts = ", ".join(f"{label} on {len(builds):,}" for label, _, builds in column.groups)
    return make_sentence(link, f": {parts} of {total:,}.")


def _kernel_class(builds: int, total: int, singular: str, plural: str) -> Sentence:
    """Returns how many of the `total` builds are in a class."""
    number = linked_number(f"{builds:,} of {count_noun(total, 'build')}", "kernels")
    return make_sentence(number, f" {agree(builds, singular, plural)}.")


# ---- 2: expectations


def _expectations(source: SummaryInput) -> list[Sentence]:
    """Returns how many hosts do not meet expectations, then what is met on all of them."""
    if not source.coverage.audited:
        return [make_sentence(_no_host(source.coverage))]
    sentences = [_unmet_hosts(source)]
    met = describe_met(source.met)
    if met:
        sentences.append(make_sentence(met))
    return sentences


def _no_host(coverage: Coverage) -> str:
    """Returns why there is no answer about audited hosts."""
    if not coverage.selected:
        return "No host was selected."
    return "No host was audited, so this is unknown."


def _unmet_hosts(source: SummaryInput) -> Sentence:
    """Returns how many hosts do not meet expectations, by severity, and the waived findings."""
    audited = source.coverage.audited
    waived = sum(group.waived for group in source.findings if group.audited)
    accepted = _accepted(waived)
    if not source.unmet_hosts:
        return make_sentence(f"{_all_met(audited, waived)}.{accepted}")
    hosts = sum(n for _, n in source.unmet_hosts)
    share = f"{hosts:,} of {count_noun(audited, 'audited host')}"
    number = linked_number(share, "expectations", {"worst": "any"})
    by_severity = [
        linked_number(f"{n:,} {severity}", "expectations", {"worst": severity})
        for severity, n in source.unmet_hosts
    ]
    verb = agree(hosts, "does", "do")
    return make_sentence(
        number, f" {verb} not meet expectations (", *_with_commas(by_severity), f").{accepted}"
    )


def _with_commas(parts: Iterable[TextPart]) -> list[TextPart]:
    """Returns the parts with a comma between each two of them."""
    comma = TextPart(text=", ")
    return list(chain.from_iterable((comma, part) for part in parts))[1:]


def _accepted(waived: int) -> str:
    """Returns the sentence that counts waived findings, "" if there are none."""
    if not waived:
        return ""
    return f" {count_noun(waived, 'finding is', 'findings are')} waived."


def _all_met(audited: int, waived: int) -> str:
    """Returns that every host meets every expectation, or every one that is not waived."""
    hosts = agree(audited, "The one audited host meets", f"All {audited:,} audited hosts meet")
    if waived:
        return f"{hosts} every expectation that is not waived"
    return f"{hosts} every expectation"


def describe_met(met: MetExpectations) -> str:
    """Returns what is met on every host as a sentence, "" if nothing ran.

    For example "11 of 12 scenarios as expected on 40 hosts; 3 of 3 other expectations met.".
    """
    hosts = count_noun(met.hosts, "host")
    scenarios = count_noun(met.scenarios_total, "scenario")
    scenarios_text = f"{met.scenarios:,} of {scenarios} as expected on {hosts}"
    if met.scenarios_total and met.expectations_total:
        expectations = count_noun(met.expectations_total, "other expectation")
        return f"{scenarios_text}; {met.expectations:,} of {expectations} met."
    if met.scenarios_total:
        return f"{scenarios_text}."
    if met.expectations_total:
        expectations = count_noun(met.expectations_total, "expectation")
        return f"{met.expectations:,} of {expectations} met on {hosts}."
    return ""


# ---- 3: changes


def _changed(changes: Changes | None) -> Sentence:
    """Returns the changes since the earlier run, counted by effect."""
    if changes is None:
        return make_sentence("There is no earlier run to compare with.")
    if changes.refused:
        reason = TextPart(text=changes.refused, untrusted=True)
        return make_sentence("The runs cannot be compared: ", reason, ".")
    if not changes.counts:
        return make_sentence(f"Nothing since {changes.since}.")
    parts = list[str | TextPart]()
    for hosts, text in changes.counts:
        parts += [_changed_hosts(hosts, text), ", "]
    return make_sentence(f"Since {changes.since}: ", *parts[:-1], ".")


def _changed_hosts(hosts: int, text: str) -> TextPart:
    """Returns a count such as "2 hosts regressed", linked to these hosts if a filter finds them."""
    filters = {"changed": LISTED_EFFECTS.get(text, "")}
    return linked_number(f"{count_noun(hosts, 'host')} {text}", "changes", filters)


def _compared_hosts(source: SummaryInput) -> str:
    """Returns how many hosts were compared with the earlier run, "" if none could be."""
    changes = source.changes
    if changes is None or changes.refused:
        return ""
    hosts = _share(changes.compared, source.coverage.selected, "selected host")
    return f"{hosts} compared with the earlier run"


# ---- 4: not audited


def _not_audited(source: SummaryInput) -> list[Sentence]:
    """Returns how many hosts were not audited, then those that no play matches."""
    coverage = source.coverage
    if not coverage.selected:
        return [make_sentence("No host was selected.")]
    if not coverage.not_audited:
        return [_all_audited(coverage), *_not_selected(coverage)]
    total = count_noun(coverage.selected, "selected host")
    number = linked_number(
        f"{coverage.not_audited:,} of {total}", "not-audited", {"state": "not audited"}
    )
    causes = count_noun(len(source.causes), "cause")
    main = make_sentence(
        number, f" {agree(coverage.not_audited, 'was', 'were')} not audited, for {causes}."
    )
    return [main, *_changed_host_keys(source.findings), *_not_selected(coverage)]


def _changed_host_keys(findings: Iterable[FindingGroup]) -> list[Sentence]:
    """Returns how many hosts have another key than the known one, [] if none has."""
    changed = [group for group in findings if group.hosts and not group.audited]
    if not changed:
        return []
    hosts = sum(group.hosts for group in changed)
    filters = changed[0].open_filters if len(changed) == 1 else NO_FILTERS
    number = linked_number(count_noun(hosts, "host"), changed[0].anchor, filters)
    verb = agree(hosts, "has", "have")
    return [make_sentence(number, f" {verb} another host key than the known one.")]


def _all_audited(coverage: Coverage) -> Sentence:
    """Returns that every host that could be audited was audited."""
    hosts = _all_of(coverage.audited, "selected host")
    if coverage.not_selected:
        hosts = f"{_all_of(coverage.audited, 'host')} that a play matches"
    return make_sentence(f"None: {hosts} {agree(coverage.audited, 'was', 'were')} audited.")


def _not_selected(coverage: Coverage) -> list[Sentence]:
    """Returns how many hosts no play matches, [] if there are none."""
    hosts = coverage.not_selected
    if not hosts:
        return []
    number = linked_number(count_noun(hosts, "host"), NOT_SELECTED, {"state": "not selected"})
    return [make_sentence(number, f" {agree(hosts, 'is', 'are')} not selected by any play.")]


# ---- 5: production


def _production(source: SummaryInput) -> list[Sentence]:
    """Returns where most connections were reset, then the sockets with unread data."""
    if not source.coverage.audited:
        return [make_sentence(_no_host(source.coverage))]
    sentences = [*describe_most_aborts(source.production), *_unread_sockets(source.production)]
    return sentences or [make_sentence("No audited host reported its counters.")]


def describe_most_aborts(production: Iterable[Production]) -> list[Sentence]:
    """Returns the host with most aborts per connection, [] if no rate is known."""
    rated = _rated(production)
    if not rated:
        return []
    most = rated[0]
    if not most.per_thousand:
        hosts = count_noun(len(rated), "host")
        return [make_sentence(f"None: no connection of {hosts} was closed with unread data.")]
    number = linked_number(f"{most.per_thousand:,.2f} of 1,000 connections", "production")
    where = linked_name(most.host, most.anchor)
    text = " were closed with unread data since boot."
    return [make_sentence("Most on ", where, ": ", number, text)]


def _rated(production: Iterable[Production]) -> list[Production]:
    """Returns the hosts of which the aborts per connection are known, in their order."""
    return [host for host in production if host.is_rated]


def _unread_sockets(production: Iterable[Production]) -> list[Sentence]:
    """Returns how many sockets hold unread data now, [] if none does."""
    counts = [host.unread_sockets for host in production if host.unread_sockets]
    if not counts:
        return []
    sockets, hosts = sum(counts), count_noun(len(counts), "host")
    number = linked_number(count_noun(sockets, "socket"), "production")
    on_hosts = linked_number(hosts, "production", {"unread": "now"})
    return [
        make_sentence(
            number, " on ", on_hosts, f" {agree(sockets, 'holds', 'hold')} unread data now."
        )
    ]


def _counted_on(source: SummaryInput) -> str:
    """Returns on how many hosts the rates are based, "" if no host reported its counters."""
    if not source.production:
        return ""
    share = _share(len(_rated(source.production)), source.coverage.audited, "audited host")
    return f"from the counters of {share}"
