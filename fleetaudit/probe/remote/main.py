"""Does it all, and prints the reply."""

import os
import select
import signal
import time

from .constants import ERRORS, MARK, MAX_SECONDS, MERCY, OUT_OF_TIME
from .errors import TimeIsUp, would_block
from .host import look_at_host
from .json_text import json_of
from .lab import Laboratory
from .namespace import check_private, isolate, namespace_id
from .scenario import failure, note_of_repeats, observe
from .sysctl_copy import copied_settings, copy_settings, read_defaults
from .sysctls import read_sysctl
from .waiting import TIMEOUT, now


def main(call, program):
    """Does all, and prints the one line. `program` is this text, for the way into a namespace that starts it again."""
    carried = call.get("carried")
    started = carried["started"] if carried else time.time()
    reply = {
        "protocol": 1,
        "fleetaudit": call.get("fleetaudit", ""),
        "digest": call.get("digest", ""),
        "kernel": {"release": "", "version": "", "machine": ""},
        "os": {},
        "python": "",
        "machine_id": "",
        "isolation": "host",
        "isolation_note": "",
        "capture_note": "",
        "notes": [],
        "sysctls": {},
        "sysctl_places": None,
        "sysctls_writable": True,
        "exposure": None,
        "observations": [],
    }
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, ring)
    left = max(0.1, started + call["deadline"] - time.time())
    signal.setitimer(signal.ITIMER_REAL, left)
    TIMEOUT.deadline = now() + left
    try:
        try:
            work(call, program, carried, started, reply)
        finally:
            signal.signal(
                signal.SIGALRM, signal.SIG_DFL
            )  # the hard one; whoever reads slowly may use what is left
            signal.setitimer(
                signal.ITIMER_REAL, max(0.0, started + call["deadline"] - time.time()) + MERCY
            )
    except TimeIsUp:
        reply["notes"].append(
            "the alarm rang after %s s: what was not done by then is not run" % call["deadline"]
        )
    except Exception as e:  # what was seen until then is still told
        reply["reason"] = failure(e)["error"]
        reply["notes"].append(reply["reason"])
    fill_in(call, reply, reply.pop("reason", "") or OUT_OF_TIME)
    used = os.times()
    reply["cpu_s"] = sum(used[:4])
    reply["elapsed_s"] = max(0.0, min(MAX_SECONDS, time.time() - started))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    say("\n" + MARK + json_of(reply) + "\n")


def ring(_number, _frame):
    """Ends the experiments; should the program be stuck, the next alarm ends it by default action."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, MERCY)
    raise TimeIsUp


def say(text):
    """Writes all of `text` to standard output."""
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


def fill_in(call, reply, reason):
    """Adds what was not observed, as not run, so that nothing asked for is missing."""
    done = {(o["scenario"], o["family"]) for o in reply["observations"]}
    for scenario in call["scenarios"]:
        for family in scenario["families"]:
            if (scenario["name"], family) not in done:
                reply["observations"].append(
                    {
                        "scenario": scenario["name"],
                        "family": family,
                        "trials": [],
                        "not_run": reason,
                        "failed": True,
                    }
                )


def work(call, program, carried, started, reply):
    """Looks at the host, moves into a namespace where that is wanted and possible, and runs the scenarios."""
    private = False
    if carried:  # started over by start_over_inside
        reply.update(carried["seen"])
        check_private(carried["namespace"])
        host_values, available_ulp, private = carried["settings"], carried["ulp"], True
    else:
        seen = look_at_host(call)
        reply.update(seen)
        available_ulp = (read_sysctl("net.ipv4.tcp_available_ulp")[0] or "").split()
        if call["isolation"] != "host":
            host_values = [
                (k, v)
                for k, v in ((k, read_sysctl(k)[0]) for k in copied_settings())
                if v is not None
            ]
            carried = {
                "seen": seen,
                "namespace": namespace_id(),
                "settings": host_values,
                "ulp": available_ulp,
                "started": started,
            }
            note = isolate(call, program, carried)
            private = not note
            reply["isolation_note"] = note
            if note and call["isolation"] == "namespace":
                reply["reason"] = note
                return
    if private:
        reply["isolation"] = "namespace"
        if namespace_id() is None:
            reply["notes"].append(
                "/proc/self/ns/net cannot be read, so no sysctl was written: the experiment ran "
                "under this kernel's defaults"
            )
        else:
            read_defaults(reply["sysctls"])
            note = copy_settings(host_values, reply["sysctls"])
            if note:
                reply["notes"].append(note[:4000])
    lab = Laboratory(private, available_ulp)
    reply["capture_note"] = lab.no_capture
    try:
        for scenario in call["scenarios"]:
            for family in scenario["families"]:
                reply["observations"].append(observe(lab, scenario, family))
    finally:
        reply["notes"].extend([note for note in [note_of_repeats(lab.repeated)] if note])
