"""The parts of the page without a browser: its sentences, drawings and data."""

from __future__ import annotations

import html
import json
import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis.compare import compare, history_entry
from fleetaudit.analysis.compare.not_run import MOST_REASONS, OTHER_REASONS
from fleetaudit.analysis.compare.view_model import Trace
from fleetaudit.model import Audited, AuditRun
from fleetaudit.report.document import escape_invisible
from fleetaudit.report.html import render
from fleetaudit.report.page_data import page_data
from fleetaudit.report.svg import (
    LINE,
    LINE_LENGTH,
    MOST_ROWS,
    draw_ladder,
    log_share,
    shape_of,
)
from tests.support.browser import GENERATED
from tests.support.runs import (
    K510,
    K612,
    K618,
    Fleet,
    missing,
    run_of,
    small_fleet,
)


def summary_texts(run: AuditRun) -> dict[str, str]:
    return {
        a.key: " ".join("".join(p.text for p in sentence) for sentence in a.sentences)
        for a in compare(run).summary
    }


def page_text(page: str) -> str:
    """Returns the text of a page without scripts and pictures."""
    visible = re.sub(r"<(script|style|svg)\b.*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", visible)))


# ---- the summary


def test_the_five_answers_are_in_their_order_and_have_numbers() -> None:
    found = summary_texts(small_fleet())
    assert list(found) == ["kernels", "expectations", "changes", "not-audited", "production"]
    assert (
        "1 of 3 kernel builds resets a connection whose data had all been read; 6 hosts run it."
        in found["kernels"]
    )
    assert found["expectations"].startswith(
        "10 of 18 audited hosts do not meet expectations (2 error, 2 warning, 6 info)."
    )
    assert found["not-audited"] == "9 of 27 selected hosts were not audited, for 6 causes."
    assert "45 sockets on 5 hosts hold unread data now." in found["production"]


def test_two_builds_that_reset_are_in_the_plural() -> None:
    again = msgspec.structs.replace(K510, version="#2")
    hosts = [Fleet().host("a", K510), Fleet().host("c", K618)]
    twin = Fleet().host("b", K510)
    found = summary_texts(run_of([*hosts, msgspec.structs.replace(twin, kernel=again)]))
    assert (
        "2 of 3 kernel builds reset a connection whose data had all been read; 2 hosts run them."
        in found["kernels"]
    )


@pytest.mark.parametrize(
    ("run", "key", "words"),
    [
        (run_of([]), "kernels", "No host was selected, so nothing is known about any kernel."),
        (run_of([]), "not-audited", "No host was selected."),
        (run_of([missing("a", "connect", "x", "y")]), "expectations",
         "No host was audited, so this is unknown."),
        (run_of([missing("a", "connect", "x", "y")]), "not-audited",
         "1 of 1 selected host was not audited, for 1 cause."),
        (run_of([Fleet().host("a", K618)]), "expectations",
         "The one audited host meets every expectation. "
         "7 of 7 scenarios as expected on 1 host; 3 of 3 other expectations met."),
        (run_of([Fleet().host("a", K618)]), "not-audited",
         "None: the one selected host was audited."),
        (run_of([Fleet().host("a", K618)]), "production", "No audited host reported its counters."),
        (run_of([Fleet().host("a", K612), Fleet().host("b", K618)]), "expectations",
         "All 2 audited hosts meet every expectation. "
         "7 of 7 scenarios as expected on 2 hosts; 3 of 3 other expectations met."),
        (run_of([Fleet().host("a", K618)]), "changes", "There is no earlier run to compare with."),
    ],
)  # fmt: skip
def test_an_answer_is_true_for_few_hosts(run: AuditRun, key: str, words: str) -> None:
    assert words == summary_texts(run)[key]


def test_no_kernel_resets_if_all_kernels_have_the_same_endings() -> None:
    found = summary_texts(run_of([Fleet().host("a", K612), Fleet().host("b", K618)]))["kernels"]
    assert found.startswith("No unexpected resets on any of 2 kernel builds.")
    assert "Close with unread data: RST on all 2 kernel builds." in found


