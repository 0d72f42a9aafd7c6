"""The native probe reports what the Python probe reports, in guests of other kernels than this."""

from __future__ import annotations

import functools
import shutil

import pytest

from fleetaudit.transport.kernel import qemu
from tests.support import step_texts
from tests.support.kernels import Kernel, numbers
from tests.support.two_probes import compare, explain, plan_of, run_in_guests

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which(qemu.PROGRAM) is None, reason=f"no {qemu.PROGRAM}"),
]


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_both_probes_report_the_same_of_a_kernel(which: str, real: dict[str, Kernel]) -> None:
    by_age = sorted(real.values(), key=lambda kernel: numbers(kernel.version))
    kernel = by_age[0 if which == "oldest" else -1]
    chosen = step_texts.shortest_with_each_word(step_texts.of_playbooks())
    assert len(chosen) > 20
    run = functools.partial(run_in_guests, image=kernel.image)
    _, compared = compare(plan_of(chosen, trials=1), run)
    assert [explain(each) for each in compared if not each.are_equal] == []
