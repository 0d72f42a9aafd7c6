"""A person at a terminal: types one line, answers what is asked, and reads the rest.

Rules: the terminal is a real one (pty(7)), and the line's controlling one, so that ssh and sudo ask
there.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

import pytest

from .sshd import require


def type_line(line: str, *answers: tuple[str, str], seconds: float = 240) -> tuple[int, str]:
    """Returns the exit status of a shell line and all that it showed.

    Each answer is given once, in their order, when its question is seen; what stays unasked is no
    failure here.
    """
    require("setsid")
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", "--wait", "sh", "-c", line]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, read, until = b"", 0, time.monotonic() + seconds
    questions = [(question.encode(), f"{answer}\n".encode()) for question, answer in answers]
    try:
        while piece := _next(ours, until):
            seen += piece
            if questions and questions[0][0] in seen[read:]:
                read = len(seen)
                os.write(ours, questions.pop(0)[1])
        return process.wait(max(0.0, until - time.monotonic())), seen.decode("utf-8", "replace")
    except (TimeoutError, subprocess.TimeoutExpired):
        pytest.fail(f"{line} did not end in {seconds} s; it showed {seen!r}")
    finally:
        os.close(ours)  # hangs up, which ends what still runs there
        process.kill()
        process.wait()


def _next(terminal: int, until: float) -> bytes:
    """Returns what is shown next, b"" once nobody can show anything any more; raises
    `TimeoutError`.
    """
    if not select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0]:
        raise TimeoutError
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the last one there has closed it
        return b""
