"""The page of ten thousand equal hosts stays one small file."""

from __future__ import annotations

import msgspec

from tests.support.browser import page_of
from tests.support.runs import (
    K510,
    K612,
    Fleet,
    run_of,
)


def test_ten_thousand_equal_hosts_stay_one_small_file() -> None:
    fleet = Fleet()
    old, new = fleet.host("x", K510), fleet.host("x", K612)
    hosts = [
        msgspec.structs.replace(old if i % 4 else new, name=f"web{i:05}", machine_id=str(i))
        for i in range(10_000)
    ]
    assert len(page_of(run_of(hosts)).encode()) < 1_500_000
