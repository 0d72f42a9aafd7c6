"""The page of a history says whether it is getting better, and shows nothing that is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.history.model import HistoryRun, JobHistory, LeftOutRun
from fleetaudit.report.history_page import render
from fleetaudit.report.history_trend import trend_of
from fleetaudit.store.run_head import FindingCounts, HostCounts

GENERATED = "2026-11-27T02:03:41Z"
FIRST = datetime(2026, 9, 28, 2, tzinfo=UTC)


def run(night: int, unmet: int | None = 0, audited: int = 100) -> HistoryRun:
    """Returns the run of a night: 100 hosts, of which `audited` were audited."""
    started = FIRST + timedelta(days=night)
    return HistoryRun(
        id=f"{started:%Y-%m-%dT%H%M%SZ}",
        started=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        finished=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        status=0,
        hosts=HostCounts(selected=100, audited=audited, not_audited=100 - audited, not_selected=0),
        void=0,
        hosts_unmet=unmet,
        findings=FindingCounts(error=0, warning=0, info=0, waived=0),
        endings=(("RST", audited),),
        series=(("6.12", audited),),
    )


def history(*runs: HistoryRun) -> JobHistory:
    """Returns the history of a job with these runs."""
    return JobHistory(
        job="fleet-1c9e07b2",
        description="fleet.yml",
        scenario="unread-close",
        runs=runs,
        findings=(),
        builds=(),
    )


def text_of(sentence: Sequence[str | HistoryRun]) -> str:
    """Returns a sentence with the days of its runs."""
    return "".join(part if isinstance(part, str) else part.started[:10] for part in sentence)


@pytest.mark.parametrize(
    ("unmet", "state", "answer", "detail"),
    [
        (
            (9, 9, 4, 4),
            "met",
            "Better: 4 of 100 audited hosts have open findings on 2026-10-01; 9 of 100 had them"
            " on 2026-09-28.",
            "It has been 4 since 2026-09-30; it was 9 on 2026-09-29.",
        ),
        (
            (0, 1),
            "warning",
            "Worse: 1 of 100 audited hosts has open findings on 2026-09-29; 0 of 100 had them"
            " on 2026-09-28.",
            "It has been 1 since 2026-09-29; it was 0 on 2026-09-28.",
        ),
        (
            (3, 3, 3),
            "info",
            "No change: 3 of 100 audited hosts have open findings on 2026-09-30; 3 of 100 had them"
            " on 2026-09-28.",
            "The number of hosts was the same in all 3 complete runs.",
        ),
    ],
)
def test_the_answer_compares_the_first_and_the_newest_run(
    unmet: tuple[int, ...], state: str, answer: str, detail: str
) -> None:
    found = trend_of([run(night, count) for night, count in enumerate(unmet)])
    assert (found.state, text_of(found.answer)) == (state, answer)
    assert [text_of(one) for one in found.details] == [detail]


def test_a_night_in_which_hosts_could_not_be_reached_is_no_improvement() -> None:
    found = trend_of([run(0, 9), run(1, 9), run(2, 0, audited=89)])
    assert found.state == "info"
    assert text_of(found.details[-1]) == (
        "The newest run, of 2026-09-30, audited only 89 of 100 hosts, so it is not compared."
    )


@pytest.mark.parametrize("runs", [[run(0)], [run(0, audited=0), run(1)], [run(0, None), run(1)]])
def test_one_complete_run_is_not_enough(runs: list[HistoryRun]) -> None:
    assert trend_of(runs).state == "unknown"


def test_a_job_without_a_readable_run_has_a_page() -> None:
    unreadable = LeftOutRun(id="2026-09-27T020000Z", reason="truncated at byte 312")
    page = render(replace(history(), unreadable=(unreadable,)), generated=GENERATED)
    assert "Unknown: no run of this job can be read." in page
    assert "truncated at byte 312" in page


def test_runs_without_a_time_are_in_the_table_only() -> None:
    odd = [
        replace(run(n), id=f"odd-{n}", started=s)
        for n, s in enumerate(["", "x", "0001-01-01T00:00:00Z"])
    ]
    page = render(history(*odd, run(5)), generated=GENERATED)
    assert page.count("odd-2") == 1
    assert 'max="0"' in page


def test_runs_are_in_the_order_of_their_times() -> None:
    page = render(history(run(3), run(1), run(2)), generated=GENERATED)
    days = [page.index(f"<bdi>2026-{day} 02:00</bdi></th>") for day in ("10-01", "09-30", "09-29")]
    assert days == sorted(days)


def test_the_same_history_gives_the_same_page() -> None:
    of = history(run(0), run(1))
    assert render(of, generated=GENERATED) == render(of, generated=GENERATED)
