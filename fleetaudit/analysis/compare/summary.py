"""The five answers at the head of the page: sentences with their numbers, each with the coverage it
rests on. Pure.

Rules: a sentence is true of an empty fleet, of one host and of ten thousand. A number that a reader
would doubt is a link to where it comes from. Nothing is said of a host that was not audited or is
void but that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleetaudit.analysis.causes import Cause
from fleetaudit.model import Severity

from .view_model import (
    NOT_SELECTED,
    Answer,
    Build,
    Changes,
    Column,
    Coverage,
    FindingGroup,
    KernelClass,
    KernelKey,
    Met,
    Part,
    Production,
    Say,
)


def answers_of(
    *,
    coverage: Coverage,
    met: Met,
    kernels: Sequence[KernelClass],
    builds: Sequence[Build],
    columns: Sequence[Column],
    findings: Sequence[FindingGroup],
    short: Sequence[tuple[Severity, int]],
    changes: Changes | None,
    causes: Sequence[Cause],
    felt: Sequence[Production],
) -> tuple[Answer, ...]:
    """Returns the five answers in their order; `felt` are all hosts that told their counters, most
    aborts first.
    """
    seen = coverage_words(coverage)
    return (
        _answer(
            "kernels", "Which kernels reset?", _kernels(coverage, kernels, builds, columns), seen
        ),
        _answer(
            "expectations", "Which hosts fall short?", _short(coverage, met, findings, short), seen
        ),
        _answer("changes", "What changed?", _changed(changes), _compared(changes, coverage)),
        _answer(
            "not-audited", "Which hosts were not audited?", _missing(coverage, causes, findings), ""
        ),
        _answer(
            "production",
            "Where does production feel it?",
            _felt(coverage, felt),
            _told(felt, coverage),
        ),
    )


def coverage_words(c: Coverage) -> str:
    """Returns what a claim about the fleet rests on."""
    if not c.selected:
        return "no host was selected"
    words = f"from {_of(c.audited - c.void, c.selected, 'selected host')}"
    gaps = (
        (c.not_audited, "not audited"), (c.not_selected, "not selected by any play"), (c.void, "void"),
    )  # fmt: skip
    named = ", ".join(f"{n:,} {what}" for n, what in gaps if n)
    return words + (f"; {named}" if named else "")


def counted(n: int, noun: str, plural: str = "") -> str:
    """Returns "1 host", "2 hosts"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def _of(n: int, of: int, noun: str) -> str:
    return (
        f"the one {noun}"
        if n == of == 1
        else f"all {of:,} {noun}s"
        if n == of
        else f"{n:,} of {counted(of, noun)}"
    )


def _answer(key: str, question: str, says: Iterable[Say], coverage: str) -> Answer:
    return Answer(key=key, question=question, says=tuple(says), coverage=coverage)


def _say(*parts: str | Part) -> Say:
    return tuple(Part(text=p) if isinstance(p, str) else p for p in parts)


def _link(text: str, anchor: str, *, strong: bool = False, said: bool = False) -> Part:
    return Part(text=text, link=anchor, strong=strong, said=said)


def _nothing(c: Coverage) -> str:
    if not c.selected:
        return "No host was selected, so nothing is known of any kernel."
    if not c.audited:
        return "No host was audited, so nothing is known of any kernel."
    return (
        "The positive control failed on every audited host, so nothing that was seen proves"
        " anything."
    )


# ---- 1: kernels
# ----------------------------------------------------------------------------------------------------


