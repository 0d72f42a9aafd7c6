"""docs/grafana.json is a dashboard as Grafana's own model has it, of metrics that we write."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from fleetaudit.report import prometheus
from tests import ROOT
from tests.unit.report.test_formats import compared, read_metrics

FILE = ROOT / "docs" / "grafana.json"
BOARD = json.loads(FILE.read_text("utf-8"))
VARIABLES = ("$job", "${datasource}")


def expressions() -> Iterator[tuple[str, str]]:
    """Yields the title of a panel and one of its expressions."""
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def model_of(board: dict[str, Any]) -> Dashboard:
    """Returns a dashboard in Grafana's model, which knows the queries of Prometheus."""
    register_default_plugins()
    return Dashboard.from_json(board)


def lost_keys(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Yields where a value of JSON has what another one does not have."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost_keys(value, kept[key], f"{place}.{key}")
            elif value is not None:
                yield f"{place}.{key}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost_keys(one, other, f"{place}[{number}]")
    elif given != kept:
        yield f"{place}: {given!r} becomes {kept!r}"


def wrong_types(value: Any, hint: Any, place: str) -> Iterator[str]:
    """Yields where a value is not of the type that the model declares."""
    if isinstance(value, list) and typing.get_origin(hint) is list:
        (of_item,) = typing.get_args(hint)
        for number, item in enumerate(value):
            yield from wrong_types(item, of_item, f"{place}[{number}]")
    elif not is_of_type(value, hint, place):
        yield f"{place}: {value!r} is not {hint}"
    elif type(value).__module__.startswith("grafana_foundation_sdk.models") and not isinstance(
        value, Enum
    ):
        yield from wrong_attributes(value, place)


def is_of_type(value: Any, hint: Any, place: str) -> bool:
    """Returns whether a value is of a type; a list is looked through as well."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(not [*wrong_types(value, each, place)] for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if isinstance(value, bool):
        return hint in (bool, object, Any)
    if hint is float:
        return isinstance(value, (int, float))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [each.value for each in hint]
    return hint in (object, Any) or isinstance(value, origin or hint)


def wrong_attributes(value: Any, place: str) -> Iterator[str]:
    """Yields the attributes of an object of the model that are not of the declared type."""
    for name, hint in typing.get_type_hints(type(value)).items():
        yield from wrong_types(getattr(value, name), hint, f"{place}.{name}")


def problems_of(board: dict[str, Any]) -> list[str]:
    """Returns what Grafana's model does not know or has as another type."""
    model = model_of(board)
    kept = json.loads(JSONEncoder().encode(model))
    return [*lost_keys(board, kept), *wrong_attributes(model, "dashboard")]


def test_grafana_s_model_knows_every_key_and_value() -> None:
    assert problems_of(BOARD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("titel",), "a key that no dashboard has"),
        (("panels", 0, "gridPos", "x"), "0"),
        (("panels", 0, "targets", 0, "expression"), "up"),
        (("panels", 0, "title"), 7),
        (("schemaVersion",), "41"),
        (("templating", "list", 0, "lable"), "x"),
    ],
)
def test_the_check_finds_what_is_wrong(path: tuple[Any, ...], value: Any) -> None:
    board = json.loads(FILE.read_text("utf-8"))
    *places, last = path
    inner = board
    for place in places:
        inner = inner[place]
    inner[last] = value
    assert problems_of(board)


def test_the_source_of_data_and_the_job_are_variables() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert "audit_job" in variables["job"]["query"]["query"]
    everything = json.dumps(BOARD)
    for panel in BOARD["panels"]:
        for place in (panel, *panel["targets"]):
            assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert set(re.findall(r"\$\{?[a-z]+\}?", everything)) == set(VARIABLES)


def test_no_panel_overlaps_another_and_each_says_what_it_shows() -> None:
    taken = set[tuple[int, int]]()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["description"].endswith(".")
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_every_expression_has_metrics_and_labels_that_we_write(title: str, expression: str) -> None:
    metrics = read_metrics(prometheus.render(compared()))
    named = re.findall(r"(fleetaudit_[a-z_]+)(?:\{([^}]*)\})?", expression)
    assert named
    labels = set[str]()
    for name, selector in named:
        assert name in metrics, title
        (sample, *_) = metrics[name].samples
        matched = set(re.findall(r"([a-z_]+)\s*=", selector))
        assert "audit_job" in matched
        assert matched <= sample.labels.keys(), title
        labels |= sample.labels.keys()
    for group in re.findall(r"by \(([^)]*)\)", expression):
        assert {part.strip() for part in group.split(",")} <= labels, title


def test_the_words_that_are_looked_for_are_written() -> None:
    written = {
        (name, value)
        for metric in read_metrics(prometheus.render(compared())).values()
        for sample in metric.samples
        for name, value in sample.labels.items()
    }
    for title, expression in expressions():
        for name, operator, text in re.findall(r'([a-z_]+)(=~?)"([^"]*)"', expression):
            for word in text.split("|") if operator == "=~" else [text]:
                assert word in VARIABLES or (name, word) in written, title


def test_every_legend_is_a_label_of_its_expression() -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(.*?)\}\}", target["legendFormat"]):
                assert f"by ({label})" in target["expr"], panel["title"]


def test_what_a_job_s_history_shows_is_shown() -> None:
    shown = set(re.findall(r"fleetaudit_[a-z_]+", " ".join(e for _, e in expressions())))
    assert shown >= {
        f"fleetaudit_{name}"
        for name in (
            "hosts_by_ending",
            "hosts_by_series",
            "hosts_by_kernel",
            "hosts_unmet",
            "findings",
            "hosts_audited",
            "hosts_not_audited",
            "resets_per_thousand",
            "run_finished_timestamp_seconds",
            "run_duration_seconds",
        )
    }
