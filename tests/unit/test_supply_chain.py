"""requirements/sbom.cdx.json is that of the lock; licences and vulnerabilities are not missed."""

from __future__ import annotations

import copy
import json
import subprocess
from typing import Any

import pytest

import fleetaudit
from tests.unit.test_requirement_locks import pins
from tools import dependencies, sbom

SBOM = json.loads(sbom.SBOM.read_text("utf-8"))


def component(**licence: str) -> dict[str, Any]:
    return {"name": "some", "version": "1", "licenses": [{"license": licence}]}


def test_the_sbom_has_the_versions_and_hashes_of_the_lock() -> None:
    listed = {sbom.normal(one["name"]): one["version"] for one in SBOM["components"]}
    assert listed == {name: str(version) for name, version in pins("run").items()}
    assert dependencies.differences(SBOM) == []
    assert SBOM["metadata"]["component"]["version"] == fleetaudit.__version__


@pytest.mark.parametrize("change", ["version", "hash", "gone", "own version"])
def test_an_sbom_that_is_not_of_the_lock_is_refused(change: str) -> None:
    other = copy.deepcopy(SBOM)
    first = other["components"][0]
    changes = {
        "version": lambda: first.update(version="0"),
        "hash": lambda: first["externalReferences"][-1]["hashes"].pop(),
        "gone": lambda: other["components"].pop(),
        "own version": lambda: other["metadata"]["component"].update(version="0"),
    }
    changes[change]()
    assert "make lock" in str(dependencies.differences(other))


def test_the_sbom_says_what_needs_what_and_nothing_of_the_day_or_place_it_was_made() -> None:
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in SBOM["dependencies"]}
    root = SBOM["metadata"]["component"]["bom-ref"]
    assert {sbom.normal(ref.partition("==")[0]) for ref in needs[root]} == sbom.declared()
    assert not {"serialNumber"} & set(SBOM)
    assert "timestamp" not in SBOM["metadata"]


@pytest.mark.parametrize(
    ("licence", "accepted"),
    [
        ({"id": "MIT"}, True),
        ({"name": "License :: OSI Approved :: BSD License"}, True),
        ({"id": "AGPL-3.0-only"}, False),
        ({"name": "License :: Other/Proprietary License"}, False),
    ],
)
def test_a_licence_that_nobody_has_accepted_is_refused(
    licence: dict[str, str], accepted: bool
) -> None:
    assert dependencies.accepted(component(**licence)) is accepted


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("Apache-2.0 OR AGPL-3.0-only", True),
        ("MIT AND PSF-2.0", True),
        ("MIT AND AGPL-3.0-only", False),
    ],
)
def test_of_a_choice_of_licences_one_is_enough(expression: str, accepted: bool) -> None:
    one = {"name": "some", "version": "1", "licenses": [{"expression": expression}]}
    assert dependencies.accepted(one) is accepted


def test_a_package_without_a_licence_is_refused() -> None:
    assert dependencies.refused({"components": [{"name": "some", "version": "1"}]})


def audit(monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str = "") -> list[str]:
    """Returns what is reported for an answer of pip-audit."""
    answer = subprocess.CompletedProcess([], 0, stdout, stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    return dependencies.vulnerabilities()


GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-2026-1"}, {"id": "PYSEC-2026-2"}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


def test_a_known_vulnerability_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = audit(monkeypatch, json.dumps({"dependencies": [GOOD, BAD]}))
    assert found == ["bad 2: PYSEC-2026-1, PYSEC-2026-2"]


def test_a_package_that_the_database_does_not_have_is_no_package_without_vulnerabilities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = audit(monkeypatch, json.dumps({"dependencies": [GOOD, UNKNOWN]}))
    assert found == ["unknown: not in the database of vulnerabilities"]


@pytest.mark.parametrize("stdout", ["", json.dumps({"dependencies": [UNKNOWN, UNKNOWN]})])
def test_without_a_database_it_says_that_nothing_was_checked(
    stdout: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(monkeypatch, stdout, "Traceback\nConnectionError: no such host") == []
    assert "NOT CHECKED" in capsys.readouterr().out
