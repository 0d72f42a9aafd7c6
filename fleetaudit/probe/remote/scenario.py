"""Runs the trials of one scenario over one family."""

import os
import select
from typing import Any, Dict, List, Sequence

from .connection import Connection
from .constants import ERRORS, MAX_REPEATS, NO_PORT, SCARCE, STALL
from .errors import OutOfResources, Unsupported, errno_of, error_name, message_of
from .lab import Laboratory
from .needs import check_needs
from .packets import Packet
from .sysctls import sysctl_value
from .trace import essence
from .trial import run_trial
from .waiting import TIMEOUT

# Keys that are left out if they have no value: a tenth of a reply.
OPTIONAL_KEYS = (
    "trials",
    "not_run",
    "failed",
    "connection",
    "wire_note",
    "wire_lost",
    "wire_omitted",
) + ("error", "outstanding", "queue", "poll_added")


def observe(lab, scenario, family):
    # type: (Laboratory, Dict[str, Any], str) -> Dict[str, Any]
    """Returns one scenario over one family: its trials, equal ones as one, or why it has none."""
    observation = {
        "scenario": scenario["name"],
        "family": family,
        "trials": [],
        "not_run": "",
    }  # type: Dict[str, Any]
    trials = observation["trials"]
    try:
        lab.check_family(family)
        check_needs(lab, family, scenario["steps"])
        run_trials(lab, scenario, family, trials)
    except Exception as e:  # one scenario that breaks the probe must not cost the others
        add_failure(observation, explain(e))
    for trial in trials:
        trial["peer"] = trial["peer"] and without_defaults(trial["peer"])
    observation["trials"] = list(map(without_defaults, trials))
    return without_defaults(observation)


def add_failure(observation, error):
    # type: (Dict[str, Any], BaseException) -> None
    """Adds why a scenario has no more trials: it was not run if it has none."""
    if observation["trials"] or not isinstance(error, Unsupported):
        observation["trials"].append(failed_trial(error))
    else:
        observation["not_run"] = message_of(error)
        observation["failed"] = isinstance(error, OutOfResources)


def explain(error):
    # type: (BaseException) -> BaseException
    """Returns an exception that names the resource that has run out on this host, or the error
    itself if it is another.
    """
    if isinstance(error, MemoryError):
        return lack_of_resources(error)
    if not isinstance(error, ERRORS):
        return error
    if errno_of(error) in NO_PORT:
        ports = sysctl_value("net.ipv4.ip_local_port_range")
        return OutOfResources("no free local port: ip_local_port_range is %s" % ports)
    if errno_of(error) in SCARCE:
        return lack_of_resources(error)
    return error


def lack_of_resources(error):
    # type: (BaseException) -> OutOfResources
    problem = "this host gives the probe too few resources (%s)"
    return OutOfResources(problem % error_name(error))


def run_trials(lab, scenario, family, trials):
    # type: (Laboratory, Dict[str, Any], str, List[Dict[str, Any]]) -> None
    """Runs the trials of a scenario, and adds them to `trials`, equal ones as one."""
    steps = scenario["steps"]
    by_key = {}  # type: Dict[str, Dict[str, Any]]
    packets = []  # type: List[List[Packet]]
    repeats = Repeats(lab, scenario["name"], family)
    for _ in range(scenario["trials"]):
        trial = repeats.run(steps)
        key = key_of(trial, steps)
        if key in by_key:
            by_key[key]["count"] += 1
        else:
            by_key[key] = trial
            trials.append(trial)
            packets.append(repeats.packets)
    lab.add_headers(trials, packets, scenario.get("expect", ()))


def key_of(trial, steps):
    # type: (Dict[str, Any], Sequence[Any]) -> str
    """Returns what equal trials share: everything but what depends on time only."""
    same = dict(
        trial,
        steps=len(trial["steps"]),
        wire=essence(trial["wire"] or ()),
        wire_omitted=0,
        connection=None,
    )
    if any(step[1] == "send-until-blocked" for step in steps):
        same = coarse(same)
    return repr(sorted(same.items()))


def coarse(value):
    # type: (Any) -> Any
    """Returns a value with every number above 9999 as 10000: how much is sent until a sender blocks
    depends on when ACKs come.
    """
    if isinstance(value, dict):
        return {key: coarse(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(coarse, value))
    if isinstance(value, str) and value.isdigit():  # the result of a recv
        value = int(value)
    return min(value, 10000) if isinstance(value, int) else value


class Repeats(object):
    """Runs trials, and repeats one that timed out while the host was stalled, with a note; never
    one that came to its end. `packets` are those that the last trial reported.
    """

    def __init__(self, lab, name, family):
        # type: (Laboratory, str, str) -> None
        self.lab, self.name, self.family = lab, name, family
        self.remaining = MAX_REPEATS
        self.packets = []  # type: List[Packet]

    def run(self, steps):
        # type: (Sequence[Any]) -> Dict[str, Any]
        while True:
            if is_output_closed():
                os._exit(1)
            c = Connection(self.lab, self.family, steps)
            trial, self.packets = run_trial(c), c.reported_packets
            if not c.timed_out or TIMEOUT.in_trial < STALL:
                return trial
            if not self.remaining:
                trial["error"] += "; the host stalled for %.2f s meanwhile" % TIMEOUT.in_trial
                return trial
            self.remaining -= 1
            details = (self.name, self.family, trial["failed_step"] + 1, trial["error"])
            self.lab.repeated.append("%s over %s (step %d: %s)" % details)


def note_of_repeats(repeated):
    # type: (List[str]) -> str
    """Returns a note on the trials that were repeated, "" for none."""
    if not repeated:
        return ""
    note = "the host stalled, so %d trials timed out and were repeated: %s"
    return (note % (len(repeated), "; ".join(repeated)))[:4000]


def without_defaults(trial):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns a trial, a peer or an observation without optional keys that have no value."""
    return {key: value for key, value in trial.items() if value or key not in OPTIONAL_KEYS}


def failed_trial(error):
    # type: (BaseException) -> Dict[str, Any]
    """Returns a trial in which the probe itself failed, or had too little to go on."""
    problem = "the probe failed: %s: %s" % (type(error).__name__, error)
    if isinstance(error, Unsupported):
        problem = str(error)
    return {"count": 1, "wire": None, "peer": None, "kernel": None, "error": problem[:4000]}


def is_output_closed():
    # type: () -> bool
    """Returns whether nobody reads the output any more."""
    poller = select.poll()
    poller.register(1, 0)
    return bool(poller.poll(0))
