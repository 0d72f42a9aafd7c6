"""A part of the fault bench: each kind of fault, each route. `make faults` has all of them, and
bounds the time of each: the host's deadline and 2 s.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bench.fleet.namespace import PROGRAMS, namespace_command
from tests.support.sshd import require
from tests.support.timing import BUSY_S

from .faults import fleet, offsets
from .faults.cases import Bench, bench, case_of, name_of
from .faults.catalog import RUNS_WELL, faults
from .faults.routes import ROUTES
from .table import Seen

pytestmark = pytest.mark.ssh

AT_ONCE = 4
DEADLINES_S = (8.0, 40.0)
CHOSEN = (
    *(name_of(RUNS_WELL, route) for route in ROUTES),
    "no banner (direct)",
    "no banner (ProxyCommand)",
    "banner: 10 MB in a line (direct)",
    "banner: not text (direct)",
    "banner: FIN at once (ProxyCommand)",
    "after the banner: garbage (direct)",
    "after the banner: garbage (jump host)",
    "kex, its reply: stall (openssh)",
    "kex, its reply: half of it (direct)",
    "kex: no method in common (direct)",
    "kex: wrong signature (direct)",
    "login, success: stall (jump host)",
    "login, success: wrong MAC (direct)",
    "login: flood of keepalive (direct)",
    "login: flood of channel-open (jump host)",
    "channel: stall (direct)",
    "channel: stall (openssh)",
    "channel: stall (jump host)",
    "channel: no window (direct)",
    "channel: no window (openssh)",
    "exec: stall (direct)",
    "exec: stall (openssh)",
    "exec: stall (behind a jump host)",
    "exec: wrong MAC (direct)",
    "end: EOF, and nothing else (direct)",
    "end: status before the data (direct)",
    "end: data after the status (openssh)",
    "end: half a reply, FIN (behind a jump host)",
    "output: 1 GB on both (direct)",
    "output: 1 GB on stderr (openssh)",
    "output: bytes one by one (direct)",
    "output: 8 MB of newlines (direct)",
    "output: a reply of 5 MB of [ (direct)",
    "exec: flood of empty data (direct)",
    "exec: flood of ignore (direct)",
    "exec: flood of unimplemented (behind a jump host)",
    "rekey: without end (direct)",
    "rekey: stall (direct)",
    "rekey: stall (openssh)",
)


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Future[Seen]]]:
    """Returns the chosen cases, which run together."""
    require("ssh", "ssh-keygen")
    with bench(AT_ONCE) as benches, ThreadPoolExecutor(AT_ONCE) as pool:
        yield dict(_started(benches, pool))


def _started(benches: Bench, pool: ThreadPoolExecutor) -> Iterator[tuple[str, Future[Seen]]]:
    for route in ROUTES:
        for fault in (RUNS_WELL, *faults()):
            name, says = name_of(fault, route), route.says(fault)
            if says and name in CHOSEN:
                case = case_of(benches, fault, route, says, deadlines_s=DEADLINES_S, over_s=BUSY_S)
                yield name, pool.submit(case.run)


def test_hosts_that_flood_cost_no_good_host_its_result() -> None:
    _require_namespace()
    seen = fleet.case(30, 4, 120, only="flood of", noise_s=BUSY_S).run()
    assert not seen.wrong, seen.cells


def test_a_connection_that_is_cut_at_any_byte_ends_in_time_and_leaves_nothing() -> None:
    _require_namespace()
    seen = offsets.case("RST", every=149, over_s=BUSY_S).run()
    assert not seen.wrong, seen.cells


def _require_namespace() -> None:
    require(*PROGRAMS)
    if subprocess.run([*namespace_command(), "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")


@pytest.mark.parametrize("name", CHOSEN)
def test_a_fault_is_reported_at_its_stage_in_time_and_leaves_nothing(
    name: str, seen: dict[str, Future[Seen]]
) -> None:
    result = seen[name].result()
    assert not result.wrong, result.cells
