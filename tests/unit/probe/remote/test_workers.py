"""Parts of the processes that share the scenarios: which begin first, and what a pipe brings."""

from __future__ import annotations

import marshal
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.probe.remote import trace, workers
from fleetaudit.probe.remote.constants import MAX_HEADERS


def receiving(*pieces: bytes) -> tuple[dict[int, Any], list[bool]]:
    """Returns what a worker's pipe brings with these pieces, and whether more may come."""
    worker = object.__new__(workers.Worker)
    worker.data, worker.problem, found = b"", "", dict[int, Any]()
    worker.fd, into = os.pipe()
    os.set_blocking(worker.fd, False)
    more = []
    try:
        for piece in pieces:
            os.write(into, piece)
            more.append(worker.receive(found))
    finally:
        os.close(into)
        os.close(worker.fd)
    return found, more


def test_the_check_for_spare_files_leaves_none_open() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before, soft = count(), resource.getrlimit(resource.RLIMIT_NOFILE)
    workers.check_spare_files()
    assert count() == before
    resource.setrlimit(resource.RLIMIT_NOFILE, (30, soft[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            workers.check_spare_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, soft)
    assert count() == before


def sent(number: int, text: str) -> bytes:
    data = marshal.dumps((number, ({"scenario": text}, [])))
    return workers.SIZE.pack(len(data)) + data


@pytest.mark.parametrize("size", [1, 3, 4, 5, 50, 1000])
def test_observations_come_whole_however_the_pipe_cuts_them(size: int) -> None:
    whole = b"".join(sent(number, "x" * number * 7) for number in range(20))
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    found, more = receiving(*pieces)
    assert found == {number: ({"scenario": "x" * number * 7}, []) for number in range(20)}
    assert all(more)


def test_an_observation_that_was_cut_is_dropped() -> None:
    whole = sent(0, "first") + sent(1, "second")
    for end in range(len(sent(0, "first")), len(whole)):
        assert list(receiving(whole[:end])[0]) == [0]


def test_what_is_no_observation_ends_the_reading_and_keeps_what_was_before() -> None:
    for wrong in (b"\0\0\0\0", b"\1\0\0\0?", b"\5\0\0\0\xff\xff\xff\xff\xff"):
        found, more = receiving(sent(0, "first") + wrong)
        assert list(found) == [0]
        assert more == [False]


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ([("peer", "send", 5), ("closer", "close")], 0.0),
        ([("both", "wait", 250), ("both", "wait", 50)], 0.9),
        ([("closer", "set", "SO_LINGER", 1, 2), ("closer", "close")], 6.0),
        ([("closer", "set", "TCP_MAXSEG", 500)], 0.0),
    ],
)
def test_the_steps_show_how_long_a_scenario_lasts_at_least(
    steps: list[tuple[Any, ...]], seconds: float
) -> None:
    assert workers.least_seconds({"steps": steps, "trials": 3}) == pytest.approx(seconds)


def test_headers_are_kept_in_order_as_long_as_there_is_room() -> None:
    sizes = [MAX_HEADERS // 2, MAX_HEADERS, MAX_HEADERS // 2, 1, 0]
    trials = [{"connection": {"headers": "x" * size}} for size in sizes]
    trials += [{"connection": None}, {}]  # type: ignore[dict-item]
    observations = [{"trials": [trial]} for trial in trials]
    trace.limit_headers([*observations, {"not_run": "needs a capture"}])
    kept = [len((trial.get("connection") or {}).get("headers", "")) for trial in trials]
    assert kept == [MAX_HEADERS // 2, 0, MAX_HEADERS // 2, 0, 0, 0, 0]
