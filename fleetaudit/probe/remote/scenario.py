"""Runs the trials of one scenario."""

import os
import select

from .constants import MAX_REPEATS, STALL
from .errors import NotHere, Scarce
from .needs import check_needs
from .trace import essence
from .trial import Trial
from .waiting import TIMEOUT


def observe(lab, scenario, family):
    """Returns one scenario over one family: its trials, those that are alike as one, or why it was not run."""
    found = {"scenario": scenario["name"], "family": family, "trials": [], "not_run": ""}
    alike, kept = {}, []
    try:
        lab.check(family)
        check_needs(lab, family, scenario["steps"])
        repeats = Repeats(lab, scenario["name"], family)
        for _ in range(scenario["trials"]):
            trial = repeats.run(scenario["steps"])
            same = dict(
                trial,
                steps=len(trial["steps"]),
                wire=essence(trial["wire"] or ()),
                wire_omitted=0,
                connection=None,
            )
            if any(step[1] == "send-until-blocked" for step in scenario["steps"]):
                same = coarse(same)
            key = repr(sorted(same.items()))
            if key in alike:
                alike[key]["count"] += 1
            else:
                alike[key] = trial
                found["trials"].append(trial)
                kept.append(repeats.kept)
        lab.add_headers(found["trials"], kept, scenario.get("expect", ()))
    except NotHere as e:
        if found["trials"]:
            found["trials"].append(failure(e))
        else:
            found["not_run"], found["failed"] = str(e), isinstance(e, Scarce)
    except Exception as e:  # one odd scenario must not cost the others
        found["trials"].append(failure(e))
    found["trials"] = [without_defaults(trial) for trial in found["trials"]]
    return found


class Repeats(object):
    """Runs the trials of one scenario over one family; a trial that timed out while the host was stalled is repeated.

    Only such a trial: one that came to an end is never run again, however it ended. Repeats are told in a note.
    `kept` are the packets that the last trial reported.
    """

    def __init__(self, lab, name, family):
        self.lab, self.name, self.family, self.left = lab, name, family, MAX_REPEATS

    def run(self, steps):
        """Returns one trial as it is reported."""
        while True:
            if gone_away():
                os._exit(1)
            trial = Trial(self.lab, self.family, steps)
            found, self.kept = trial.run(), trial.kept
            if not trial.timed_out or TIMEOUT.in_trial < STALL:
                return found
            if not self.left:
                found["error"] += "; the host stalled for %.2f s meanwhile" % TIMEOUT.in_trial
                return found
            self.left -= 1
            words = (self.name, self.family, found["failed_step"] + 1, found["error"])
            self.lab.repeated.append("%s over %s (step %d: %s)" % words)


def note_of_repeats(repeated):
    """Returns a note on the trials that were repeated, "" where none was."""
    if not repeated:
        return ""
    words = "the host stalled, so %d trials timed out and were repeated: %s" % (
        len(repeated),
        "; ".join(repeated),
    )
    return words[:4000]


def without_defaults(trial):
    """Returns a trial without what is usual, a tenth of a reply."""
    usual = ("connection", "wire_note", "wire_lost", "wire_omitted", "error", "outstanding")
    return {key: value for key, value in trial.items() if value or key not in usual}


def coarse(value):
    """Returns a value with every number above 9999 as 10000: how much is sent until a sender blocks depends on when
    acknowledgments come."""
    if isinstance(value, dict):
        return {k: coarse(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [coarse(v) for v in value]
    if isinstance(value, str) and value.isdigit():  # what a recv gave
        value = int(value)
    return min(value, 10000) if isinstance(value, int) else value


def failure(error):
    """Returns a trial in which the probe itself failed."""
    return {
        "count": 1,
        "wire": None,
        "peer": None,
        "kernel": None,
        "error": ("the probe failed: %s: %s" % (type(error).__name__, error))[:4000],
    }


def gone_away():
    """Returns whether nobody reads this program's output any more."""
    poller = select.poll()
    poller.register(1, 0)
    return bool(poller.poll(0))
