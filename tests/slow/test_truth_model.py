"""The whole set of generated scenarios."""

from __future__ import annotations

from fleetaudit.playbook.step_order import order_problem
from tests.truth.generate import generated


def test_the_generator_gives_hundreds_of_distinct_scenarios_that_a_probe_can_run() -> None:
    cases = generated()
    assert len(cases) >= 200
    assert len({case.scenario.name for case in cases}) == len(cases)
    assert len({tuple(s.call for s in case.scenario.steps) for case in cases}) == len(cases)
    for case in cases:
        assert order_problem(case.scenario.steps) == ""
        assert case.scenario.expect == (case.prediction.ending,)
        assert not case.scenario.is_positive_control


def test_no_ending_depends_on_whether_a_kernel_answers_an_ack_of_what_it_never_sent() -> None:
    for case in generated():
        for prediction in (case.prediction, case.before_fix):
            assert prediction.other is None or prediction.other.ending == prediction.ending


def test_the_generated_set_has_every_ending_and_both_sides_of_the_fix() -> None:
    assert {case.prediction.ending for case in generated()} == {
        "FIN",
        "RST",
        "FIN, then RST",
        "nothing",
    }
    assert any(case.prediction.ending != case.before_fix.ending for case in generated())
