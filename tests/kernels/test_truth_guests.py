"""Verdicts on late events in a guest without rights and in a slow guest."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from fleetaudit.transport.kernel import qemu
from tests.support.kernels import Kernel
from tests.truth.cases import shipped
from tests.truth.worlds import guest
from tests.unit.probe.test_truth import case, proof

needs_qemu = pytest.mark.skipif(
    shutil.which(qemu.PROGRAM) is None and not os.environ.get("CI"), reason=f"no {qemu.PROGRAM}"
)

LATE = (
    case("linger2-close", "closer sets TCP_LINGER2 -1; closer closes", "FIN, then RST"),
    case(
        "blocked-drained-close",
        "closer sets SO_RCVBUF 4096; peer sends until blocked; closer reads all; closer closes",
        "FIN, then RST",
    ),
    case(
        "unaccepted-linger2-close",
        "peer connects without being accepted; closer sends 5 bytes; closer sets TCP_LINGER2 -1;"
        " closer closes",
        "FIN, then RST",
    ),
    case("peer-reset-close", "peer sets SO_LINGER 1 0; peer closes; closer closes", "nothing"),
)
"""What came late, or after the peer's reset: the verdicts on these were once wrong."""
SLOW_WORKER = (
    "mptcp-unread-close",
    "mptcp-drained-close",
    "unaccepted-unread-listener-close",
    "deferred-unread-close",
)


@needs_qemu
@pytest.mark.timeout(1800)
def test_an_ordinary_user_without_user_namespaces_gets_the_right_endings(
    real: dict[str, Kernel],
) -> None:
    world = replace(guest(real["6.12-before"], user=True), rounds=2)
    tally = proof(world, *LATE, *shipped())
    assert (tally.wrong, tally.inconclusive) == (0, 0)
    assert tally.agree > 200


@needs_qemu
@pytest.mark.timeout(1800)
def test_one_slow_cpu_gets_the_right_endings_of_what_comes_late(real: dict[str, Kernel]) -> None:
    slow = [found for found in shipped() if found.scenario.name in SLOW_WORKER]
    world = replace(guest(real["6.12-after"], busy=True), rounds=2)
    tally = proof(world, *LATE, *slow)
    assert (tally.wrong, tally.inconclusive) == (0, 0)
    assert tally.agree == tally.trials
