"""Makes the outline of a run: what the history of its job needs, by groups of equal hosts. Pure.

Rules: a host is taken apart once for all hosts that share its parts. What a host does not meet is a
finding; what it meets is named as well, because only a host that meets an expectation closes a
finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, filterfalse, repeat, starmap
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from fleetaudit.analysis.compare.common import FAMILY_NAMES, MAIN_SCENARIO, K, group_by
from fleetaudit.analysis.judge import ExpectationStatus, expectation_status
from fleetaudit.analysis.judge.fleet import is_of_fleet
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    SEVERITIES,
    Audited,
    AuditRun,
    Drift,
    Finding,
    HostResult,
    Kernel,
    NotAudited,
    Observation,
    ScenarioRow,
    Severity,
)
from fleetaudit.store.outline import (
    CheckOutline,
    ExpectationOutline,
    GroupOutline,
    HostStatus,
    ResetsOutline,
    RunOutline,
    count_hosts,
)
from fleetaudit.store.run_head import head_of

_ID = attrgetter("id")
VOID, NOT_RUN = "void", "not run"
"""The words for the ending of a host whose positive control failed, or that has no observation."""


def outline_of(run: AuditRun) -> RunOutline:
    """Returns the outline of a run; its groups are in the order of their first hosts."""
    maker = _OutlineMaker(run.scenarios)
    by_outcome = group_by(run.hosts, maker.outcome)
    groups = tuple(starmap(_with_hosts, by_outcome.items()))
    return RunOutline(
        run=run.run,
        hosts=count_hosts(groups),
        findings=head_of(run).findings,
        scenario=maker.scenario,
        expectations=maker.expectations(),
        checks=tuple(maker.checks),
        releases=tuple(maker.releases),
        groups=groups,
        resets=_resets(run.drift),
    )


def _with_hosts(outcome: GroupOutline, hosts: Iterable[HostResult]) -> GroupOutline:
    """Returns a group with the names of its hosts."""
    return replace(outcome, hosts=tuple(map(attrgetter("name"), hosts)))


def main_scenario(scenarios: Sequence[ScenarioRow]) -> str:
    """Returns the scenario that the run is about: `MAIN_SCENARIO` if the run has it, else the first
    that must end in RST and has a control, else the first; "" without any.
    """
    in_order = sorted(scenarios, key=_importance)
    return in_order[0].name if in_order else ""


def _importance(row: ScenarioRow) -> int:
    """Returns the key that sorts scenarios: what the run is about comes first."""
    if row.name == MAIN_SCENARIO:
        return 0
    return 1 if row.control and row.expect == ("RST",) else 2


class _Endings(msgspec.Struct, frozen=True, eq=False):
    """What the observations of a host show: the ending of the main scenario, and the expected
    endings that are met (true) or unknown (false). It is compared by identity, which is quick.
    """

    main: str
    verdicts: tuple[tuple[str, bool], ...]


class _OutlineMaker:
    """Makes the outcome of each host of a run, once for the hosts that share their parts.

    The index of a name is its place in the dictionary of all such names.
    """

    def __init__(self, scenarios: Sequence[ScenarioRow]) -> None:
        self.scenario = main_scenario(scenarios)
        self.releases, self.checks = dict[str, int](), dict[CheckOutline, int]()
        self._expected = {row.name: row.expect for row in scenarios}
        self._ids, self._worst = dict[str, int](), dict[str, Severity]()
        self._since = dict[str, str]()
        self._known_checks = dict[tuple[_Endings, frozenset[str], tuple[str, ...], bool], int]()
        self._endings = once_per_object(self._endings_of)
        self._audited = once_per_object(self._outcome_of_audited)
        self._other = once_per_object(self._outcome_of_other)

    def outcome(self, host: HostResult) -> GroupOutline:
        """Returns the group of a host, without the names of its hosts."""
        if not isinstance(host, Audited):
            return self._other(type(host), host.findings)
        return self._audited(
            host.kernel, bool(host.void), host.observations, host.findings, host.expectations
        )

    def expectations(self) -> tuple[ExpectationOutline, ...]:
        """Returns the expectations that the groups refer to, in the order of their indexes."""
        return tuple(
            ExpectationOutline(id_, self._worst.get(id_), self._since.get(id_, ""))
            for id_ in self._ids
        )

    def _outcome_of_other(
        self, kind: type[HostResult], findings: tuple[Finding, ...]
    ) -> GroupOutline:
        """Returns the group of a host that was not audited, or not selected."""
        found, waived = self._findings(findings)
        status: HostStatus = "not audited" if kind is NotAudited else "not selected"
        return GroupOutline(hosts=(), status=status, findings=found, waived=waived)

    def _outcome_of_audited(
        self,
        kernel: Kernel,
        is_void: bool,
        observations: tuple[Observation, ...],
        findings: tuple[Finding, ...],
        others: tuple[str, ...],
    ) -> GroupOutline:
        """Returns the group of an audited host; `others` are its expectations besides scenarios."""
        found, waived = self._findings(findings)
        endings = self._endings(is_void, observations)
        return GroupOutline(
            hosts=(),
            void=is_void,
            ending=endings.main,
            release=_index(kernel.release, self.releases),
            check=self._check(endings, frozenset(map(_ID, findings)), others, is_void),
            findings=found,
            waived=waived,
        )

    def _findings(self, findings: Sequence[Finding]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the indexes of the findings of a host, and of those with a waiver."""
        for finding in findings:
            self._note(finding)
        waived = filterfalse(attrgetter("is_open"), findings)
        return self._indexes(map(_ID, findings)), self._indexes(map(_ID, waived))

    def _note(self, finding: Finding) -> None:
        """Notes the worst severity and the earliest date of the findings with one id."""
        id_ = finding.id
        severities = (finding.severity, self._worst.get(id_, finding.severity))
        self._worst[id_] = max(severities, key=SEVERITIES.index)
        dates = filter(None, (finding.since, self._since.get(id_)))
        self._since[id_] = min(dates, default="")

    def _endings_of(self, is_void: bool, observations: tuple[Observation, ...]) -> _Endings:
        """Returns what the observations of a host show."""
        verdicts = tuple(self._scenarios(is_void, observations))
        main = VOID if is_void else _ending(self.scenario, observations)
        return _Endings(main=main, verdicts=verdicts)

    def _scenarios(
        self, is_void: bool, observations: Iterable[Observation]
    ) -> Iterator[tuple[str, bool]]:
        """Yields the expected endings of a host that are met (true) or unknown (false)."""
        for o in observations:
            status = expectation_status(o, self._expected.get(o.scenario, ()))
            if status in _IS_MET:
                yield f"scenario:{o.scenario}/{o.family}", _IS_MET[status] and not is_void

    def _check(
        self, endings: _Endings, unmet: frozenset[str], others: tuple[str, ...], is_void: bool
    ) -> int:
        """Returns the index of what a host meets, and of what it has no verdict about.

        `unmet` are the ids of its findings. An ending that is not as expected without a finding is
        in neither: the expectation does not apply to the host. Hosts with the same endings, other
        expectations and findings share a check.
        """
        key = (endings, unmet, others, is_void)
        if key not in self._known_checks:
            check = self._new_check(chain(endings.verdicts, _others(is_void, others)), unmet)
            self._known_checks[key] = _index(check, self.checks)
        return self._known_checks[key]

    def _new_check(
        self, verdicts: Iterable[tuple[str, bool]], unmet: frozenset[str]
    ) -> CheckOutline:
        """Returns the expectations that are met (true) and unknown (false), by index."""
        ids: dict[bool, list[str]] = {True: [], False: []}
        for id_, is_met in verdicts:
            ids[is_met].append(id_)
        return CheckOutline(
            self._indexes(filterfalse(unmet.__contains__, ids[True])),
            self._indexes(filterfalse(unmet.__contains__, ids[False])),
        )

    def _indexes(self, ids: Iterable[str]) -> tuple[int, ...]:
        """Returns the indexes of expectations."""
        return tuple(map(_index, ids, repeat(self._ids)))


