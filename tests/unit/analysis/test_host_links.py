"""The addresses of hosts: filters, their values and their encoding."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from fleetaudit.analysis.compare.host_links import MAX_VALUE, filter_value, host_query


def test_filters_keep_their_order_and_can_be_read() -> None:
    filters = {"finding": "scenario:unread-close/ipv4", "group": "web"}
    assert host_query(filters) == "finding=scenario:unread-close/ipv4&group=web"


def test_alternatives_repeat_the_name_and_what_is_empty_is_left_out() -> None:
    query = host_query({"build": ["6.1.0-28", "", "6.12.0"], "ending": "", "family": []})
    assert query == "build=6.1.0-28&build=6.12.0"


@pytest.mark.parametrize(
    "value",
    [
        "a&b=c#d?e",
        "4096 87380 6291456",
        "<img src=x onerror=alert(1)>",
        "\"'`",
        "100%",
        "a+b",
        "שרת",
    ],
)
def test_whatever_a_value_is_it_stays_one_value(value: str) -> None:
    query = host_query({"sysctl": value, "q": "x"})
    assert query.isascii()
    assert not set(query) & set(" \"'<>`#")
    assert parse_qsl(query, keep_blank_values=True) == [("sysctl", value), ("q", "x")]


@pytest.mark.parametrize("hidden", ["\u202e", "\x00", "\ud800", "\u200b"])
def test_what_cannot_be_seen_is_escaped_as_on_the_page(hidden: str) -> None:
    shown = filter_value(f"a{hidden}b")
    assert shown.startswith("a\\")
    assert parse_qsl(host_query({"cause": f"a{hidden}b"})) == [("cause", shown)]


def test_a_long_value_is_cut_with_a_mark() -> None:
    assert filter_value("x" * MAX_VALUE) == "x" * MAX_VALUE
    assert filter_value("x" * 5000) == "x" * MAX_VALUE + "…"
