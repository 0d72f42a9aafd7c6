"""The timelines of hosts follow each host, once, and share what hosts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from fleetaudit.analysis.history import history_of
from fleetaudit.analysis.history.model import HostState, JobHistory
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.model import HostResult
from tests.support.nights import nights
from tests.support.runs import K510, K612, missing
from tests.unit.analysis.test_history import UNREAD, bad, good, night

GOOD = HostState(status="audited", release=K612.release)
BAD = HostState(status="audited", release=K612.release, findings=(UNREAD,))
OUT = HostState(status="not audited")
ABSENT = HostState(status="absent")


def history(*runs: Sequence[HostResult]) -> JobHistory:
    """Returns the history of runs with these hosts."""
    return history_of([outline_of(night(n, hosts)) for n, hosts in enumerate(runs, 1)])


def changes(of: JobHistory, name: str) -> list[tuple[int, HostState]]:
    """Returns the runs that changed a host, and its states."""
    (found,) = (line for line in of.host_timelines if name in line.hosts)
    return [(run, of.host_states[state]) for run, state in found.changes]


def out(name: str) -> HostResult:
    """Returns a host that cannot be reached."""
    return missing(name, "connect", "no answer", "nc -vz web1 22")


def test_a_state_that_stays_has_one_entry() -> None:
    of = history(
        [good("web1")], [good("web1")], [bad("web1")], [out("web1")], [out("web1")], [good("web1")]
    )
    assert changes(of, "web1") == [(0, GOOD), (2, BAD), (3, OUT), (5, GOOD)]


def test_a_host_that_appears_or_leaves() -> None:
    of = history(
        [good("web1"), good("web2")], [good("web1"), good("web3")], [*map(good, ["web1", "web2"])]
    )
    assert changes(of, "web1") == [(0, GOOD)]
    assert changes(of, "web2") == [(0, GOOD), (1, ABSENT), (2, GOOD)]
    assert changes(of, "web3") == [(1, GOOD), (2, ABSENT)]


def test_a_kernel_that_is_replaced() -> None:
    of = history([good("web1", K510)], [good("web1")])
    assert [state.release for _, state in changes(of, "web1")] == [K510.release, K612.release]


def test_hosts_that_changed_in_the_same_way_share_a_timeline() -> None:
    of = history([*map(good, "abc")], [good("a"), *map(bad, "bc")])
    assert [line.hosts for line in of.host_timelines] == [("a",), ("b", "c")]


def test_every_host_of_sixty_nights_is_there_once() -> None:
    runs = list(nights())
    of = history_of([outline_of(run) for run in runs])
    names = list(chain.from_iterable(line.hosts for line in of.host_timelines))
    assert len(names) == len({*names}) == 183
    assert {*names} == {host.name for run in runs for host in run.hosts}
    for index in (0, 30, 40, 58):
        kernels = {host.name: host.kernel and host.kernel.release for host in runs[index].hosts}
        for line in of.host_timelines:
            states = [of.host_states[state] for run, state in line.changes if run <= index]
            release = states[-1].release if states else None
            assert {kernels.get(name) for name in line.hosts} == {release}
