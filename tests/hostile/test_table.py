"""A section fails if one case is wrong, if a case itself breaks, or if none was selected."""

from __future__ import annotations

import pytest

from .table import Case, Seen, main


def _breaks() -> Seen:
    raise ValueError("no server")


GOOD = Case("good", lambda: Seen(cells={"stage": "connect"}))
WRONG = Case("wrong", lambda: Seen(wrong=("two threads left",)))
BROKEN = Case("broken", _breaks)


def test_a_section_that_is_as_it_must_be_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("faults", ["stage"], [GOOD], []) == 0
    assert "good | connect | as it must be" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("case", "text"), [(WRONG, "two threads left"), (BROKEN, "ValueError: no server")]
)
def test_a_wrong_or_broken_case_fails_the_section_and_hides_no_other(
    case: Case, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("faults", ["stage"], [case, GOOD], []) == 1
    out = capsys.readouterr().out
    assert text in out
    assert "2 cases, 1 as they must be, 1 not" in out


def test_a_section_without_a_case_fails() -> None:
    assert main("faults", ["stage"], [GOOD], ["--only", "other"]) == 1


def test_a_case_that_runs_alone_runs_after_those_that_run_together() -> None:
    ran = list[str]()

    def case(name: str, *, alone: bool) -> Case:
        return Case(name, lambda: ran.append(name) or Seen(), alone=alone)  # type: ignore[func-returns-value]

    cases = [case("fleet", alone=True), case("one", alone=False), case("two", alone=False)]
    assert main("faults", [], cases, [], at_once=2) == 0
    assert sorted(ran[:2]) == ["one", "two"]
    assert ran[2] == "fleet"
