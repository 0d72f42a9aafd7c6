"""`explain --format json`: the verdicts of the text, and every text of a host as JSON."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest

from fleetaudit.analysis import explanation
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.analysis.explanation import encode, explain
from fleetaudit.model import Audited, AuditRun, HostResult, NotSelected
from fleetaudit.report.explain import host_text
from tests import SCHEMAS
from tests.page.test_page import hostile_run as markup_run
from tests.support.runs import run_of, small_fleet
from tests.unit.report.test_terminal import hostile_run as control_run

WORDS = {
    "met": "as expected",
    "not met": "NOT as expected",
    "untold": "unknown",
    "not run": "not run",
    "no expectation": "no expectation",
}


def as_json(run: AuditRun, host: HostResult, *, with_evidence: bool = False) -> Any:
    """Returns the explanation of a host as a program reads it; it satisfies its schema."""
    observations = host.observations if with_evidence else None
    data = encode(explain(run, host, observations))
    assert data.endswith(b"}\n")
    found = json.loads(data.decode("utf-8"))
    VALIDATOR.validate(found)
    return found


VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((SCHEMAS / "explain.schema.json").read_text("utf-8"))
)
RUNS = {"fleet": small_fleet(), "hostile": control_run()}


def test_the_published_schema_is_that_of_the_type() -> None:
    assert (SCHEMAS / "explain.schema.json").read_bytes() == explanation.json_schema()


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("with_evidence", [True, False])
def test_every_host_satisfies_the_schema(name: str, with_evidence: bool) -> None:
    run = RUNS[name]
    for host in (*run.hosts, NotSelected(name="printer", groups=("office",))):
        found = as_json(run, host, with_evidence=with_evidence)
        assert found["format"] == "fleetaudit-explain/1"
        assert (found["run"], found["host"]) == (run.run.id, host.name)
        assert found["status"] == host.__struct_config__.tag
        assert all((v["evidence"] is not None) is with_evidence for v in found["verdicts"])


def test_a_key_more_or_a_wrong_word_does_not_satisfy_the_schema() -> None:
    run = RUNS["fleet"]
    host = next(host for host in run.hosts if isinstance(host, Audited))
    found = as_json(run, host)
    found["verdicts"][0]["verdict"] = "perhaps"
    assert not VALIDATOR.is_valid(found)
    del found["verdicts"]
    assert not VALIDATOR.is_valid(found)


def test_the_verdicts_are_those_of_the_text() -> None:
    run = RUNS["fleet"]
    for host in run.hosts:
        lines = host_text(run, host, width=2000).splitlines()
        found = as_json(run, host)
        table = [line.split() for line in lines if line.startswith("  ")]
        for verdict in found["verdicts"]:
            (row,) = (r for r in table if r[:2] == [verdict["scenario"], verdict["family"]])
            assert WORDS[verdict["verdict"]] in " ".join(row)
        for finding in found["findings"]:
            assert any(f"  {finding['id']}: " in line for line in lines)


def test_a_host_that_was_not_audited_has_its_reason_and_what_to_type() -> None:
    run = RUNS["fleet"]
    host = next(host for host in run.hosts if host.name == "vpn1")
    found = as_json(run, host)
    assert (found["status"], found["stage"], found["verdicts"]) == ("not audited", "host key", [])
    assert (found["reason"], found["hint"]) == (host.reason, host.hint)


@pytest.mark.parametrize("run", [control_run(), markup_run()[0]], ids=["controls", "markup"])
def test_hostile_text_is_kept_and_a_terminal_obeys_none_of_it(run: AuditRun) -> None:
    for host in run.hosts:
        printed = encode(explain(run, host, host.observations)).decode("utf-8")
        hidden = {c for c in printed if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}
        assert hidden == {"\n"}
        found = json.loads(printed)
        assert found["reason"] == host.reason
        assert [v["reason"] for v in found["verdicts"]] == [o.reason for o in host.observations]
        assert [f["fix"] for f in found["findings"]] == [f.fix for f in host.findings]


def test_the_evidence_is_that_of_the_run() -> None:
    run = RUNS["fleet"]
    host = next(host for host in run.hosts if isinstance(host, Audited) and not host.void)
    found = as_json(run, host, with_evidence=True)
    for verdict, o in zip(found["verdicts"], host.observations, strict=True):
        assert verdict["evidence"] == json.loads(msgspec.json.encode(o.evidence))
        assert verdict["steps"] == list(run.scenarios_by_name()[o.scenario].steps)


def test_a_waiver_that_ended_is_named() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited) and host.findings)
    finding, *rest = host.findings
    accepted = msgspec.structs.replace(finding, waived="ops until 2026-11-21: old")
    before = msgspec.structs.replace(host, findings=(accepted, *rest))
    drift = compute_drift(run_of([before]), run_of([host]))
    found = as_json(msgspec.structs.replace(run, drift=drift), host)
    first, *others = found["findings"]
    assert first["no_longer_waived"] == ["ops until 2026-11-21: old"]
    assert all(other["no_longer_waived"] == [] for other in others)