def _run_without_tls() -> AuditRun:
    """Returns a run of one host, on which one scenario was not run over two families."""
    host = Fleet().host("a", K612)
    name = "drained-close"
    seen = [
        msgspec.structs.replace(
            o, ending="not run", trials=0, endings={}, reason="needs the <tls> module"
        )
        if o.scenario == name
        else o
        for o in host.observations
    ]
    return run_of([msgspec.structs.replace(host, observations=tuple(seen))])


def test_a_scenario_that_was_not_run_is_never_counted_as_expected() -> None:
    run = _run_without_tls()
    total = len(run.hosts[0].observations)
    found = summary_texts(run)["kernels"]
    assert "1 of 1 build is as expected in every scenario that it ran." in found
    assert f"2 of {total} verdicts were not run." in found
    page = page_text(render(compare(run)))
    assert "1 of them without a verdict on some host" in page
    assert "; 1 was not run ." in page
    assert "all are as expected" not in page
    complete = page_text(render(compare(run_of([Fleet().host("a", K612)]))))
    assert "without a verdict" not in complete
    assert "not run ." not in complete


def test_the_page_has_the_reason_why_verdicts_were_not_run() -> None:
    page = page_text(render(compare(_run_without_tls())))
    start = page.index("(one per scenario, family and host), by reason")
    row = page[start : start + 300]
    assert "needs the <tls> module 2 " in row


def test_only_the_most_frequent_reasons_are_named() -> None:
    [first] = _run_without_tls().hosts
    assert isinstance(first, Audited)
    hosts = [
        msgspec.structs.replace(
            first,
            name=f"h{n}",
            observations=tuple(
                msgspec.structs.replace(o, reason=f"reason {n}") for o in first.observations
            ),
        )
        for n in range(MOST_REASONS + 3)
    ]
    view = compare(run_of(hosts)).not_run
    assert len(view) == MOST_REASONS + 1
    assert (view[-1].reason, view[-1].hosts.count, view[-1].verdicts) == (OTHER_REASONS, 3, 6)
    assert sum(row.verdicts for row in view) == 2 * len(hosts)


def test_a_void_fleet_proves_nothing() -> None:
    found = summary_texts(run_of([Fleet().host("a", K612, void="a control failed")]))["kernels"]
    assert (
        found == "The positive control failed on every audited host, so the observations prove"
        " nothing."
    )


# ---- drawings


def trace(name: str) -> Trace:
    return next(
        t for p in compare(small_fleet()).profiles for t in p.traces if t.title.startswith(name)
    )


def test_a_trace_pair_differs_where_the_segments_do() -> None:
    pair = compare(small_fleet()).trace_pairs[0]
    assert pair.scenario == "reread-fin-close"
    one, two = pair.sides
    assert (one.ending, two.ending) == ("RST", "FIN")
    assert (one.trace.rows[one.differs_at].text, two.trace.rows[two.differs_at].text) == (
        "RST ACK",
        "FIN ACK",
    )


def test_a_ladder_has_an_arrow_per_segment_and_a_band_per_step_from_top_to_bottom() -> None:
    of = trace("reread-fin-close")
    drawn = draw_ladder(of, differs_at=len(of.rows) - 1)
    assert len(drawn.arrows) + len(drawn.notes) == len(of.rows)
    tops = sorted([a.y for a in drawn.arrows] + [n.y for n in drawn.notes])
    assert len(set(tops)) == len(tops)
    assert all(0 <= y < drawn.height for y in tops)
    assert [a.shape for a in drawn.arrows][-1] == "rst"
    assert drawn.marked is not None
    assert drawn.arrows[-2].y1 < drawn.marked <= drawn.arrows[-1].y
    for arrow in drawn.arrows:
        assert (arrow.x1 < arrow.x2) == (arrow.x1 < 200)  # from its sender to the other


def test_a_long_ladder_notes_what_it_leaves_out() -> None:
    of = trace("reread-fin-close")
    long = draw_ladder(with_(of, rows=of.rows * 10, omitted=7))
    notes = " ".join(" ".join(n.lines) for n in long.notes)
    assert len(long.arrows) + len(long.notes) == MOST_ROWS + 1
    assert "more rows are only in the table" in notes


