"""A table of ten thousand hosts takes a second."""

from __future__ import annotations

import os

from fleetaudit.report.doctor_table import host_check_table
from tests.unit.analysis.test_doctor import (
    answered,
    check,
    failed,
    report_of,
)


def test_ten_thousand_hosts_are_a_table_in_a_second() -> None:
    reason = failed("connect", "no answer within 10 s")
    visits = [check(f"web{n:05}", answered() if n % 3 else reason) for n in range(10_000)]
    found = report_of(*visits)
    began = os.times()
    text = host_check_table(found, width=80, next_="")
    used = os.times()
    assert len(text.splitlines()) > 10_000
    assert used.user - began.user < 5
