"""A host that no play matches: listed and counted apart in every output, and never a failure."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleetaudit.analysis import drift
from fleetaudit.analysis.compare import compare, history_entry
from fleetaudit.analysis.policy import behaviour_of_host
from fleetaudit.app.exit_status import exit_status
from fleetaudit.errors import NothingToDoError
from fleetaudit.model import HostResult, NotSelected, PastRun
from fleetaudit.report import csv as table
from fleetaudit.report import (
    explain,
    junit,
    prometheus,
    sarif,
)
from fleetaudit.report.changes import changes_text
from fleetaudit.report.terminal import progress, summary
from fleetaudit.store.run_file import encode_run, read_run
from tests.support.browser import page_of
from tests.support.runs import (
    K612,
    Fleet,
    missing,
    run_of,
)

REASON = "not selected by any play"
AUDITED = Fleet().host("web1", K612, groups=("web",))
GONE = missing("web2", "connect", "refused", "nc -vz web2 22", "web")
UNMATCHED = (NotSelected(name="db1", groups=("db",)), NotSelected(name="db2", groups=("db",)))
RUN = run_of([AUDITED, GONE, *UNMATCHED])


def test_a_host_that_is_not_selected_is_not_a_failure() -> None:
    assert exit_status(run_of([AUDITED, *UNMATCHED]), ("warning",)) == 0
    assert exit_status(RUN, ("warning",)) == 4, "web2"


def test_run_json_keeps_it_with_every_key_that_a_script_may_ask_for(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(encode_run(RUN))
    assert read_run(tmp_path) == RUN
    host = json.loads(encode_run(RUN))["hosts"][2]
    assert (host["status"], host["stage"], host["reason"], host["hint"]) == (
        "not selected",
        None,
        REASON,
        "",
    )
    assert host.keys() == json.loads(encode_run(RUN))["hosts"][1].keys()


def test_a_run_of_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    """It had such a host as "not audited", and no such count in its history."""
    old = missing(
        "db1", "inventory", "no play of unread-close.yml matches it", "name it in a play's “hosts:”"
    )
    past = {
        "run": "2026-01-01T020000Z",
        "started": "2026-01-01T02:00:00Z",
        "selected": 2,
        "audited": 1,
    }
    run = json.loads(encode_run(run_of([AUDITED, old]))) | {"history": [past | {"not_audited": 1}]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    read = read_run(tmp_path)
    assert read.hosts[1] == old
    assert read.history == (
        PastRun(run=past["run"], started=past["started"], selected=2, audited=1, not_audited=1),  # type: ignore[arg-type]
    )


def test_the_counts_add_up_to_the_selected_hosts() -> None:
    coverage = compare(RUN).coverage
    assert (coverage.selected, coverage.audited, coverage.not_audited, coverage.not_selected) == (
        4,
        1,
        1,
        2,
    )
    past = history_entry(RUN)
    assert (past.selected, past.audited, past.not_audited, past.not_selected) == (4, 1, 1, 2)


def test_the_terminal_counts_and_names_it() -> None:
    assert "4 hosts: 1 audited, 1 not audited, 2 not selected by any play (db[1-2])." in summary(
        compare(RUN), width=100
    )
    assert REASON not in summary(compare(run_of([AUDITED, GONE])), width=100)
    assert progress(UNMATCHED[0]) == f"db1: {REASON}"


def test_junit_skips_it() -> None:
    root = ET.fromstring(junit.render(RUN))
    suite = next(suite for suite in root if suite.get("name") == "db1")
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == [
        "1",
        "0",
        "0",
        "1",
    ]
    (skipped,) = suite.findall("testcase/skipped")
    assert skipped.get("message") == REASON
    assert suite.find("properties/property[@name='status']").get("value") == "not selected"  # type: ignore[union-attr]


def test_csv_has_one_row_for_it() -> None:
    rows = [row for row in csv.DictReader(io.StringIO(table.render(RUN))) if row["host"] == "db1"]
    assert [(row["status"], row["stage"], row["reason"], row["hint"]) for row in rows] == [
        ("not selected", "", REASON, "")
    ]


def test_sarif_has_it_as_a_location_and_the_invocation_stays_successful() -> None:
    (whole,) = json.loads(sarif.render(run_of([AUDITED, *UNMATCHED])))["runs"]
    assert [place["properties"]["status"] for place in whole["logicalLocations"]] == [
        "audited",
        "not selected",
        "not selected",
    ]
    assert whole["invocations"][0]["executionSuccessful"] is True
    assert not whole["invocations"][0]["toolExecutionNotifications"]
    assert whole["properties"] == {"selected": 3, "audited": 1, "notAudited": 0, "notSelected": 2}


def test_prometheus_counts_it_apart() -> None:
    metrics = {
        metric.name: metric for metric in text_string_to_metric_families(prometheus.render(RUN))
    }

    def total(name: str) -> float:
        return sum(sample.value for sample in metrics[f"fleetaudit_hosts_{name}"].samples)

    assert (total("selected"), total("audited"), total("not_audited"), total("not_selected")) == (
        4,
        1,
        1,
        2,
    )


def test_explain_and_policy_give_the_reason() -> None:
    assert explain.host_text(RUN, UNMATCHED[0], width=80) == f"db1: {REASON}\n"
    with pytest.raises(NothingToDoError, match=REASON):
        behaviour_of_host(RUN, "db1")


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (AUDITED, NotSelected(name="web1"), "no longer selected"),
        (GONE, NotSelected(name="web2"), "no longer selected"),
        (NotSelected(name="web1"), AUDITED, "newly selected"),
        (NotSelected(name="web2"), GONE, "newly not audited"),
        (NotSelected(name="web1"), NotSelected(name="web1"), None),
    ],
)
def test_a_change_of_what_the_plays_match_is_a_change(
    before: HostResult, after: HostResult, effect: str | None
) -> None:
    earlier, later = run_of([before, *UNMATCHED]), run_of([after, *UNMATCHED])
    found = drift.compute_drift(earlier, later)
    assert [change.effect for change in found.changes] == [effect] * (effect is not None)
    shown = compare(later, found)
    assert shown.changes is not None
    assert (effect or "nothing changed") in changes_text(shown.changes, width=100).lower()
    assert not effect or effect in page_of(later, found)


def test_the_page_lists_and_counts_it() -> None:
    page = page_of(msgspec.structs.replace(RUN, history=(history_entry(RUN),)))
    assert "1 not audited, 2 not selected by any play." in re.sub(r"<[^>]+>", "", page)
    assert 'id="not-selected"' in page
    assert "db[1-2]" in page
    assert '<th scope="col" class="num">Not selected</th>' in page
    assert "Every host that a play matches was audited." in page_of(run_of([AUDITED, *UNMATCHED]))
