"""What a host is offered: the Python program, and a native one for each architecture.

Rules: nothing is made before a transport asks for it, because most hosts need one program of the
seven. Both programs carry the nonce of this attempt, so a reply of either answers this request.
"""

from __future__ import annotations

import functools
import gzip
from dataclasses import dataclass

from fleetaudit.model import HostPlan, ProbeChoice

from .native_program import native_binary
from .native_request import NativeRequest, native_request
from .reply_errors import choice_of
from .request import Request, new_request

_PADDING = slice(9, 16)  # EI_PAD of elf(5), which no kernel reads
_ENDS_A_SCRIPT = b"\nexit\n\0"


@dataclass(frozen=True, slots=True)
class Offer:
    """The programs for one attempt at a host, which all do the same.

    `bytes()` of it is the Python program, for a transport that can run no other. `deadline_s` is
    when the alarm of either program rings, in seconds.
    """

    plan: HostPlan
    deadline_s: float
    request: Request

    @property
    def nonce(self) -> str:
        """What the reply must repeat."""
        return self.request.nonce

    @property
    def choice(self) -> ProbeChoice:
        """Which program the host is to run (`fleetaudit_probe`)."""
        return choice_of(self.plan)

    def python(self) -> Request:
        """Returns the Python program."""
        return self.request

    def native(self, architecture: str) -> bytes:
        """Returns the native program with its request: one file that can be run.

        Raises `MissingProgramError` if it was not built.
        """
        request = self._native_request()
        return native_binary(architecture) + bytes(request)

    def native_for_shell(self, architecture: str) -> ShellProgram:
        """Returns the same file for a host whose shell runs it; raises `MissingProgramError`.

        If a machine cannot execute it, a shell reads it as a script (POSIX, "Command Search and
        Execution"). So its second line, in bytes that elf(5) leaves unused, is `exit`.
        """
        request = self._native_request()
        return ShellProgram(architecture, request.shared, request.own)

    def _native_request(self) -> NativeRequest:
        """Returns the request that follows the native program."""
        return native_request(self.plan, deadline_s=self.deadline_s, nonce=self.nonce)

    def __bytes__(self) -> bytes:
        return bytes(self.request)


@dataclass(frozen=True, slots=True)
class ShellProgram:
    """A native program with its request. `shared` is the same object for hosts with an equal
    plan.
    """

    architecture: str
    shared: bytes
    own: bytes

    def plain(self) -> bytes:
        """Returns the file as it is."""
        return harmless_script(self.architecture) + self.shared + self.own

    def compressed(self) -> bytes:
        """Returns the file in gzip, in two members (RFC 1952, 2.2): the first is made once."""
        return _compressed(self.architecture, self.shared) + gzip.compress(self.own, mtime=0)

    def __len__(self) -> int:
        """The number of bytes of the file."""
        return len(harmless_script(self.architecture)) + len(self.shared) + len(self.own)


def new_offer(plan: HostPlan, *, deadline_s: float) -> Offer:
    """Returns what a host is offered in one attempt, with a nonce of its own."""
    return Offer(plan, deadline_s, new_request(plan, deadline_s=deadline_s))


@functools.cache
def harmless_script(architecture: str) -> bytes:
    """Returns a native program that ends at once if a shell reads it as a script.

    Raises `MissingProgramError` if it was not built.
    """
    program = bytearray(native_binary(architecture))
    program[_PADDING] = _ENDS_A_SCRIPT
    return bytes(program)


@functools.lru_cache(maxsize=16)
def _compressed(architecture: str, shared: bytes) -> bytes:
    """Returns a program and what requests of an equal plan share, in gzip."""
    return gzip.compress(harmless_script(architecture) + shared, mtime=0)
