"""This kernel and tcpdump agree with the model of the generated scenarios."""

from __future__ import annotations

import pytest

from fleetaudit.model import Scenario
from fleetaudit.probe.verdict import trial_verdict
from tests.support.probe_runs import (
    SYN,
    TcpdumpRun,
    need_root,
    request,
    run,
    run_with_tcpdump,
)
from tests.support.timed_replies import TimedTrial
from tests.truth.agreement import disagreements
from tests.truth.generate import generated
from tests.truth.model import RAW


@pytest.mark.slow
def test_this_kernel_ends_generated_scenarios_as_the_model_predicts() -> None:
    """A part of the set; `make truth` runs all of it, in random orders and on other kernels."""
    cases = {case.scenario.name: case for case in generated()[::8]}
    need_root()
    call = request(
        *(as_asked(case.scenario) for case in cases.values()), isolation="namespace", deadline=300
    )
    reply = run(call)
    found = dict[str, list[str]]()
    for observation in reply.observations:
        case = cases[observation.scenario]
        assert observation.not_run == ""
        for trial in observation.trials:
            ending, why = trial_verdict(
                trial, case.scenario.steps, observation.family, reply.isolation
            )
            if words := [*disagreements(case.prediction, trial, ending)]:
                found[observation.scenario] = [why, *words]
    assert found == {}


@pytest.mark.slow
def test_tcpdump_sees_the_segments_that_the_model_predicts() -> None:
    cases = {case.scenario.name: case for case in generated()[::16] if not is_raw(case.scenario)}
    call = request(
        *(as_asked(case.scenario) for case in cases.values()), isolation="host", deadline=300
    )
    beside = run_with_tcpdump(call)
    assert len(beside.reply.observations) == len(cases)
    for observation in beside.reply.observations:
        (trial,) = observation.trials
        case = cases[observation.scenario]
        assert seen_by_tcpdump(beside, trial, case.scenario) == [*case.prediction.wire], (
            observation.scenario
        )


def is_raw(scenario: Scenario) -> bool:
    return any(step.call[1] in RAW for step in scenario.steps)


def seen_by_tcpdump(beside: TcpdumpRun, trial: TimedTrial, scenario: Scenario) -> list[str]:
    """Returns "sender flags" of the segments with FIN or RST before the probe cleaned up, a FIN
    sent again once.
    """
    assert trial.connection is not None
    assert trial.wire
    packets = beside.of(trial)
    client = next(p.source for p in packets if p.bits == SYN)
    sides = (
        ("closer", "peer") if scenario.steps[0].text == "closer connects" else ("peer", "closer")
    )
    last = (
        trial.connection.began + trial.wire[-1].at_us / 1e6 + 2e-6
    )  # it counts in whole microseconds
    found = dict[tuple[object, ...], str]()
    for number, p in enumerate(packets):
        flags = "F" * (p.bits & 1) + "R" * (p.bits >> 2 & 1) + "." * (p.bits >> 4 & 1)
        again = (p.source, p.seq) if "F" in flags else (number,)
        if p.at <= last and {*flags} & {*"FR"}:
            found.setdefault(again, f"{sides[p.source != client]} {flags}")
    return [*found.values()]


def as_asked(scenario: Scenario) -> dict[str, object]:
    steps = [step.call for step in scenario.steps]
    return {"name": scenario.name, "steps": steps, "families": [*scenario.families], "trials": 1}