_IS_MET: dict[ExpectationStatus, bool] = {"met": True, "untold": False, "not run": False}


def _others(is_void: bool, ids: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yields the expectations of a host besides scenarios; those of the fleet compare endings,
    which are unknown on a void host.
    """
    for id_ in ids:
        yield id_, not (is_void and is_of_fleet(id_))


def _index(value: K, known: dict[K, int]) -> int:
    """Returns the index of a value, the next one for a new value."""
    return known.setdefault(value, len(known))


def _ending(scenario: str, observations: Iterable[Observation]) -> str:
    """Returns the ending of one scenario in words, "RST and FIN" if the families differ."""
    endings = {o.family: o.ending for o in observations if o.scenario == scenario}
    in_order = filter(None, map(endings.get, FAMILY_NAMES))
    return " and ".join(dict.fromkeys(in_order)) or NOT_RUN


def _resets(drift: Drift | None) -> ResetsOutline | None:
    """Returns the growth of the counters since the earlier run, None without one."""
    if drift is None or drift.refused:
        return None
    known = [rate for rate in drift.rates if rate.per_thousand is not None]
    return ResetsOutline(
        since=drift.before,
        hosts=len(known),
        connections=sum(map(attrgetter("connections"), known)),
        aborts=sum(map(attrgetter("aborts"), known)),
    )
