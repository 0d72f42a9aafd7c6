"""Runs a child process that holds copies of sockets."""

import os
import signal
import sys
from typing import Any, Iterable

from .constants import ERRORS
from .errors import OutOfResources, StepFailed, Unsupported, call_or, error_name

EXEC_FAILED = 97
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM}
ORDERS = {"exec": b"e", "exit": b"x"}


class Child(object):
    """A process that holds copies of this one's sockets until it is ended, or this one is gone."""

    def __init__(self, drop):
        # type: (Iterable[Any]) -> None
        """Starts it; it closes its copies of the sockets `drop`. Raises Unsupported or
        StepFailed.
        """
        start_out, start_in = os.pipe()
        control_out, self.control = os.pipe()
        try:
            self.pid = os.fork()
        except ERRORS as e:
            for fd in (start_out, start_in, control_out, self.control):
                os.close(fd)
            raise OutOfResources("this host lets the probe make no process (%s)" % error_name(e))
        if self.pid == 0:
            os.close(start_out)
            self.live(drop, start_in, control_out)
        os.close(start_in)
        os.close(control_out)
        started = os.read(start_out, 1)
        os.close(start_out)
        if not started:
            raise StepFailed("the child process did not start")

    def live(self, drop, start_in, control_out):
        # type: (Iterable[Any], int, int) -> None
        """Waits in the child for its end, and ends."""
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(self.control)
            for sock in drop:
                sock.close()
            os.write(start_in, b".")
            os.close(start_in)
            if os.read(control_out, 1) == b"e":  # nothing is read if the parent is gone
                execute_something()
        finally:
            os._exit(0)

    def end(self, how):
        # type: (str) -> None
        """Ends it by "exit", "exec", "kill" or "term", and waits until it is gone."""
        if how in SIGNALS:
            os.kill(self.pid, SIGNALS[how])
        else:
            os.write(self.control, ORDERS[how])
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        os.close(self.control)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == EXEC_FAILED:
            raise Unsupported("there is no program to exec")

    def close(self):
        # type: () -> None
        """Ends it, whatever it does; does nothing if it is gone."""
        if self.pid:
            self.end("kill")


def execute_something():
    # type: () -> None
    call_or(None, os.execv, "/bin/true", ["true"])
    try:
        os.execv(sys.executable, [sys.executable, "-B", "-S", "-E", "-c", ""])
    finally:
        os._exit(EXEC_FAILED)
