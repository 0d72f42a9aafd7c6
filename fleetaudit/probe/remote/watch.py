"""Watches which programs of the host reset their peers.

For the security review of a host: it reads the kernel's tracepoint tcp:tcp_send_reset, and of /proc
the names of processes, their control groups and open files. It never reads what is sent. Of peers
it reports networks, and only if that was asked for.
"""

import os
import time
from typing import Any, Dict, List, Optional

from .counters import Counters
from .errors import Unsupported, message_of
from .waiting import TIMEOUT, now
from .watch_format import ResetFormat
from .watch_instance import InstanceSource
from .watch_owners import UNKNOWN
from .watch_perf import PerfSource
from .watch_tally import Budget, Tally, cpu_seconds
from .watch_tracefs import CannotWatch, Tracefs
from .watch_unread import unread_owners

WAIT_S = 0.05  # between two looks: a process that resets and ends must still be there
LIST_S = 1.0  # between two lists of listening ports
SPARE_S = 2.0  # of the probe's time that are left for the rest
ABORTS_ON_CLOSE = "TCPAbortOnClose"
TRACEFS_NOTE = "tracefs was used: %s"
SHORT_NOTE = "watched for %.1f s of %.1f s: the probe's time was over"
SAMPLED_NOTE = "too many resets to read them all: %d of %d were read, in a part of the time"
LOST_NOTE = "%d resets found no room in the buffer"
HIDDEN_NOTE = (
    "the kernel hides the addresses of its functions (kernel.kptr_restrict): why a connection was"
    ' given up is not always known, and then "other"'
)
DIFFERS_NOTE = (
    "%d resets for unread data were named in this namespace, and its TCPAbortOnClose moved by %d"
)


def watch_host(call):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns what the reply has under "watch"; `call["watch"]` says for how long."""
    cpu = cpu_seconds()
    try:
        reply = watch_as_root(call["watch"])
    except CannotWatch as e:
        reply = {"problem": str(e), "hint": e.hint}
    except Exception as e:  # the rest of the probe goes on
        hint = "fleetaudit doctor"
        reply = {"problem": "watching failed: " + message_of(e), "hint": hint}
    reply["cpu_s"] = max(0.0, cpu_seconds() - cpu)
    return reply


def watch_as_root(wanted):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Watches, and returns what was seen; raises CannotWatch."""
    if os.geteuid() != 0:
        raise CannotWatch("watching needs root", "set become: true")
    notes = []  # type: List[str]
    tracefs = Tracefs()
    try:
        event = tracefs.read_format()
        tracefs.remove_stale()
        source = open_source(event, tracefs, notes)
        try:
            watch = HostWatch(source, wanted, notes)
            watch.run()
            return watch.reply(event.told_by)
        finally:
            source.close()
    finally:
        tracefs.close()


def open_source(event, tracefs, notes):
    # type: (ResetFormat, Tracefs, List[str]) -> Any
    """Returns where resets are read from: perf_event_open(2), else a tracing instance."""
    try:
        return PerfSource(event)
    except Unsupported as e:
        refused = message_of(e)
    notes.append(TRACEFS_NOTE % refused)
    try:
        return InstanceSource(event, tracefs)
    except Unsupported as e:
        problem = "%s, and %s" % (refused, message_of(e))
        raise CannotWatch(problem, "cat /proc/sys/kernel/perf_event_paranoid")


class HostWatch(object):
    """One watch of this host by one source of resets."""

    def __init__(self, source, wanted, notes):
        # type: (Any, Dict[str, Any], List[str]) -> None
        self.source, self.notes = source, notes
        self.asked = float(wanted["seconds"])
        self.seconds = max(0.1, min(self.asked, TIMEOUT.remaining() - SPARE_S))
        self.tally = Tally(wanted["peers"])
        self.events, self.is_sampled = 0, False
        self.aborts = (0, 0, 0, 0)  # before and after the start, before and after the end
        self.has_aborts = True
        self.unread = None  # type: Optional[List[Dict[str, Any]]]

    def run(self):
        # type: () -> None
        """Watches for the time that was asked for."""
        counters = Counters((ABORTS_ON_CLOSE,), self.notes)
        self.tally.owners.look_at_all()
        self.unread = unread_owners(self.tally, self.notes)
        before = self.aborts_on_close(counters)
        self.source.start()
        began, at_start = now(), self.aborts_on_close(counters)
        self.watch(began + self.seconds)
        at_end = self.aborts_on_close(counters)
        self.source.stop()
        self.aborts = (before, at_start, at_end, self.aborts_on_close(counters))
        self.seconds = now() - began
        counters.close()
        self.tally.begin_round()
        self.source.finish(self.tally)
        self.events = max(self.source.count() - self.tally.left_out, self.tally.named)
        self.is_sampled = self.is_sampled and self.tally.named < self.events

    def aborts_on_close(self, counters):
        # type: (Counters) -> int
        """Returns the kernel's counter; 0 and no number in the reply if it has none."""
        found = counters.read().get(ABORTS_ON_CLOSE)
        self.has_aborts = self.has_aborts and found is not None
        return found or 0

    def watch(self, end):
        # type: (float) -> None
        """Reads resets until `end`, as many as the budget allows."""
        budget, listed = Budget(self.seconds), now()
        while now() < end:
            time.sleep(max(0.0, min(WAIT_S, end - now())))
            if now() - listed > LIST_S:
                self.tally.ports.list("", "self")
                listed = now()
            self.tally.begin_round()
            is_allowed = budget.allows(self.tally.named + self.tally.left_out)
            self.is_sampled = self.is_sampled or not is_allowed
            self.source.read(self.tally, is_allowed)

    def reply(self, told_by):
        # type: (str) -> Dict[str, Any]
        """Returns what was seen."""
        tally = self.tally
        self.add_notes()
        return {
            "seconds": self.seconds,
            "method": self.source.method,
            "told_by": told_by,
            "events": self.events,
            "named": tally.named,
            "lost": tally.lost,
            "sampled": self.is_sampled,
            "aborts_on_close": self.aborts[3] - self.aborts[1] if self.has_aborts else None,
            "resets": tally.reply(),
            "unread": self.unread,
            "notes": self.notes[:20],
        }

    def add_notes(self):
        # type: () -> None
        """Adds what qualifies the counts."""
        tally, lost = self.tally, self.tally.lost
        before, at_start, at_end, after = self.aborts
        named, possible = tally.unread(""), tally.unread("", UNKNOWN)
        is_above = named - tally.guessed > after - before
        is_equal = possible + lost >= at_end - at_start and not is_above
        is_whole = not self.is_sampled
        notes = (
            (self.seconds < self.asked - 0.5, SHORT_NOTE % (self.seconds, self.asked)),
            (self.is_sampled, SAMPLED_NOTE % (tally.named, self.events)),
            (is_whole and lost, LOST_NOTE % lost),
            (self.source.hides_callers(), HIDDEN_NOTE),
            (
                self.has_aborts and is_whole and not is_equal,
                DIFFERS_NOTE % (named, after - at_start),
            ),
        )
        self.notes += [note for applies, note in notes if applies]
