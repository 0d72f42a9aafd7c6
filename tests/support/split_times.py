"""Splits a reply of protocol 1 into its shape and its times, as protocol 2 has them.

The stored replies and the cases of the tests are written as protocol 1 had them: a row of a trace
with its time and window, a connection with its ports. The probe itself splits in `remote/times.py`,
which this module does not import: two programs that agree are a test of both.
"""

from __future__ import annotations

from typing import Any

AT, SENDER, LENGTH_END, WINDOW = 0, 1, 6, 8
"""Places in a row of protocol 1: [at, sender, flags, seq, ack, length, urgent, options, window]."""


def split_times(body: dict[str, Any]) -> dict[str, Any]:
    """Returns a reply of protocol 1 as protocol 2 has it; what is malformed stays as it is."""
    times: dict[str, list[Any]] = {
        name: [] for name in ("began", "ports", "steps", "at", "windows", "headers")
    }
    observations = body.get("observations")
    protocol = 2 if body.get("protocol") == 1 else body.get("protocol")
    if not isinstance(observations, list):
        return {**body, "protocol": protocol}
    shapes = [_shape_of_observation(each, times) for each in observations]
    return {**body, "protocol": protocol, "observations": shapes, "times": times}


def _shape_of_observation(observation: Any, times: dict[str, list[Any]]) -> Any:
    if not isinstance(observation, dict) or not isinstance(observation.get("trials", []), list):
        return observation
    trials = [_shape_of_trial(trial, times) for trial in observation.get("trials", [])]
    return {**observation, "trials": trials}


def _shape_of_trial(trial: Any, times: dict[str, list[Any]]) -> Any:
    if not isinstance(trial, dict):
        return trial
    shape = dict(trial)
    if isinstance(trial.get("steps"), list):
        times["steps"] += [at for at, _ in trial["steps"]]
        shape["steps"] = len(trial["steps"])
    if isinstance(trial.get("connection"), dict):
        shape["connection"] = _shape_of_connection(trial["connection"], times)
    if isinstance(trial.get("wire"), list):
        times["at"] += [row[AT] for row in trial["wire"]]
        times["windows"] += [(*row, None)[WINDOW] for row in trial["wire"]]
        shape["wire"] = [_shape_of_row(row) for row in trial["wire"]]
    return shape


def _shape_of_connection(connection: dict[str, Any], times: dict[str, list[Any]]) -> dict[str, Any]:
    shape = dict(connection)
    if headers := shape.pop("headers", ""):
        times["headers"].append([len(times["began"]), headers])
    times["began"].append(shape.pop("began"))
    times["ports"] += shape.pop("ports")
    return shape


def _shape_of_row(row: list[Any]) -> list[Any]:
    end = WINDOW if any(row[LENGTH_END:WINDOW]) else LENGTH_END
    return row[SENDER:end]
