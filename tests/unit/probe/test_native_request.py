"""The request of the native probe as text."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleetaudit.model import HostPlan, Step
from fleetaudit.probe.native_request import native_digest, native_request
from fleetaudit.probe.protocol import request_digest
from tests.support.probe_runs import plan_of


@pytest.fixture(scope="module")
def plan() -> HostPlan:
    return plan_of("drained-close", "unread-close", trials=3)


def test_a_request_is_lines_of_words(plan: HostPlan) -> None:
    lines = bytes(native_request(plan, deadline_s=57.31, nonce="5f0c")).decode("ascii").splitlines()
    assert lines[0] == "fleetaudit-request/1"
    assert "isolation\tauto" in lines
    assert f"digest\t{native_digest(plan)}" in lines
    at = lines.index("scenario\tunread-close\t3\tipv4\tipv6")
    assert lines[at + 1] == "expect\tRST"
    assert lines[at + 2 : at + 4] == ["step\tpeer\tsend\t5", "step\tcloser\tclose"]
    assert lines[-3:-1] == ["deadline\t57.3", "nonce\t5f0c"]


def test_the_last_line_is_the_length_of_all(plan: HostPlan) -> None:
    text = bytes(native_request(plan, deadline_s=1, nonce="a"))
    assert text.endswith(b"\nend %08d\n" % len(text))


def test_hosts_with_an_equal_plan_share_what_comes_first(plan: HostPlan) -> None:
    one = native_request(plan, deadline_s=1, nonce="a")
    other = native_request(replace(plan, name="other"), deadline_s=2, nonce="b")
    assert one.shared is other.shared
    assert one.own != other.own


def test_each_program_has_a_digest_of_its_own(plan: HostPlan) -> None:
    assert native_digest(plan) != request_digest(plan)
    assert native_digest(replace(plan, isolation="host")) != native_digest(plan)


@pytest.mark.parametrize("word", ["a\tb", "a\nb", "ü", "\x7f"])
def test_a_word_that_would_be_another_line_is_refused(plan: HostPlan, word: str) -> None:
    step = Step(text="", call=("closer", "set", word))
    scenario = replace(plan.scenarios[0], steps=(step,))
    with pytest.raises(ValueError, match="no room"):
        native_request(replace(plan, scenarios=(scenario,)), deadline_s=1)
