"""Runs a child process that holds a copy of a socket."""

import os
import signal
import sys

from .constants import ERRORS
from .errors import Failed, NotHere, Scarce, name_of


class Child(object):
    """A process that holds a copy of some sockets until it is told otherwise, or until this one is gone."""

    def __init__(self, drop):
        ready, say_ready = os.pipe()
        wait, self.tell = os.pipe()
        try:
            self.pid = os.fork()
        except ERRORS as e:
            for fd in (ready, say_ready, wait, self.tell):
                os.close(fd)
            raise Scarce("this host lets the probe make no process (%s)" % name_of(e))
        if self.pid == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.close(ready)
                os.close(self.tell)
                for sock in drop:
                    sock.close()
                os.write(say_ready, b".")
                os.close(say_ready)
                if os.read(wait, 1) == b"e":  # an empty read: the parent is gone
                    self.execute()
            finally:
                os._exit(0)
        os.close(say_ready)
        os.close(wait)
        try:
            if not os.read(ready, 1):
                raise Failed("the child process did not start")
        finally:
            os.close(ready)

    def execute(self):
        try:
            os.execv("/bin/true", ["true"])
        except OSError:
            pass
        try:
            os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", ""])
        finally:
            os._exit(97)

    def end(self, how):
        """Ends it: "exit", "exec", "kill" or "term"; returns when it is gone."""
        if how in ("kill", "term"):
            os.kill(self.pid, signal.SIGKILL if how == "kill" else signal.SIGTERM)
        else:
            os.write(self.tell, b"e" if how == "exec" else b"x")
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        os.close(self.tell)
        if how == "exec" and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 97:
            raise NotHere("there is no program to exec")

    def close(self):
        """Ends it whatever it does, and does nothing where it is gone."""
        if self.pid:
            self.end("kill")
