"""Payloads through every output, each read by its consumer: one run of 30 hosts through each file,
one page, and two hosts on loopback for each way to say something. `make payloads` does all of it.
"""

from __future__ import annotations

import pytest

from .payloads.corpus import payloads
from .payloads.outputs import cases
from .table import Case

pytestmark = [pytest.mark.ssh, pytest.mark.browser]
CASES = cases(rounds=1, hosts=30, pages=10, each=2)


def test_there_are_more_than_a_thousand_payloads_and_none_twice() -> None:
    texts = [payload.text for payload in payloads()]
    assert len(set(texts)) > 1500


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_payload_is_obeyed_and_each_can_be_read(case: Case) -> None:
    assert case.run().wrong == ()
