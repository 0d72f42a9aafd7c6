"""The JSON writer, tested with Python's own reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.probe.remote.json_text import to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('ab"\\é')), inner),
)


@given(VALUES)
def test_json_is_ascii_and_reads_back(value: Any) -> None:
    text = to_json(value)
    assert text.isascii()
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": (1, 2), "a": [None, True, False]}, '{"a":[null,true,false],"b":[1,2]}'),
        ({2: "x"}, '{"2":"x"}'),
        ('"\\\n\x7f', '"\\u0022\\u005c\\u000a\\u007f"'),
        ("€", '"\\u20ac"'),
        ("\U0001f600", '"\\ud83d\\ude00"'),
        ("\udc80", '"\\ufffd"'),  # half a pair of surrogates is not JSON
        (b"caf\xc3\xa9", '"caf\\u00e9"'),
        (b"\xff", '"\\ufffd"'),
        (0.25, "0.250000"),
        (1e-9, "0.000000"),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (-4e9, "null"),
        (2**63, "9223372036854775808"),
        ("", '""'),
    ],
)
def test_values_as_json(value: Any, text: str) -> None:
    assert to_json(value) == text
    json.loads(text)


def test_a_value_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        to_json(object())