def _kernels(
    c: Coverage, kernels: Sequence[KernelClass], builds: Sequence[Build], columns: Sequence[Column]
) -> list[Say]:
    if c.audited == c.void:
        return [_say(_nothing(c))]
    by: dict[KernelKey, Sequence[tuple[Build, tuple[Column, ...]]]] = {
        k.key: k.builds for k in kernels
    }
    says = list[Say]()
    main = next((x for x in columns if x.scenario == "unread-close"), None)
    main = main or next((x for x in columns if x.expect == "RST" and x.control), None)
    if resets := by.get("resets", ()):
        says.append(_resets(resets, len(builds)))
    else:
        of = f"None of {len(builds):,} kernel builds resets"
        if len(builds) == 1:
            of = "The one kernel build never resets"
        says.append(_say(f"{of} where no RST is expected."))
    if main is not None:
        says.append(_main(main, len(builds)))
    rest: tuple[tuple[KernelKey, str, str], ...] = (
        (
            "mixed",
            "is mixed: its hosts end differently",
            "are mixed: hosts of the same build end differently",
        ),
        ("otherwise", "is otherwise not as expected", "are otherwise not as expected"),
        ("untold", "could in part not be told", "could in part not be told"),
        (
            "void",
            "is void: the positive control failed on all its hosts",
            "are void: the positive control failed on all their hosts",
        ),
        ("observed", "was observed without an expectation", "were observed without an expectation"),
        ("met", "does as expected in every scenario", "do as expected in every scenario"),
    )
    for key, verb, verbs in rest:
        if named := by.get(key, ()):
            words = f"{len(named):,} of {counted(len(builds), 'build')}"
            says.append(
                _say(
                    _link(words, "kernels", strong=True), f" {verb if len(named) == 1 else verbs}."
                )
            )
    return says


def _resets(resets: Sequence[tuple[Build, tuple[Column, ...]]], builds: int) -> Say:
    columns = dict.fromkeys(column for _, why in resets for column in why)
    hosts = sum(build.hosts.count for build, _ in resets)
    number = _link(f"{len(resets):,} of {counted(builds, 'kernel build')}", "kernels", strong=True)
    verb = " resets " if len(resets) == 1 else " reset "
    if all(column.all_read for column in columns):
        what = "a connection whose data had all been read"
    else:
        what = "a connection where no RST is expected"
    ran = f"; {counted(hosts, 'host runs', 'hosts run')} {'it' if len(resets) == 1 else 'them'}."
    return _say(number, verb, what, ran)


def _main(column: Column, builds: int) -> Say:
    link = _link(column.title or column.scenario, column.anchor, said=True)
    if len(column.groups) == 1:
        on = "on the one kernel build" if builds == 1 else f"on all {builds:,} kernel builds"
        return _say(link, f": {column.groups[0][0]} {on}.")
    return _say(
        link,
        ": ",
        ", ".join(f"{word} on {len(of):,}" for word, _, of in column.groups),
        f" of {builds:,}.",
    )


# ---- 2: expectations
# -----------------------------------------------------------------------------------------------


def _short(
    c: Coverage, met: Met, findings: Sequence[FindingGroup], short: Sequence[tuple[Severity, int]]
) -> list[Say]:
    if not c.audited:
        return [
            _say(
                "No host was selected."
                if not c.selected
                else "No host was audited, so nobody can tell."
            )
        ]
    waived = sum(f.waived for f in findings if f.audited)
    accepted = f" {counted(waived, 'finding is', 'findings are')} waived." if waived else ""
    if not short:
        whole = (
            "The one audited host meets" if c.audited == 1 else f"None of {c.audited:,}: all meet"
        )
        every = _say(
            f"{whole} every expectation{', but for what is waived' if waived else ''}.{accepted}"
        )
        return [every, *_met(met)]
    n = sum(hosts for _, hosts in short)
    by = ", ".join(f"{hosts:,} {_gravity(severity)}" for severity, hosts in short)
    number = _link(f"{n:,} of {counted(c.audited, 'audited host')}", "expectations", strong=True)
    short_ = _say(
        number, f" {'falls' if n == 1 else 'fall'} short of the playbook: {by}.{accepted}"
    )
    return [short_, *_met(met)]


def _met(met: Met) -> list[Say]:
    return [_say(words)] if (words := met_words(met)) else []


def met_words(met: Met) -> str:
    """Returns what was met as a sentence, "" if nothing ran."""
    parts = list[str]()
    if met.of_scenarios:
        of = counted(met.of_scenarios, "scenario")
        parts.append(f"{met.scenarios:,} of {of} as expected on {counted(met.hosts, 'host')}")
    if met.of_expectations:
        other = "other expectation" if parts else "expectation"
        where = "" if parts else f" on {counted(met.hosts, 'host')}"
        parts.append(f"{met.expectations:,} of {counted(met.of_expectations, other)} met{where}")
    return f"{'; '.join(parts)}." if parts else ""


