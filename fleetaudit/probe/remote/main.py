"""Runs the whole probe, and prints its reply."""

import os
import select
import signal
from typing import Any, Dict, List, Optional, Tuple

from .constants import ERRORS, MERCY
from .errors import TimeIsUp, Unsupported, would_block
from .host import describe_host
from .lab import Laboratory
from .namespace import check_private, enter_with, isolate, namespace_id
from .scenario import explain, failed_trial
from .sysctl_copy import copy_settings, host_settings, read_defaults
from .sysctls import sysctl_value
from .times import result_line
from .waiting import TIMEOUT, now
from .workers import Workers


def main(call, program, **parts):
    # type: (Dict[str, Any], str, Any) -> None
    """Runs what `call` asks for, and prints the one line. `program` is this text, which one way
    into a namespace starts again. `parts` are functions that return what the reply has under their
    name.
    """
    carried = call.get("carried", {})
    started = carried.get("started", now())
    reply = empty_reply(call)
    remaining = start_alarm(started + call["deadline"])
    TIMEOUT.deadline = now() + remaining
    workers = Workers(pairs_of(call))
    reason = "the probe's time ran out"
    try:
        try:
            fill = (call, program, carried, started, reply, workers, parts)
            reason = fill_reply(*fill) or reason
        finally:
            # The hard alarm: a slow reader of the output may use the rest of the time.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            end = started + call["deadline"]
            signal.setitimer(signal.ITIMER_REAL, max(0.0, end - now()) + MERCY)
    except TimeIsUp:
        note = "the alarm rang after %s s: what was not done by then is not run"
        reply["notes"].append(note % call["deadline"])
    except Exception as e:  # what was seen until then is still reported
        reason = failed_trial(explain(e))["error"]
        reply["notes"].append(reason)
    workers.end()
    workers.report(reply)
    add_not_run(call, reply, reason)
    reply["cpu_s"] = sum(os.times()[:4])
    longest = call["deadline"] + MERCY  # a clock that was set may show more
    reply["elapsed_s"] = max(0.0, min(longest, now() - started))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    write_output(result_line(reply))


def empty_reply(call):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns the reply before anything is known; `decode` of fleetaudit reads it."""
    return {
        "protocol": 2,
        "fleetaudit": call.get("fleetaudit", ""),
        "digest": call.get("digest", ""),
        "nonce": call.get("nonce", ""),
        "kernel": {"release": "", "version": "", "machine": ""},
        "os": {},
        "python": "",
        "isolation": "host",
        "notes": [],
        "sysctls": {},
        "exposure": None,
        "observations": [],
    }


def start_alarm(end):
    # type: (float) -> float
    """Sets the soft alarm for `end`; returns the seconds until then."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, ring)
    remaining = max(0.1, end - now())
    signal.setitimer(signal.ITIMER_REAL, remaining)
    return remaining


def ring(_number, _frame):
    # type: (int, Any) -> None
    """Ends the experiments; if the program is stuck, the next alarm ends it by default action."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, MERCY)
    raise TimeIsUp


def write_output(text):
    # type: (str) -> None
    data = text.encode("ascii")
    while data:
        try:
            data = data[os.write(1, data) :]
        except ERRORS as e:
            if not would_block(e):
                raise
            poller = select.poll()
            poller.register(1, select.POLLOUT)
            poller.poll(1000)


def pairs_of(call):
    # type: (Dict[str, Any]) -> List[Tuple[Dict[str, Any], str]]
    """Returns each scenario of a call with each of its families."""
    pairs = []
    for scenario in call["scenarios"]:
        for family in scenario["families"]:
            pairs.append((scenario, family))
    return pairs


def add_not_run(call, reply, reason):
    # type: (Dict[str, Any], Dict[str, Any], str) -> None
    """Adds what was not observed, as not run, so that nothing is missing, in the call's order."""
    done = {(each["scenario"], each["family"]): each for each in reply["observations"]}
    for scenario, family in pairs_of(call):
        missing = {"scenario": scenario["name"], "family": family}
        missing.update({"not_run": reason, "failed": True})
        done.setdefault((scenario["name"], family), missing)
    reply["observations"] = [done[s["name"], family] for s, family in pairs_of(call)]


def fill_reply(call, program, carried, started, reply, workers, parts):
    # type: (Dict[str, Any], str, Dict[str, Any], float, Dict[str, Any], Workers, Any) -> str
    """Describes the host, moves into a private namespace if possible, and runs the scenarios.
    Returns why one is not run, or "".
    """
    unshare = None
    if not carried:
        carried = {"started": started, "namespace": namespace_id(), "settings": []}
        carried["seen"] = describe_host(call)
        reply.update(carried["seen"])
        for name in sorted(parts):  # outside, where production is, and before the own experiments
            carried["seen"][name] = parts[name](call)
        carried["ulp"] = (sysctl_value("net.ipv4.tcp_available_ulp") or "").split()
        reply.update(carried["seen"])
        private, unshare = enter_namespace(call, program, carried, reply)
        if not private and call["isolation"] == "namespace":
            return str(reply["isolation_note"])
    else:  # started again by start_over_inside
        reply.update(carried["seen"])
        check_private(carried["namespace"])
        private = True
    note = ""
    if private:
        reply["isolation"] = "namespace"
        note = use_host_settings(carried["settings"], reply)
    lab = Laboratory(private, carried["ulp"])
    reply["capture_note"] = lab.no_capture
    settings = carried["settings"]
    move = lambda: move_to_another(unshare, settings, note, lab)  # noqa: E731
    workers.run(lab, move if unshare else None)
    return workers.problem


def enter_namespace(call, program, carried, reply):
    # type: (Dict[str, Any], str, Dict[str, Any], Dict[str, Any]) -> Tuple[bool, Any]
    """Returns whether this process is in a private network namespace now, and by which unshare(2).
    `carried` gets the host's settings, the reply a note why not.
    """
    if call["isolation"] == "host":
        return False, None
    carried["settings"] = host_settings()
    reply["isolation_note"], unshare = isolate(call, program, carried)
    return not reply["isolation_note"], unshare


def use_host_settings(settings, reply):
    # type: (List[Tuple[str, str]], Dict[str, Any]) -> str
    """Copies the host's settings here, after the kernel's defaults were read. Returns what could
    not be copied, which is in the reply's notes.
    """
    if namespace_id() is None:
        note = (
            "/proc/self/ns/net cannot be read, so no sysctl was written: the experiment ran under"
            " this kernel's defaults"
        )
    else:
        read_defaults(reply["sysctls"])
        note = copy_settings(settings, reply["sysctls"])
    if note:
        reply["notes"].append(note[:4000])
    return note


def move_to_another(unshare, settings, note, lab):
    # type: (Any, List[Tuple[str, str]], str, Laboratory) -> Optional[Laboratory]
    """Moves this process from the namespace of `lab` into another one with the host's settings, and
    returns the laboratory there; None unless it is as good as `lab`. `note` has the settings that
    could not be copied into the first one.
    """
    lab.close()
    try:
        enter_with(unshare)
        if copy_settings(settings, {}) != note:
            return None
        another = Laboratory(True, lab.available_ulp)
    except (Unsupported,) + ERRORS:
        return None
    return another if another.abilities() == lab.abilities() else None
