"""Which programs reset their peers, on real kernels: with the reason in the tracepoint, and before
6.12 by the functions that called.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from fleetaudit.model import KernelTarget, Watched
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import qemu, run_kernel
from tests.support import probe_runs, resetting
from tests.support.kernels import Kernel
from tests.support.resetting import PREFIX, REASONS, RESETS

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        shutil.which(qemu.PROGRAM) is None and not os.environ.get("CI"),
        reason=f"no {qemu.PROGRAM}",
    ),
]

MOUNT_TRACEFS = """
ctypes.CDLL(None).mount(b"tracefs", b"/sys/kernel/tracing", b"tracefs", 0, None)
"""
WATCH_S = 30.0
WAIT_S = 12.0
"""A guest without hardware for it is slow: the resets come long after the watch began."""


def watched_in(kernel: Kernel, before: str, **target: Any) -> Watched:
    """Returns what a probe saw in a guest in which programs reset."""
    call = resetting.watching_call(WATCH_S, peers=True)
    program = before.encode() + protocol.make_script({**call, "deadline": 500.0})
    execution = Execution(command=protocol.COMMAND, deadline=Deadline.after(600), limits=Limits())
    output = run_kernel(KernelTarget(image=str(kernel.image), **target), execution, program)
    watched = protocol.parse_reply(output.stdout).watch
    assert watched is not None, output.stderr
    return watched


def check_guest(watched: Watched) -> None:
    """Holds that every reset was named with its reason, and that the kernel counted as many."""
    assert not watched.problem
    assert resetting.resets_by_command(watched) == {
        (PREFIX + way, reason): RESETS[way] for way, reason in REASONS.items()
    }, watched
    assert watched.aborts_on_close == RESETS["unread"] + RESETS["exiting"]
    assert watched.named == watched.events == sum(RESETS[way] for way in REASONS)
    assert watched.lost == 0


@pytest.mark.parametrize("name", ["5.10-after", "6.1-after", "6.12-after"])
def test_programs_are_named_by_perf_events(real: dict[str, Kernel], name: str) -> None:
    watched = watched_in(real[name], resetting.programs_in_a_guest(WAIT_S))
    check_guest(watched)
    assert watched.method == "perf_event_open"
    # Some builds of 6.12 print reasons without their numbers, which must not be guessed.
    assert watched.told_by == "stack" or name.startswith("6.12")
    assert watched.notes == ()


@pytest.mark.parametrize("name", ["5.10-after", "6.12-after"])
def test_programs_are_named_by_a_tracing_instance(real: dict[str, Kernel], name: str) -> None:
    before = resetting.programs_in_a_guest(WAIT_S) + MOUNT_TRACEFS + probe_runs.NO_CTYPES
    watched = watched_in(real[name], before)
    check_guest(watched)
    assert watched.method == "tracefs"


def test_a_kernel_that_hides_its_functions_is_asked_by_a_tracing_instance(
    real: dict[str, Kernel],
) -> None:
    before = resetting.programs_in_a_guest(WAIT_S)
    hidden = {"kernel.kptr_restrict": "2"}
    watched = watched_in(real["5.10-after"], before, sysctls=hidden)
    check_guest(watched)
    assert (watched.method, watched.told_by) == ("tracefs", "stack")
    assert watched.notes == ("tracefs was used: the kernel hides the addresses of its functions",)


def test_with_hidden_functions_a_disconnect_has_no_cause_unless_a_trace_names_it(
    real: dict[str, Kernel],
) -> None:
    before = resetting.programs_in_a_guest(WAIT_S)
    hidden = {"kernel.kptr_restrict": "2"}
    watched = watched_in(real["6.12-after"], before, sysctls=hidden)
    (note,) = watched.notes
    if watched.method == "tracefs":  # see above
        assert watched.told_by == "stack"
        check_guest(watched)
        return
    assert watched.told_by == "reason"
    assert resetting.resets_by_command(watched) == {
        (PREFIX + "unread", "unread data"): RESETS["unread"],
        (PREFIX + "exiting", "unread data"): RESETS["exiting"],
        (PREFIX + "linger", "other"): RESETS["linger"],
        (PREFIX + "waiting", "other"): RESETS["waiting"],
    }
    assert "kernel.kptr_restrict" in note
