"""Compares the counters and sockets of production with expectations. Pure.

Rules: several expectations of one number are one finding. A counter that the kernel lacks and a
scan that was cut short leave a number unknown: a warning at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from fleetaudit.analysis.remediation import EXPOSURE_REMEDIES
from fleetaudit.model import Audited, Exposure, Finding, HostPlan

from .findings import applying_by_name, find_unmet, make_finding
from .numbers import Number, check_number

Measure = Callable[[Exposure], Number]


def _counter(name: str) -> Measure:
    """Returns the function that reads one counter."""

    def measure(exposure: Exposure) -> Number:
        if name in exposure.counters:
            return Number(exposure.counters[name])
        return Number(None, note=f"the host reports no {name}")

    return measure


def _aborts_per_thousand(exposure: Exposure) -> Number:
    """Returns TCPAbortOnClose per 1,000 connections that were opened or accepted since boot.

    It is unknown without one of the three counters, and if more connections were aborted than are
    counted. A host without connections has the rate 0.
    """
    counters = exposure.counters
    names = ("TCPAbortOnClose", "ActiveOpens", "PassiveOpens")
    if not counters.keys() >= {*names}:
        return _INCONSISTENT
    aborts, active, passive = (counters[name] for name in names)
    connections = active + passive
    if aborts > connections:
        return _INCONSISTENT
    rate = 1000 * aborts / max(connections, 1)
    return Number(rate, note=f"{aborts} of {connections} connections")


_INCONSISTENT = Number(
    None, note="the host reports no consistent TCPAbortOnClose, ActiveOpens and PassiveOpens"
)


def _unread_sockets(exposure: Exposure) -> Number:
    """Returns how many sockets have unread data."""
    unread = exposure.unread_sockets
    if unread is None:
        return _NO_SOCKETS
    return Number(unread.sockets, unread.partial)


def _unread_bytes(exposure: Exposure) -> Number:
    """Returns how many bytes no application has read."""
    unread = exposure.unread_sockets
    if unread is None:
        return _NO_SOCKETS
    return Number(unread.bytes, unread.partial)


_NO_SOCKETS = Number(None, note="sockets could not be read")

EXPOSURE_NUMBERS: Mapping[str, Measure] = {
    "aborts_on_close_per_thousand": _aborts_per_thousand,
    "aborts_failed": _counter("TCPAbortFailed"),
    "aborts_on_memory": _counter("TCPAbortOnMemory"),
    "listen_overflows": _counter("ListenOverflows"),
    "unread_sockets": _unread_sockets,
    "unread_bytes": _unread_bytes,
}
"""The function that measures each number, by its name in a playbook."""


def judge_exposure(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every number that does not meet its expectations or is unknown.

    The expectations of one number make one finding, such as "exposure:listen_overflows". A host
    that reports no exposure at all has a finding for each of its expectations, a warning at most.
    """
    for name, expectations in applying_by_name(plan.exposure_expect, audited):
        number = _measure(name, audited.exposure)
        if unmet := find_unmet(partial(check_number, number), expectations):
            remedy = EXPOSURE_REMEDIES.get(name, "")
            yield make_finding(f"exposure:{name}", unmet, str(number), remedy)


def _measure(name: str, exposure: Exposure | None) -> Number:
    """Returns a number of production by its name in a playbook."""
    if exposure is None:
        return Number(None, note="the host reports nothing")
    return EXPOSURE_NUMBERS[name](exposure)
