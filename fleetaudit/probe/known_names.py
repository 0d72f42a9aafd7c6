"""The names of the numbers that the probe reports: a reply may have no others. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.errors import ReplyError
from fleetaudit.text.sanitize import printable_line

from .reply import RawTrial

TRIAL_COUNTERS = frozenset(
    {
        "EstabResets",
        "InCsumErrors",
        "MPFastcloseTx",
        "MPRstTx",
        "OutRsts",
        "TCPAbortFailed",
        "TCPAbortOnClose",
        "TCPAbortOnData",
        "TCPAbortOnLinger",
        "TCPAbortOnMemory",
        "TCPAbortOnTimeout",
    }
)
"""The kernel's counters that a trial may move."""
HOST_COUNTERS = TRIAL_COUNTERS | {
    "ActiveOpens",
    "CurrEstab",
    "ListenDrops",
    "ListenOverflows",
    "MPCapableSYNRX",
    "MPCapableSYNTX",
    "MPFastcloseRx",
    "MPRstRx",
    "PassiveOpens",
}
"""The kernel's counters of a host, since boot."""
QUEUES = frozenset(
    {"closer window", "fionread", "others reset", "others waiting", "peer window", "rx_queue"}
)
BYTES = frozenset({"closer received", "closer sent", "peer received", "peer sent"})


def refuse_other_names(what: str, names: Iterable[str], known: frozenset[str]) -> None:
    """Raises `ReplyError` for a name that the probe does not report; `what` says what it names."""
    unknown = sorted(set(names) - known)
    if unknown:
        name = printable_line(unknown[0], 100)
        raise ReplyError(f"the reply has the {what} {name}, which was not asked for")


def check_names(trial: RawTrial) -> None:
    """Raises `ReplyError` for a number of a trial that the probe does not report."""
    refuse_other_names("counter", trial.kernel or (), TRIAL_COUNTERS)
    refuse_other_names("queue", trial.queue, QUEUES)
    refuse_other_names("count of bytes", trial.bytes, BYTES)
