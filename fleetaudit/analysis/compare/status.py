"""The status of a run: must somebody act? One sentence with numbers, and what to do first. Pure.

Rules:
- The worst open severity decides: error is "act", warning is "watch", info needs nobody. A
  regression that is not waived, and a host without a result, are "watch" at least.
- Where fewer than half of the hosts have verdicts that count, and no error is known, the status is
  "unknown". A playbook without expectations has no status either. The verdicts of a host count only
  if they include one on the main scenario, where the playbook expects something of it: that is what
  the reader asks about.
- Hosts without a result are in the sentence whatever the level is.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from fleetaudit.analysis.causes import Cause
from fleetaudit.model import SEVERITIES, Audited, RunInfo, Severity
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.phrases import agree, count_noun
from fleetaudit.text.sanitize import cut

from .changes import REGRESSED
from .columns import NO_ENDING
from .common import MAIN_SCENARIO
from .host_links import ending_filters
from .sentences import linked_number, make_sentence
from .summary import SummaryInput
from .view_model import (
    NOT_SELECTED,
    Changes,
    Column,
    Coverage,
    FindingGroup,
    NextStep,
    Status,
    StatusLevel,
    TextPart,
)

LABELS: Mapping[StatusLevel, str] = {
    "act": "Act",
    "watch": "Watch",
    "as expected": "All as expected",
    "unknown": "Cannot say",
}
"""The words of each level."""
MEANING = "Error: act now. Warning: plan a fix. Info: seen, nobody needs to act."
"""What the severities mean."""
MOST_EXPECTED = 60
"""How many characters of an expectation are in the sentence."""
MOST_NAME = 40
"""How many characters the range of several hosts may have."""

Clause = tuple[TextPart, ...]
ENDING_VERBS: Mapping[str, tuple[str, str]] = {
    "RST": ("resets", "reset"),
    "FIN": ("sends FIN", "send FIN"),
    "FIN, then RST": ("sends FIN, then RST", "send FIN, then RST"),
    "nothing": ("sends nothing", "send nothing"),
    "sent, not delivered": (
        "sends an RST that does not arrive",
        "send an RST that does not arrive",
    ),
}
_NO_ENDING_VERB = ("has no certain ending", "have no certain ending")
_OTHER_VERB = ("ends otherwise", "end otherwise")
_WHOLE_VERBS: Mapping[str, tuple[str, str]] = {
    "host-key": (
        "has another host key than the known one",
        "have another host key than the known one",
    ),
    "control": (
        "is void: the positive control failed, so its verdicts do not count",
        "are void: the positive control failed, so their verdicts do not count",
    ),
    "not-watched": ("could not be watched", "could not be watched"),
}
"""What is wrong with hosts, whatever the playbook expects, by the kind of the finding."""
_KIND_VERBS: Mapping[str, tuple[str, str]] = {
    **_WHOLE_VERBS,
    "kernel": ("differs", "differ"),
    "sysctl": ("has an unexpected value", "have an unexpected value"),
    "exposure": ("has an unexpected number", "have an unexpected number"),
    "watch": ("has an unexpected number", "have an unexpected number"),
    "service": ("answers or closes unexpectedly", "answer or close unexpectedly"),
}
"""What hosts with a finding do, in the singular and in the plural, by the kind of the finding."""


class _Facts(NamedTuple):
    """What a rule decides by. `lead` is the finding to name, None if none is open."""

    source: SummaryInput
    run: RunInfo
    audited: Sequence[Audited]
    lead: FindingGroup | None

    @property
    def coverage(self) -> Coverage:
        return self.source.coverage

    @property
    def to_audit(self) -> int:
        """How many hosts should have a result: those that some play matches."""
        return self.coverage.selected - self.coverage.not_selected

    @property
    def proven(self) -> int:
        """How many hosts have verdicts that count."""
        return self.coverage.valid - max(self.source.met.hosts_without_verdict, self.undecided)

    @property
    def undecided(self) -> int:
        """How many hosts have no certain ending in the main scenario, over no family."""
        column = _least_undecided(self.source.columns)
        return 0 if column is None else _count_undecided(column)

    @property
    def worst(self) -> Severity | None:
        """The severity of the finding to name."""
        if self.lead is None:
            return None
        return self.lead.severity

    @property
    def regressed(self) -> int:
        """How many hosts regressed since the earlier run without a waiver."""
        return _count_regressed(self.source.changes)


class _Decision(NamedTuple):
    """A level with its reasons.

    `gaps`: whether to add the hosts without a result. `named_void`: how many of the void hosts the
    reasons are about.
    """

    level: StatusLevel
    clauses: Sequence[Clause]
    first: NextStep | None
    gaps: bool = True
    named_void: int = 0


_Rule = Callable[[_Facts], _Decision | None]


def decide_status(source: SummaryInput, run: RunInfo, audited: Sequence[Audited]) -> Status:
    """Returns the status of a run; `audited` are its audited hosts, in the order of the run."""
    facts = _Facts(source, run, audited, lead_finding(source.findings))
    decision = next(filter(None, (rule(facts) for rule in _RULES)))
    clauses = [*decision.clauses]
    if decision.gaps:
        clauses += _gaps(facts, decision.named_void)
    return Status(
        level=decision.level,
        label=LABELS[decision.level],
        sentence=_join(clauses),
        first=decision.first,
        meaning=MEANING,
    )


def lead_finding(findings: Iterable[FindingGroup]) -> FindingGroup | None:
    """Returns the open finding to name: the most severe, and of these the one with most hosts.

    None if no finding is open. A failed control is named only if there is nothing else as severe.
    """
    return min((group for group in findings if group.hosts), key=_lead_key, default=None)


def _lead_key(group: FindingGroup) -> tuple[int, bool, int]:
    """Returns the key that sorts findings: the one to name first."""
    severity = -SEVERITIES.index(group.severity)
    return severity, group.kind == "control", -group.hosts


# ---- the rules, in their order


def _nothing_to_audit(facts: _Facts) -> _Decision | None:
    """Decides for a run in which no host was to be audited."""
    if facts.to_audit:
        return None
    hosts = facts.coverage.selected
    text = "no host was selected"
    if hosts:
        text = f"no play matches {agree(hosts, 'the one', f'any of the {hosts:,}')} selected "
        text += agree(hosts, "host", "hosts")
    command = shlex.join(["fleetaudit", "inventory", *facts.run.inventory, "--list-hosts"])
    first = NextStep(text=command, is_command=True)
    return _Decision("unknown", [make_sentence(text)], first, gaps=False)


def _known_error(facts: _Facts) -> _Decision | None:
    """Decides for an error that holds however many hosts are missing."""
    if facts.worst != "error" or facts.lead is None or facts.lead.kind == "control":
        return None
    return _unmet("act", facts, facts.lead)


def _too_few(facts: _Facts) -> _Decision | None:
    """Decides for a run in which fewer than half of the hosts have verdicts that count."""
    if 2 * facts.proven >= facts.to_audit:
        return None
    one, many = "the one host was not audited", "none of {} hosts was audited"
    if not facts.coverage.audited:
        text = agree(facts.to_audit, one, many.format(f"{facts.to_audit:,}"))
        return _Decision("unknown", [make_sentence(text)], _reach(facts), gaps=False)
    first = _reach(facts) or _look_at_void(facts) or _look_at_undecided(facts)
    return _Decision("unknown", [make_sentence(_few_verdicts(facts)), *_undecided(facts)], first)


def _few_verdicts(facts: _Facts) -> str:
    """Returns on how few hosts verdicts count."""
    total = f"{facts.to_audit:,}"
    if facts.proven:
        verb = agree(facts.proven, "has", "have")
        return f"only {facts.proven:,} of {total} hosts {verb} verdicts that count"
    one, many = (
        "the one host has no verdict that counts",
        "none of {} hosts has a verdict that counts",
    )
    return agree(facts.to_audit, one, many.format(total))


def _open_finding(facts: _Facts) -> _Decision | None:
    """Decides for an open finding above info."""
    if facts.lead is None or facts.lead.severity == "info":
        return None
    level: StatusLevel = "watch"
    if facts.lead.severity == "error":
        level = "act"
    return _unmet(level, facts, facts.lead)


def _regression(facts: _Facts) -> _Decision | None:
    """Decides for a run that has only regressed, such as in something of severity info."""
    if not facts.regressed:
        return None
    first = NextStep(text="Read what changed, the regressions first")
    return _Decision("watch", [*_regressions(facts), *_all_met(facts)], first)


def _without_expectations(facts: _Facts) -> _Decision | None:
    """Decides for a playbook that only observes."""
    met = facts.source.met
    if met.scenarios_total or met.expectations_total or facts.lead is not None:
        return None
    hosts = count_noun(facts.coverage.audited, "host")
    text = f"the playbook has no expectation of what ran on {hosts}"
    first = NextStep(text="Add “expect” to the scenarios of the playbook")
    return _Decision("unknown", [make_sentence(text)], first)


def _missing_hosts(facts: _Facts) -> _Decision | None:
    """Decides for a run in which all is as expected where it is known."""
    if not facts.coverage.not_audited:
        return None
    return _Decision("watch", _all_met(facts), _reach(facts))


def _as_expected(facts: _Facts) -> _Decision:
    return _Decision("as expected", _all_met(facts), None)


_RULES: tuple[_Rule, ...] = (
    _nothing_to_audit,
    _known_error,
    _too_few,
    _open_finding,
    _regression,
    _without_expectations,
    _missing_hosts,
    _as_expected,
)
"""The first rule that decides counts; the last one always does."""


def _unmet(level: StatusLevel, facts: _Facts, lead: FindingGroup) -> _Decision:
    """Returns the decision by an open finding."""
    clauses = [_describe(lead, facts.coverage), *_other_findings(facts, lead), *_regressions(facts)]
    named_void = lead.hosts * (lead.kind == "control")
    return _Decision(level, clauses, _remedy(facts, lead), named_void=named_void)


# ---- the clauses


def _join(clauses: Iterable[Clause]) -> Clause:
    """Returns the clauses as one sentence."""
    parts = list[TextPart]()
    for clause in clauses:
        parts += [*clause, TextPart(text="; ")]
    return (*parts[:-1], TextPart(text="."))


def _describe(group: FindingGroup, coverage: Coverage) -> Clause:
    """Returns what is wrong on how many hosts.

    For example "12 of 400 audited hosts reset in reread-fin-close, where the playbook expects FIN
    (error)".
    """
    total, noun = coverage.audited, "audited host"
    if not group.audited:
        total, noun = coverage.selected, "selected host"
    number = linked_number(_of(group.hosts, total, noun), group.anchor, group.open_filters)
    verb = agree(group.hosts, *_verbs(group))
    if group.kind in _WHOLE_VERBS:
        return make_sentence(number, f" {verb} ({group.severity})")
    subject = TextPart(text=group.subject, link=group.link or group.anchor, untrusted=True)
    expected = TextPart(text=cut(group.expected, MOST_EXPECTED), untrusted=True)
    where = ", where the playbook expects "
    return make_sentence(number, f" {verb} in ", subject, where, expected, f" ({group.severity})")


def _verbs(group: FindingGroup) -> tuple[str, str]:
    """Returns what hosts with a finding do, in the singular and in the plural."""
    if group.kind != "scenario":
        return _KIND_VERBS.get(group.kind, _OTHER_VERB)
    observed = {row.observed.partition("; ")[0] for row in group.rows if row.is_open}
    if all(text.startswith("unknown: ") for text in observed):
        return _NO_ENDING_VERB
    if len(observed) > 1:
        return _OTHER_VERB
    return ENDING_VERBS.get(observed.pop(), _OTHER_VERB)


def _other_findings(facts: _Facts, lead: FindingGroup) -> list[Clause]:
    """Returns how many other expectations above info are not met, [] if none."""
    others = sum(group.needs_attention for group in facts.source.findings) - lead.needs_attention
    if not others:
        return []
    number = linked_number(count_noun(others, "more expectation"), "expectations")
    return [make_sentence(number, f" {agree(others, 'is', 'are')} not met")]


def _regressions(facts: _Facts) -> list[Clause]:
    """Returns how many hosts regressed since the earlier run, [] if none."""
    changes, hosts = facts.source.changes, facts.regressed
    if changes is None or not hosts:
        return []
    number = linked_number(count_noun(hosts, "host"), "changes", {"changed": "regression"})
    return [make_sentence(number, f" regressed since {changes.since}")]


def _count_regressed(changes: Changes | None) -> int:
    """Returns how many hosts have a regression; 0 if every listed one is waived."""
    if changes is None:
        return 0
    regressions = [row for row in changes.rows if row.effect == "regression"]
    if all(row.waived is not None for row in regressions):
        return 0
    return sum(hosts for hosts, text in changes.counts if text == REGRESSED)


def _all_met(facts: _Facts) -> list[Clause]:
    """Returns that all is as expected on the hosts that count, apart from info and waivers."""
    hosts = facts.proven
    all_hosts = agree(hosts, "the one audited host", f"all {hosts:,} audited hosts")
    if hosts < facts.coverage.audited:
        all_hosts = f"all {count_noun(hosts, 'host')} with verdicts that count"
    meet = f"{all_hosts} {agree(hosts, 'meets', 'meet')} every expectation"
    clauses = [make_sentence(meet + _exceptions(facts)), *_undecided(facts)]
    missing = facts.source.met.verdicts_not_run
    if missing:
        verdicts = count_noun(facts.source.met.verdicts, "verdict")
        number = linked_number(f"{missing:,} of {verdicts}", "not-run")
        clauses.append(make_sentence(number, f" {agree(missing, 'was', 'were')} not run"))
    return clauses


def _undecided(facts: _Facts) -> list[Clause]:
    """Returns how many hosts have no certain ending in the main scenario, [] if none.

    Nor if that are the hosts that ran no scenario, of which a sentence has a clause.
    """
    column, hosts = _least_undecided(facts.source.columns), facts.undecided
    if column is None or hosts <= facts.source.met.hosts_without_verdict:
        return []
    share = _of(hosts, facts.coverage.selected, "host")
    number = linked_number(share, column.anchor, ending_filters(column, NO_ENDING))
    verb = agree(hosts, *_NO_ENDING_VERB)
    subject = TextPart(text=column.scenario, link=column.anchor, untrusted=True)
    return [make_sentence(number, f" {verb} in ", subject)]


def _least_undecided(columns: Iterable[Column]) -> Column | None:
    """Returns the column of the main scenario with the fewest hosts without a certain ending.

    None if the playbook does not have the scenario, or expects nothing of it.
    """
    main = [column for column in columns if column.scenario == MAIN_SCENARIO and column.expect]
    return min(main, key=_count_undecided, default=None)


def _count_undecided(column: Column) -> int:
    """Returns how many hosts, void ones apart, have no certain ending in a column."""
    counts = chain.from_iterable(cell.counts for cell in column.cells)
    return sum(hosts for ending, hosts in counts if ending in NO_ENDING)


def _exceptions(facts: _Facts) -> str:
    """Returns what is not met although nobody needs to act: findings of info and waived ones."""
    waived = sum(group.waived for group in facts.source.findings)
    texts = list[str]()
    if facts.lead is not None:
        info = sum(hosts for _, hosts in facts.source.unmet_hosts)
        texts.append(f"except for info on {_of(info, facts.coverage.audited, 'host')}")
    if waived:
        texts.append(f"except for {count_noun(waived, 'waived finding')}")
    return "".join(f", {text}" for text in texts)


def _gaps(facts: _Facts, named_void: int) -> list[Clause]:
    """Returns which hosts have no result, by reason; void hosts only if some are not named yet."""
    coverage = facts.coverage
    unnamed_void = coverage.void * (coverage.void > named_void)
    void = "void because the positive control failed"
    gaps = (
        (coverage.not_audited, "not-audited", "not audited", ("was", "were"), "not audited"),
        (unnamed_void, "legend", "void", ("is", "are"), void),
        (facts.source.met.hosts_without_verdict, "not-run", "", ("ran", "ran"), "no scenario"),
        (coverage.not_selected, NOT_SELECTED, "not selected", ("is", "are"), _NO_PLAY),
    )
    return [
        make_sentence(
            linked_number(_of(hosts, coverage.selected, "host"), anchor, {"state": state}),
            f" {agree(hosts, *verbs)} {text}",
        )
        for hosts, anchor, state, verbs, text in gaps
        if hosts
    ]


_NO_PLAY = "not selected by any play"


def _of(n: int, total: int, noun: str) -> str:
    """Returns "12 of 400 hosts", "all 4 hosts" or "the one host"."""
    if n < total:
        return f"{n:,} of {count_noun(total, noun)}"
    return agree(total, f"the one {noun}", f"all {total:,} {noun}s")


# ---- what to do first


def _remedy(facts: _Facts, group: FindingGroup) -> NextStep | None:
    """Returns the remedy of most hosts of a finding; without one, where to see the evidence."""
    if group.remedies:
        remedy = group.remedies[0]
        hosts = "" if group.waived else _name_or_count(remedy.hosts)
        return NextStep(text=remedy.text, is_command=remedy.is_command, hosts=hosts)
    ids = {*group.ids}
    host = next((host for host in facts.audited if _has_open(host, ids)), None)
    if host is None:
        return _reach(facts)
    observed = {o.scenario for o in host.observations}
    scenario = {group.subject} & observed
    return NextStep(explain=(host.name, *scenario))


def _has_open(host: Audited, ids: Container[str]) -> bool:
    """Returns whether a host has an open finding with one of the ids."""
    return any(finding.id in ids and finding.is_open for finding in host.findings)


def _look_at_void(facts: _Facts) -> NextStep | None:
    """Returns how to see why the first void host is void, None without one."""
    void = next((host for host in facts.audited if host.void), None)
    if void is None:
        return None
    return NextStep(explain=(void.name,))


def _look_at_undecided(facts: _Facts) -> NextStep | None:
    """Returns how to see why the first host has no certain ending, None without such a host."""
    host = next(filter(_is_undecided, facts.audited), None)
    if host is None:
        return None
    return NextStep(explain=(host.name, MAIN_SCENARIO))


def _is_undecided(host: Audited) -> bool:
    """Returns whether a host ran the main scenario, and no family of it has a certain ending."""
    endings = {o.ending for o in host.observations if o.scenario == MAIN_SCENARIO}
    return bool(endings) and endings <= {*NO_ENDING}


def _reach(facts: _Facts) -> NextStep | None:
    """Returns the next command for the cause that costs most hosts, None without a hint."""
    hinted = [cause for cause in facts.source.causes if cause.hints]
    if not hinted:
        return None
    cause = max(hinted, key=_cause_hosts)
    host, hint = cause.hints[0]
    return NextStep(text=hint, is_command=cause.typed, hosts=host)


def _name_or_count(hosts: HostRanges) -> str:
    """Returns the hosts as one range, or how many they are if one range is too long or too few."""
    one = hosts.ranges[0]
    if hosts.count == 1 or (hosts.ranges == (one,) and not hosts.more and len(one) <= MOST_NAME):
        return one
    return count_noun(hosts.count, "host")


def _cause_hosts(cause: Cause) -> int:
    return cause.hosts.count
