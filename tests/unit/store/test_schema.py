"""The published schema of run.json is current, and an independent validator agrees with it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from fleetaudit.errors import InputError
from fleetaudit.store.run_file import encode_run, read_run, run_schema
from tests import SCHEMAS
from tests.support.runs import small_fleet

SCHEMA = SCHEMAS / "run.schema.json"
RUN: dict[str, Any] = json.loads(encode_run(small_fleet()))

Break = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_published_schema_is_current() -> None:
    """Where it is not: `python -m tests.unit.store.test_schema` writes it."""
    assert SCHEMA.read_bytes() == run_schema()


def test_a_run_satisfies_its_schema(validator: jsonschema.Draft202012Validator) -> None:
    assert {host["status"] for host in RUN["hosts"]} == {"audited", "not audited"}
    validator.validate(RUN)


def test_every_host_has_every_documented_key() -> None:
    required = {
        *(
            "name",
            "groups",
            "status",
            "stage",
            "reason",
            "hint",
            "kernel",
            "os",
            "python",
            "isolation",
        ),
        *("observations", "sysctls", "exposure", "findings"),
    }
    for host in RUN["hosts"]:
        assert required <= host.keys()


def first(run: dict[str, Any], status: str) -> dict[str, Any]:
    return next(host for host in run["hosts"] if host["status"] == status)


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda run: run.update(format="fleetaudit-run/2"), id="another format"),
        pytest.param(lambda run: run.pop("hosts"), id="no hosts"),
        pytest.param(lambda run: run["run"].pop("id"), id="no id"),
        pytest.param(
            lambda run: first(run, "audited").update(status="perfect"), id="an unknown status"
        ),
        pytest.param(lambda run: first(run, "audited").pop("name"), id="a host without a name"),
        pytest.param(
            lambda run: first(run, "audited").update(kernel=None), id="audited without a kernel"
        ),
        pytest.param(
            lambda run: first(run, "audited").update(isolation="vm"), id="an unknown isolation"
        ),
        pytest.param(
            lambda run: first(run, "not audited").update(stage="lunch"), id="an unknown stage"
        ),
        pytest.param(
            lambda run: first(run, "audited")["observations"][0].update(ending="perhaps"),
            id="an unknown ending",
        ),
        pytest.param(
            lambda run: first(run, "audited")["kernel"].update(release="6" * 257),
            id="an endless release",
        ),
    ],
)
def test_schema_and_reader_both_refuse_an_invalid_run(
    validator: jsonschema.Draft202012Validator, break_it: Break, tmp_path: Path
) -> None:
    run = copy.deepcopy(RUN)
    break_it(run)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(run)
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(InputError):
        read_run(tmp_path)


if __name__ == "__main__":
    SCHEMA.write_bytes(run_schema())
