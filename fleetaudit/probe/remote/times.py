"""Separates what was seen from its times, and writes the result line."""

import os
from typing import Any, Dict, List

from .constants import COMPRESSED, MARK
from .json_text import to_json
from .optional import binascii, zlib


def take_times(observations):
    # type: (List[Dict[str, Any]]) -> Dict[str, List[Any]]
    """Returns the times of all trials, ports and windows among them, and takes them out. On one
    kernel build the rest is mostly equal on every host.
    """
    times = {name: [] for name in ("began", "ports", "steps", "at", "windows", "headers")}  # type: Dict[str, List[Any]]
    for observation in observations:
        for trial in observation.get("trials", ()):
            take_times_of_trial(trial, times)
    return times


def take_times_of_trial(trial, times):
    # type: (Dict[str, Any], Dict[str, List[Any]]) -> None
    times["steps"] += [at for at, _ in trial.get("steps", ())]
    trial["steps"] = len(trial.get("steps", ()))
    connection = trial.get("connection")
    if connection:
        headers = connection.pop("headers", "")
        if headers:
            times["headers"].append((len(times["began"]), headers))
        times["began"].append(connection.pop("began"))
        times["ports"] += connection.pop("ports")
    rows = trial["wire"]
    if rows is not None:
        times["at"] += [row[0] for row in rows]
        times["windows"] += [row[8] for row in rows]
        # Most segments are not urgent and have no options, and 0 and "" may be left out.
        trial["wire"] = [row[1:8] if any(row[6:8]) else row[1:6] for row in rows]


def without_nulls(sysctl):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns a sysctl without what is unknown; an empty value is known."""
    return {
        key: value
        for key, value in sysctl.items()
        if value is not None and (value or key != "state")
    }


def pack(data):
    # type: (bytes) -> str
    """Returns data compressed, in base64, as one line; "" without zlib."""
    if not zlib or not binascii:
        return ""
    return str(binascii.b2a_base64(zlib.compress(data, 9)).decode("ascii").strip())


def result_line(reply):
    # type: (Dict[str, Any]) -> str
    """Returns the line that is the reply; it is plain JSON on a terminal, and without zlib."""
    reply["times"] = take_times(reply["observations"])
    reply["sysctls"] = {key: without_nulls(each) for key, each in reply["sysctls"].items()}
    text = to_json(reply)
    packed = "" if os.isatty(1) else pack(text.encode("ascii"))
    if packed:
        text = COMPRESSED + packed
    return "\n" + MARK + text + "\n"
