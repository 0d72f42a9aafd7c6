"""Which programs reset their peers: real ones, on the kernel of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import probe_runs
from tests.support.resetting import PREFIX, check_programs, watch_programs

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def root() -> None:
    probe_runs.need_root()


@pytest.mark.parametrize("version", ["", "2.7", "3.6", "3.13"])
def test_programs_are_named_with_port_and_reason_by_perf_events(
    tmp_path: Path, version: str
) -> None:
    python = probe_runs.interpreter(version) if version else ""
    watched, programs = watch_programs(tmp_path, python=python)
    check_programs(watched, programs)
    assert watched.method == "perf_event_open"
    assert watched.notes == ()
    of_programs = [row for row in watched.resets if PREFIX in row.owner.executable]
    assert [row.peers for row in of_programs] == [{"127.0.0.0/24": r.count} for r in of_programs]


def test_programs_are_named_by_a_tracing_instance_where_python_has_no_ctypes(
    tmp_path: Path,
) -> None:
    watched, programs = watch_programs(tmp_path, before=probe_runs.NO_CTYPES)
    assert watched.method == "tracefs"
    (note,) = watched.notes
    assert "ctypes" in note
    check_programs(watched, programs)
