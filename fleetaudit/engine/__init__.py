"""Audits many hosts at once: a greenlet, a deadline, retries and one result per host.

`scheduler` starts the greenlets and collects the results, `attempts` is the work of one greenlet,
`failures` makes a result of what went wrong, and `control` has the settings, the deadline of a host
and the request to stop.
"""

from .control import EngineSettings, JudgeHost, Outcome, RepeatCommand, RunCommand, StopRequest
from .scheduler import audit

__all__ = [
    "EngineSettings",
    "JudgeHost",
    "Outcome",
    "RepeatCommand",
    "RunCommand",
    "StopRequest",
    "audit",
]
