"""A job over time on a terminal: what the first lines answer, and that no line is too wide."""

from __future__ import annotations

import pytest

from fleetaudit.analysis.history import JobHistory, history_of
from fleetaudit.analysis.history.model import LeftOutRun
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.report.history_text import draw_bars, history_text
from tests.support.nights import K61, nights
from tests.unit.analysis.test_history import away, bad, good, history


@pytest.fixture(scope="module")
def sixty() -> JobHistory:
    """Returns the history of sixty made-up nights."""
    return history_of([*map(outline_of, nights(hosts=60))])


def test_the_first_lines_answer_whether_it_gets_better_and_since_when() -> None:
    text = history_text(history([bad("web1"), bad("web2")], [bad("web1"), good("web2")]))
    assert text.startswith(
        "inventory-dcce7211: inventory.yml -p playbooks/unread-close.yml\n"
        "2 runs, 2026-01-01 to 2026-01-02. The last run, 2026-01-02T020000Z: 2 of 2 hosts\n"
        "    audited.\n"
        "\n"
        "Is it getting better? Better: 1 of 2 audited hosts has open findings on\n"
        "    2026-01-02; 2 of 2 had them on 2026-01-01.\n"
    )
    assert "Since when? unread-close (IPv4) (error): since 2026-01-01 or earlier.\n" in text


def test_runs_are_listed_newest_last_with_what_each_opened_and_closed() -> None:
    text = history_text(history([good("web1")], [bad("web1")], [good("web1"), away("web2")]))
    lines = text.splitlines()
    at = lines.index("RUN                 AUDITED  ERRORS  WARNINGS  OPENED  CLOSED  RESETS/1000")
    assert lines[at + 1 : at + 4] == [
        "2026-01-01T020000Z  1 of 1   0       0         0       0       ?",
        "2026-01-02T020000Z  1 of 1   1       0         1       0       ?",
        "2026-01-03T020000Z  1 of 2   0       0         0       1       ?",
    ]
    assert "Closed, waived or gone:\n  error  unread-close (IPv4): first seen 2026-01-02" in text


def test_a_finding_of_a_host_that_was_not_audited_has_unknown_hosts() -> None:
    text = history_text(history([bad("web1"), good("web2")], [away("web1"), good("web2")]))
    assert "Open findings:\n  error  unread-close (IPv4): hosts unknown, first seen" in text


def test_one_run_has_no_trend() -> None:
    text = history_text(history([bad("web1")]))
    assert "Is it getting better? Unknown:" in text
    assert "From the first run" not in text


@pytest.mark.parametrize("bars", [False, True])
def test_sixty_nights_fit_eighty_columns(sixty: JobHistory, bars: bool) -> None:
    lines = history_text(sixty, bars=bars).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 60
    assert any(line.startswith(K61.release) for line in lines)
    assert "  and 39 earlier: --format json has all" in lines
    assert bars == any("▁" in line for line in lines)


def test_bars_begin_at_0_and_go_from_the_first_run_to_the_last() -> None:
    assert draw_bars([0, 1, 50, 100], 8) == "▁▂▅█"
    assert draw_bars([0, 0], 8) == "▁▁"
    assert draw_bars([None, 3.0], 8) == " █"
    assert draw_bars([1], 8) == "█"
    assert draw_bars([None, None], 8) == "  "
    assert draw_bars([0] * 50 + [7] * 50, 10) == "▁▁▁▁▁█████"
    assert draw_bars([1, 2], 7) == ""


def test_text_of_a_file_controls_no_terminal() -> None:
    host = bad("\x1b]0;web1\x07")
    found = history([host], [host])
    shown = history_text(
        JobHistory(
            job="\x1b[2J",
            description="a\nb",
            scenario="\x9b1m",
            runs=found.runs,
            findings=found.findings,
            builds=found.builds,
            unreadable=(LeftOutRun(id="x\r", reason="\u202e"),),
        )
    )
    assert not set(shown) & {"\x1b", "\r", "\x9b", "\u202e", "\x07"}
    assert "a b" in shown
