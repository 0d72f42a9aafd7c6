"""The native probe names who resets in guests: by the stack before 6.12, from then on by the
kernel's reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.model import Watch, Watched
from fleetaudit.probe import verdict
from fleetaudit.probe.offer import new_offer
from fleetaudit.transport.kernel import machines
from tests.kernels.test_native_guests import needs, plan_for, run
from tests.support.foreign_kernels import NAMES, foreign_kernel
from tests.support.guest_programs import RESETS, ProgramsTogether
from tests.support.kernels import Kernel, NoKernelsError, numbers

pytestmark = pytest.mark.timeout(1800)
SECONDS = 12.0


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests have names for their reasons, as hosts do. They leave them out to boot sooner."""
    words = machines._EVERY_KERNEL.replace(",trace_eval_init", "")
    assert words != machines._EVERY_KERNEL
    monkeypatch.setattr(machines, "_EVERY_KERNEL", words)


def watched_in(image: Path, *, append: str = "") -> Watched:
    """Returns what the probe saw in a guest with programs that reset."""
    pytest.importorskip("ziglang", reason="needs the package ziglang")
    plan = plan_for(image, ("unread-close",), append=append)
    plan = replace(plan, watch=Watch(seconds=SECONDS, peers=True), sysctls_collect=())
    out = run(plan, ProgramsTogether(new_offer(plan, deadline_s=300)))
    result = verdict.result_from_output(plan, out.stdout, out.stderr, out.exit_status, out.cut)
    assert isinstance(result.watch, Watched)
    return result.watch


def check(watched: Watched, told_by: str, *, unclear: Sequence[str] = ()) -> None:
    """Holds that each program was named, with its port, its reason and the right number. What is
    `unclear` on a kernel is reported as "other".
    """
    assert (watched.problem, watched.told_by) == ("", told_by)
    found = Counter[tuple[str, int, str]]()
    for row in watched.resets:
        found[row.owner.executable.removeprefix("/"), row.port, row.reason] += row.count
        assert row.owner.namespace == ""
        assert row.peers == {"127.0.0.0/24": row.count}
    expected = Counter[tuple[str, int, str]]()
    for (program, port, reason), count in RESETS.items():
        expected[program, port, "other" if reason in unclear else reason] += count
    assert found == expected
    unread = sum(count for (*_, reason), count in RESETS.items() if reason == "unread data")
    assert watched.aborts_on_close == unread
    assert (watched.events, watched.named, watched.lost) == (found.total(), found.total(), 0)
    assert watched.notes == ()


@pytest.mark.parametrize(
    ("name", "told_by"),
    [
        ("5.10-before", "stack"),
        ("5.10-after", "stack"),
        ("6.1-after", "stack"),
        ("6.12-after", "reason"),
        ("newest", "reason"),
    ],
)
@pytest.mark.usefixtures("named")
def test_who_resets_in_a_guest_is_named(name: str, told_by: str, real: dict[str, Kernel]) -> None:
    needs("x86_64")
    if name not in real:
        pytest.skip(f"the archive has no kernel {name} today")
    watched = watched_in(real[name].image)
    assert watched.method == "perf_event_open"
    check(watched, told_by)


def test_without_names_of_reasons_the_stack_is_read(real: dict[str, Kernel]) -> None:
    needs("x86_64")
    if "6.12-after" not in real:
        pytest.skip("the archive has no kernel 6.12-after today")
    check(watched_in(real["6.12-after"].image), "stack")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("named")
def test_who_resets_on_another_machine_is_named(name: str) -> None:
    """A new kernel for armv7 reports no callers with an event, and its reason TCP_STATE has three
    causes.
    """
    needs(name.partition("-")[0])
    try:
        kernel = foreign_kernel(name)
    except NoKernelsError as e:
        pytest.skip(str(e))
    watched = watched_in(kernel.image)
    is_new = numbers(kernel.version) >= (6, 12)
    unclear = ("linger 0", "exit of a child socket") if is_new and "armv7" in name else ()
    check(watched, "reason" if is_new else "stack", unclear=unclear)
