"""Who resets, in the formats for other programs: metrics, CSV, JSON, JUnit, SARIF."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleetaudit.analysis.explanation import encode, explain
from fleetaudit.model import AuditRun, Resets, Watched
from fleetaudit.report import csv as table
from fleetaudit.report import junit, prometheus, registry, sarif
from tests.support.runs import K612 as K
from tests.support.runs import Fleet, run_of
from tests.support.watches import NGINX, NOT_ROOT, judged_host, owner, resets, watched
from tests.unit.report.test_formats import read_csv, read_junit, read_metrics, read_sarif

COUNTER = re.compile(r"^(?:# (?:HELP|TYPE) )?fleetaudit_resets_total[ {].*\n", re.MULTILINE)


def run_with(*watches: Watched) -> AuditRun:
    return run_of(judged_host(f"web{n}", watch) for n, watch in enumerate(watches, 1))


def series(text: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Returns the values of a metric by its labels."""
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}


def metrics_of(*watches: Watched) -> str:
    """Returns the metrics of a run; what is true of the others is true of those of a watch."""
    text = prometheus.render(run_with(*watches))
    read_metrics(COUNTER.sub("", text))
    return text


# ---- metrics


def test_metrics_name_the_programs_of_each_host_and_of_the_fleet() -> None:
    text = metrics_of(
        watched(resets(30), resets(2, 0, "linger 0", owner(NGINX))), watched(resets(6)), NOT_ROOT
    )
    by_host = series(text, "fleetaudit_resets_total", "host", "executable", "port", "reason")
    assert by_host == {
        ("web1", "/usr/sbin/haproxy", "8443", "unread data"): 30,
        ("web2", "/usr/sbin/haproxy", "8443", "unread data"): 6,
        ("web1", "/usr/sbin/nginx", "ephemeral", "linger 0"): 2,
    }
    fleet = series(text, "fleetaudit_resets_per_minute", "executable", "port", "reason")
    assert fleet["/usr/sbin/haproxy", "8443", "unread data"] == 36
    assert series(text, "fleetaudit_hosts_watched") == {(): 2}
    assert series(text, "fleetaudit_hosts_not_watched") == {(): 1}
    assert "# TYPE fleetaudit_resets_total counter\n" in text


def test_a_run_without_a_watch_has_none_of_its_metrics() -> None:
    text = prometheus.render(run_of([Fleet().host("web1", K)]))
    assert "watched" not in text
    assert "fleetaudit_resets_total" not in text


def test_the_number_of_series_is_bounded_and_the_rest_is_counted() -> None:
    many = watched(*(resets(1 + n % 7, 1 + n) for n in range(600)))
    text = metrics_of(many, many)
    assert len(series(text, "fleetaudit_resets_total", "host", "port")) == 500
    left_out = series(text, "fleetaudit_series_left_out", "metric")
    assert left_out["fleetaudit_resets_total",] == 700
    assert left_out["fleetaudit_resets_per_minute",] == 400
    assert min(series(text, "fleetaudit_resets_total", "host", "port").values()) >= 3


@pytest.mark.parametrize(
    "evil", ['"} 1\nfleetaudit_findings 0', "\\", "\x1b[2J", "\ud800", "=cmd()", "<a>&'\""]
)
def test_no_name_of_a_host_writes_a_metric_a_formula_or_an_element(evil: str) -> None:
    named = owner(f"/bin/{evil}", command=evil[:15], unit=evil)
    run = run_with(watched(resets(2, reason=evil, of=named), resets(3, of=named)))
    read_metrics(COUNTER.sub("", prometheus.render(run)))
    assert "\x1b" not in "".join(map(str, read_csv(table.render(run))))
    read_junit(junit.render(run))
    read_sarif(sarif.render(run))
    for format_ in ("html", "json", "text"):
        assert "\x1b" not in registry.render(run, format_).decode()


def test_names_that_are_equal_as_labels_are_added_up() -> None:
    one, other = owner("/a\u202e"), owner("/a\\u202e")
    text = metrics_of(watched(resets(2, of=one), resets(3, of=other)))
    assert set(series(text, "fleetaudit_resets_total", "executable").values()) == {5}


# ---- CSV


def rows_of(*found: Resets) -> list[dict[str, str]]:
    rows = read_csv(table.render(run_with(watched(*found))))
    return [row for row in rows if row["id"].startswith("resets:")]


def test_csv_has_a_row_for_each_program_port_and_reason() -> None:
    rows = rows_of(resets(30), resets(2, 80, "linger 0", owner(NGINX)))
    assert [(row["id"], row["verdict"], row["severity"], row["observed"]) for row in rows] == [
        ("resets:haproxy:8443", "not met", "info", "30 in 60 s: unread data: /usr/sbin/haproxy"),
        ("resets:nginx:80", "no expectation", "", "2 in 60 s: linger 0: /usr/sbin/nginx"),
    ]


def test_csv_has_a_finding_once_if_a_program_resets_for_two_reasons() -> None:
    rows = rows_of(resets(3), resets(2, reason="linger 0"))
    assert [row["severity"] for row in rows] == ["info", ""]


def test_csv_says_why_a_host_could_not_be_watched() -> None:
    rows = read_csv(table.render(run_with(NOT_ROOT)))
    (row,) = [row for row in rows if row["id"] == "not-watched:host"]
    assert row["observed"] == "unknown: watching needs root"
    assert row["severity"] == "warning"


# ---- JSON, JUnit, SARIF


def test_json_has_what_was_seen_and_why_nothing_was() -> None:
    hosts = json.loads(registry.render(run_with(watched(resets(3)), NOT_ROOT), "json"))["hosts"]
    assert hosts[0]["watch"]["resets"][0]["owner"]["executable"] == "/usr/sbin/haproxy"
    assert hosts[0]["watch"]["named"] == 3
    assert hosts[1]["watch"]["problem"] == "watching needs root"
    assert hosts[1]["watch"]["hint"] == "set become: true"
    assert (
        "watch"
        not in json.loads(registry.render(run_of([Fleet().host("web1", K)]), "json"))["hosts"][0]
    )


def test_an_explanation_has_the_watch_of_its_host() -> None:
    run = run_with(watched(resets(3)))
    data = json.loads(encode(explain(run, run.hosts[0], None)))
    assert data["watch"]["resets"][0]["count"] == 3


def test_junit_and_sarif_have_the_program_and_the_host_that_could_not_be_watched() -> None:
    run = run_with(watched(resets(3)), NOT_ROOT)
    names = {case.get("name") for case in read_junit(junit.render(run)).iter("testcase")}
    assert {"resets:haproxy:8443", "not-watched:host"} <= names
    results = {result["ruleId"] for result in read_sarif(sarif.render(run))["results"]}
    assert {"resets:haproxy:8443", "not-watched:host"} <= results
