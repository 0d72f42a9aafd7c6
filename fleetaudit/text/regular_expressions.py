"""Regular expressions of users and files, matched by Python's own `re` within a bound of CPU time.

Rules: whoever wrote the expression does not decide how long this process works. `re` looks for
signals while it matches (MAYBE_CHECK_SIGNALS in CPython's Modules/_sre/sre_lib.h), so that the
handler of a timer ends it by an exception. Signals are handled in the main thread alone: in any
other thread another Python does the work and is killed. The expressions of `matches:` in playbooks
are bounded before, by their form (playbook/patterns.py), because judging is pure.
"""

from __future__ import annotations

import contextlib
import marshal
import math
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Collection, Iterator
from types import FrameType

_AGAIN_S = 0.1
"""Seconds after which the timer fires again, if its first exception was lost."""
_WALL_S = 120.0
"""Seconds after which a child is killed, however little CPU time it got."""
_INVALID = (re.error, OverflowError, RecursionError)
_CHILD = """
import marshal, re, resource, sys, time, warnings
warnings.simplefilter("ignore")
expression, names, seconds = marshal.load(sys.stdin.buffer)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
try:
    answer = list(filter(re.compile(expression).match, names))
except RecursionError:
    answer = "nested too deeply"
except (re.error, OverflowError) as e:
    answer = str(e)
sys.stdout.buffer.write(marshal.dumps((answer, time.process_time())))
"""


class InvalidExpressionError(ValueError):
    """Not a regular expression; the text says why."""


class TimeUsedUpError(Exception):
    """The expression takes more time than is left."""


class MatchBudget:
    """Seconds of CPU time that the expressions of one input may take, all of them together.

    What ended in time is free when it is asked again, so that a run that began does not end on it.
    """

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._ended = set[tuple[str, int]]()

    def matching(self, expression: str, names: Collection[str]) -> list[str]:
        """Returns the names that a regular expression matches from their start, in their order.

        `names` must exist as long as the budget does. Raises `InvalidExpressionError`, and
        `TimeUsedUpError` if the time of the budget is used up; then every call about something
        new raises it, too.
        """
        call = (expression, id(names))
        if call in self._ended:
            return _matching(expression, names)
        found = self._match_in_time(expression, names)
        self._ended.add(call)
        return found

    def _match_in_time(self, expression: str, names: Collection[str]) -> list[str]:
        """Returns the matching names, and takes the time from the budget."""
        if self._left_s <= 0:
            raise TimeUsedUpError
        began = time.thread_time()
        try:
            return self._match(expression, names)
        except _INVALID as e:
            raise InvalidExpressionError(_describe(e)) from e
        except TimeUsedUpError:
            self._left_s = 0
            raise
        finally:
            self._left_s -= time.thread_time() - began

    def _match(self, expression: str, names: Collection[str]) -> list[str]:
        """Returns the matching names, found in this thread if that can be interrupted."""
        if threading.current_thread() is not threading.main_thread():
            found, used_s = _match_in_child(expression, names, self._left_s)
            self._left_s -= used_s
            return found
        with _interrupted_after(self._left_s):
            return _matching(expression, names)


def _matching(expression: str, names: Collection[str]) -> list[str]:
    """Returns the matching names, however long it takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a later Python may read differently
        return list(filter(re.compile(expression).match, names))


@contextlib.contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Raises `TimeUsedUpError` inside the block after so much CPU time of this process."""
    before = signal.signal(signal.SIGVTALRM, _interrupt)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _describe(e: Exception) -> str:
    """Returns why an expression is invalid."""
    return "nested too deeply" if isinstance(e, RecursionError) else str(e)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ends what the main thread does."""
    raise TimeUsedUpError


def _match_in_child(
    expression: str, names: Collection[str], seconds: float
) -> tuple[list[str], float]:
    """Returns the matching names, found by another Python, and the seconds of CPU that it took.

    It ends itself after `seconds` of CPU, rounded up, and is killed after `_WALL_S`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=marshal.dumps((expression, list(names), math.ceil(seconds))),
            stdout=subprocess.PIPE,
            check=True,
            timeout=_WALL_S,
        )
    except subprocess.SubprocessError as e:
        raise TimeUsedUpError from e
    answer, used_s = marshal.loads(done.stdout)  # noqa: S302 — from our own child
    if isinstance(answer, str):
        raise InvalidExpressionError(answer)
    return answer, used_s