def _gravity(severity: Severity) -> str:
    return {"info": "for information", "warning": "by a warning", "error": "by an error"}[severity]


# ---- 3: changes
# ----------------------------------------------------------------------------------------------------


def _changed(changes: Changes | None) -> list[Say]:
    if changes is None:
        return [_say("There is no earlier run to compare with.")]
    if changes.refused:
        return [_say("That cannot be told: ", Part(text=changes.refused, said=True), ".")]
    if not changes.counts:
        return [_say(f"Nothing since {changes.since}.")]
    parts = [f"{counted(n, 'host')} {words}" for n, words in changes.counts]
    return [_say(f"Since {changes.since}: ", _link(", ".join(parts), "changes", strong=True), ".")]


def _compared(changes: Changes | None, c: Coverage) -> str:
    if changes is None or changes.refused:
        return ""
    return f"{_of(changes.compared, c.selected, 'selected host')} laid beside the run before"


# ---- 4: not audited
# ------------------------------------------------------------------------------------------------


def _missing(c: Coverage, causes: Sequence[Cause], findings: Sequence[FindingGroup]) -> list[Say]:
    if not c.selected:
        return [_say("No host was selected.")]
    if not c.not_audited:
        return [_all_audited(c), *_unmatched(c)]
    number = _link(
        f"{c.not_audited:,} of {counted(c.selected, 'selected host')}", "not-audited", strong=True
    )
    verb = "was" if c.not_audited == 1 else "were"
    says = [_say(number, f" {verb} not audited, for {counted(len(causes), 'cause')}.")]
    if changed := [f for f in findings if not f.audited and f.hosts]:
        n = sum(f.hosts for f in changed)
        known = _link(counted(n, "host"), changed[0].anchor, strong=True)
        says.append(
            _say(known, f" {'shows' if n == 1 else 'show'} another host key than the known one.")
        )
    return [*says, *_unmatched(c)]


def _all_audited(c: Coverage) -> Say:
    verb = "was" if c.audited == 1 else "were"
    if c.not_selected:
        return _say(
            f"None: {_of(c.audited, c.audited, 'host')} that a play matches {verb} audited."
        )
    return _say(f"None: {_of(c.selected, c.selected, 'selected host')} {verb} audited.")


def _unmatched(c: Coverage) -> list[Say]:
    if not c.not_selected:
        return []
    number = _link(counted(c.not_selected, "host"), NOT_SELECTED, strong=True)
    return [_say(number, f" {'is' if c.not_selected == 1 else 'are'} not selected by any play.")]


# ---- 5: production
# -------------------------------------------------------------------------------------------------


def _felt(c: Coverage, felt: Sequence[Production]) -> list[Say]:
    if not c.audited:
        return [
            _say(
                "No host was selected."
                if not c.selected
                else "No host was audited, so nobody can tell."
            )
        ]
    says = list[Say]()
    rated = [p for p in felt if p.per_thousand is not None]
    aborting = [p for p in rated if p.per_thousand]
    if aborting:
        most = aborting[0]
        number = _link(f"{most.per_thousand:,.2f} of 1,000 connections", "production", strong=True)
        where = _link(most.host, most.anchor, said=True)
        says.append(
            _say("Most on ", where, ": ", number, " since its boot were closed with unread data.")
        )
    elif rated:
        says.append(
            _say(
                f"Nowhere: no connection of {counted(len(rated), 'host')} was closed with unread"
                " data."
            )
        )
    holding = [p for p in felt if p.unread_sockets]
    if holding:
        sockets = sum(p.unread_sockets or 0 for p in holding)
        words = f"{counted(sockets, 'socket')} on {counted(len(holding), 'host')}"
        hold = "holds" if sockets == 1 else "hold"
        says.append(_say(_link(words, "production", strong=True), f" {hold} unread data now."))
    return says or [_say("No audited host told its own counters.")]


def _told(felt: Sequence[Production], c: Coverage) -> str:
    rated = sum(1 for p in felt if p.per_thousand is not None)
    return (
        f"from the counters of {_of(rated, c.audited, 'audited host')}"
        if c.audited and felt
        else ""
    )
