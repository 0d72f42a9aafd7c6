"""What was seen is reported apart from its times, on one line."""

from __future__ import annotations

import base64
import itertools
import json
import os
import zlib
from typing import Any

import pytest

from fleetaudit.probe import protocol
from fleetaudit.probe.remote import times
from fleetaudit.probe.result_line import COMPRESSED, find_result
from tests.support import replies
from tests.support.split_times import split_times


def recorded(name: str) -> dict[str, Any]:
    """Returns a reply of protocol 1, which has the times in each trial, as the probe has them."""
    printed = (replies.FOLDER / name).read_bytes()
    body: dict[str, Any] = json.loads(printed.split(protocol.REPLY_MARK)[1])
    for trial in itertools.chain.from_iterable(o["trials"] for o in body["observations"]):
        for number, row in enumerate(trial["wire"] or ()):
            row.append(number)  # it was recorded before windows were
    return body


@pytest.mark.parametrize("name", replies.REPLIES)
def test_the_probe_and_the_tests_separate_the_same_times(name: str) -> None:
    expected, body = split_times(recorded(name)), recorded(name)
    assert json.loads(json.dumps(times.take_times(body["observations"]))) == expected["times"]
    assert body["observations"] == expected["observations"]
    assert len(expected["times"]["steps"]) > 10


def test_captured_headers_name_their_connection() -> None:
    connections = [
        {"began": 5.0 + n, "ports": [1, 2], "scales": [7, 7], "headers": headers}
        for n, headers in enumerate(("", "eA=="))
    ]
    trials = [{"wire": None, "connection": each} for each in (*connections, None)]
    found = times.take_times([{"trials": trials}, {"not_run": "no"}])
    assert (found["began"], found["ports"]) == ([5.0, 6.0], [1, 2, 1, 2])
    assert found["headers"] == [(1, "eA==")]
    assert trials[1]["connection"] == {"scales": [7, 7]}


def test_unknown_values_of_a_sysctl_are_left_out_and_empty_ones_are_not() -> None:
    assert times.without_nulls({"value": "", "default": None, "state": "", "used": None}) == {
        "value": ""
    }
    assert times.without_nulls({"value": None, "state": "absent"}) == {"state": "absent"}


@pytest.mark.parametrize(
    ("terminal", "has_zlib", "is_compressed"),
    [(False, True, True), (True, True, False), (False, False, False)],
)
def test_the_line_is_compressed_unless_a_person_looks_or_zlib_is_missing(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, has_zlib: bool, is_compressed: bool
) -> None:
    monkeypatch.setattr(os, "isatty", lambda number: terminal and number == 1)
    if not has_zlib:
        monkeypatch.setattr(times, "zlib", None)
    line = times.result_line({"observations": [], "sysctls": {}, "python": "3"}).encode()
    assert (COMPRESSED in line) == is_compressed
    assert line.count(b"\n") == 2
    body = json.loads(find_result(line) or b"")
    assert (body["python"], body["times"]["at"]) == ("3", [])


def test_what_is_packed_is_one_line_however_long() -> None:
    data = os.urandom(10_000)
    packed = times.pack(data)
    assert "\n" not in packed
    assert zlib.decompress(base64.b64decode(packed)) == data
