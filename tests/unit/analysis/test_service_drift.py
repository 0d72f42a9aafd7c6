"""Services of two runs: a service that loses answers now is a change, with its date."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import Audited, AuditRun, Change, Finding, RunInfo, ServiceResult
from tests.support.service_results import asked, early, idle, service

LOST = "service:upload/early answer"


def run(host: Audited, day: int) -> AuditRun:
    info = RunInfo(
        id=f"2026-01-{day:02}T020000Z",
        started=f"2026-01-{day:02}T02:00:00Z",
        finished=f"2026-01-{day:02}T02:00:09Z",
        fleetaudit="0.1.0",
        playbooks=("services.yml",),
        controller="Python",
    )
    return AuditRun(run=info, scenarios=(), hosts=(host,))


def host(result: ServiceResult, *finding_ids: str) -> Audited:
    """Returns a host that expects an early answer, with these findings."""
    findings = tuple(
        Finding(id=id_, severity="warning", expected="a status", observed="none")
        for id_ in finding_ids
    )
    return replace(asked("web1", result), findings=findings, expectations=(LOST,))


def changes(before: Audited, after: Audited) -> list[tuple[str, str, str, str]]:
    drift = compute_drift(run(before, 1), run(after, 2))
    assert not drift.refused

    def short(change: Change) -> tuple[str, str, str, str]:
        return change.effect, change.what, change.before, change.after

    return [short(change) for change in drift.changes]


def test_a_service_that_loses_answers_now_is_a_regression_and_the_reverse_a_fix() -> None:
    sound, lossy = service(early(status=413)), service(early(status=413, count=1), early(status=0))
    was, now = "lost answers: 0 of 4", "lost answers: 4 of 5"
    assert changes(host(sound), host(lossy, LOST)) == [("regression", LOST, was, now)]
    assert changes(host(lossy, LOST), host(sound)) == [("fix", LOST, now, was)]


def test_another_number_of_lost_answers_is_no_change() -> None:
    one = service(early(status=413, count=1), early(status=0, count=3))
    other = service(early(status=413, count=3), early(status=0, count=1))
    assert changes(host(one, LOST), host(other, LOST)) == []


@pytest.mark.parametrize(
    ("before", "after", "texts"),
    [
        (75.0, 75.9, None),
        (5.9, 7.1, None),
        (75.0, 5.0, ("closed after 75 s", "closed after 5 s")),
        (75.0, None, ("closed after 75 s", "open when the time was over")),
    ],
)
def test_an_idle_connection_that_is_closed_much_sooner_is_a_change(
    before: float, after: float | None, texts: tuple[str, str] | None
) -> None:
    found = changes(host(service(idle(before))), host(service(idle(after))))
    assert found == ([("changed", "service:upload/idle", *texts)] if texts else [])


def test_a_service_that_cannot_be_asked_now_is_no_longer_known_and_no_fix() -> None:
    lossy = service(early(status=0))
    closed = ServiceResult(name="upload", problem="nothing listens there")
    asked_id, texts = "service:upload/asked", ("asked", "nothing listens there")
    found = changes(host(lossy, LOST), host(closed, asked_id))
    assert found == [("no longer told", asked_id, *texts)]
    found = changes(host(closed, asked_id), host(lossy, LOST))
    assert found == [("told again", asked_id, *reversed(texts))]


def test_a_service_of_one_run_only_is_no_change() -> None:
    assert changes(host(service(early(status=413))), asked("web1")) == []
