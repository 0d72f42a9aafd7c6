"""What `protocol.COMMAND` reads after its ready line: the Python program, and the native one where
the host's shell asks for it. No I/O.

Rules: a host with a Python is sent what it needs at once; nothing waits for the host's choice. Its
standard input ends when its reply begins, for a forced command that waits for the end. The native
program follows only after `protocol.NATIVE_MARK`, which is searched for near the ready line
only. A host whose machine has no program is sent nothing more: the command then ends, and
`probe.reply_errors` says why.
"""

from __future__ import annotations

import re
from typing import SupportsBytes

from fleetaudit.errors import MissingProgramError
from fleetaudit.probe.native_program import architecture_of
from fleetaudit.probe.offer import Offer
from fleetaudit.probe.protocol import NATIVE_LINE, ONLY_NATIVE, REPLY_MARK

_NEAR = 16 * 1024
"""How far after the ready line the host may ask for the native program, in bytes: what the shell
says of a Python that does not work goes to stderr.
"""
_LINE_MAX = 200  # maximum bytes of that line, so how far a search looks back


class ProgramInput:
    """Our side of the conversation with one `COMMAND`: `stdin` is an `Offer`, or else a text that
    is sent as it is.
    """

    def __init__(self, stdin: SupportsBytes) -> None:
        self._stdin = stdin
        self._searched = self._until = 0
        self._begun = self.finished = False

    def next_input(self, stdout: bytes | bytearray, ready: re.Match[bytes]) -> bytes:
        """Returns the next bytes to send, given all output so far and its ready line; b"" if none
        are to be sent now.
        """
        if not self._begun:
            self._begun = True
            self._searched, self._until = ready.end(), ready.end() + _NEAR
            return self._first_input(ready)
        return self._answer(stdout)

    def _first_input(self, ready: re.Match[bytes]) -> bytes:
        """Returns what is sent at once. The command of an earlier version takes a Python program
        only, and waits for its end.
        """
        offer = self._stdin
        if not isinstance(offer, Offer):
            self.finished = True
            return bytes(offer)
        self.finished = ready["version"] == b"1" or offer.choice == "python"
        if offer.choice == "native":
            return b"" if self.finished else f"{ONLY_NATIVE}\n".encode()
        return bytes(offer) if self.finished else offer.python().with_length()

    def _answer(self, stdout: bytes | bytearray) -> bytes:
        """Returns the native program once the shell has asked for it."""
        begin = max(0, self._searched - _LINE_MAX)
        self._searched = len(stdout)
        asked = NATIVE_LINE.search(stdout, begin, self._until)
        if not asked:
            replies = stdout.find(REPLY_MARK, begin, self._until) >= 0
            self.finished = replies or self._searched > self._until
            return b""
        self.finished = True
        try:
            return self._native_program(asked)
        except MissingProgramError:
            return b""

    def _native_program(self, asked: re.Match[bytes]) -> bytes:
        """Returns the program for the machine that the line names, b"" for one without a program.

        The line before it names the file and tells the number of its bytes.
        """
        architecture = architecture_of(asked["machine"].decode("utf-8", "replace"))
        if not architecture or not asked["tool"] or not isinstance(self._stdin, Offer):
            return b""
        program = self._stdin.native_for_shell(architecture)
        head = b"%b %d\n" % (self._stdin.nonce.encode(), len(program))
        if asked["tool"] == b"cat":
            return head + program.plain()
        return head + program.compressed()