def test_a_long_label_has_several_lines_and_none_is_cut() -> None:
    of = trace("reread-fin-close")
    rows = [
        msgspec.structs.replace(row, urgent=10, options="TS MP_CAPABLE DSS MP_FASTCLOSE")
        for row in of.rows
    ]
    long = draw_ladder(with_(of, rows=tuple(rows)))
    plain = draw_ladder(of)
    assert long.height > plain.height
    for arrow, below in pairwise(long.arrows):
        label = " ".join((arrow.word + arrow.lines[0], *arrow.lines[1:]))
        assert label.startswith(arrow.word + " ")
        assert label.endswith("MP_FASTCLOSE")
        assert "…" not in label
        assert all(len(line) <= LINE_LENGTH for line in arrow.lines)
        assert arrow.y + LINE * (len(arrow.lines) - 1) < arrow.y1 < below.y


@given(st.text(max_size=64), st.integers(0, 1 << 40))
def test_the_lines_of_any_label_fit(options: str, at_us: int) -> None:
    of = trace("reread-fin-close")
    rows = [msgspec.structs.replace(row, options=options, at_us=at_us) for row in of.rows[:3]]
    for arrow in draw_ladder(with_(of, rows=tuple(rows))).arrows:
        assert all(len(line) <= LINE_LENGTH for line in arrow.lines)


def with_(of: Trace, **changed: object) -> Trace:
    return msgspec.structs.replace(of, **changed)


@pytest.mark.parametrize(
    ("flags", "length", "shape"),
    [
        ("S", 0, "syn"),
        ("P.", 5, "data"),
        (".", 0, "ack"),
        ("FP.", 5, "fin"),
        ("R.", 0, "rst"),
        ("R", 0, "rst"),
    ],
)
def test_the_shape_of_a_segment_follows_from_its_flags_and_length(
    flags: str, length: int, shape: str
) -> None:
    assert shape_of(flags, length) == shape


@given(st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=20))
def test_bars_keep_the_order_of_their_numbers_and_fit(values: list[float]) -> None:
    bars = [log_share(v, values) for v in sorted(values)]
    assert bars == sorted(bars)
    assert all(0 <= bar <= 1.0000001 for bar in bars)


def test_earlier_runs_are_drawn_with_their_numbers() -> None:
    run = small_fleet()
    after = msgspec.structs.replace(run, history=(history_entry(run_of([])),))
    text = render(compare(after), generated=GENERATED)
    assert "The last 2 runs" in text
    assert "The last" not in render(compare(run), generated=GENERATED)


# ---- data


def test_the_data_has_every_host_and_nothing_that_ends_its_element() -> None:
    name = "</script><!--\u2028&" + "x" * 20
    host = msgspec.structs.replace(Fleet().host("a", K612), name=name)
    text = page_data(compare(run_of([host, *small_fleet().hosts])), escape_invisible)
    assert text.isascii()
    assert not set("<>&") & set(text)
    data = json.loads(text)
    assert data["names"][0] == escape_invisible(name)
    assert len(data["names"]) == 28
    assert {
        len(data[c])
        for c in ("names", "state", "anchor", "kernel", "group", "about", "finding", "rate")
    } == {28}


def test_the_state_of_a_host_is_its_worst_finding_without_a_waiver() -> None:
    states = {h.name: h.state for h in compare(small_fleet()).hosts}
    assert (states["db3.example.net"], states["db2.example.net"], states["app01"]) == (
        "error",
        "void",
        "met",
    )
    assert (states["web006"], states["web001"], states["vpn1"]) == (
        "warning",
        "info",
        "not audited",
    )
    host = next(h for h in small_fleet().hosts if isinstance(h, Audited) and h.name == "web001")
    waived = tuple(
        msgspec.structs.replace(f, waived="ops until 2027-01-31: upgrade") for f in host.findings
    )
    (line,) = compare(run_of([msgspec.structs.replace(host, findings=waived)])).hosts
    assert line.state == "met"


def test_the_page_names_the_folder_of_a_run_that_its_id_alone_does_not_find() -> None:
    comparison = compare(run_of([Fleet().host("a", K612)]))
    assert f"fleetaudit explain {comparison.run.id} a" in page_text(render(comparison))
    moved = msgspec.structs.replace(comparison, folder="my reports/2026")
    assert "fleetaudit explain 'my reports/2026' a" in page_text(render(moved))
    assert '"run":"my reports/2026"' in page_data(moved, escape_invisible)
