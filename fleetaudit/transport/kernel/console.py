"""Reads what a guest sends over its two serial ports: the program's output over the second, the
kernel's log over the first. Pure.

Rules: a guest is as hostile as a host. Lines, what they unpack to and what is kept of the log are
bounded; what is shown of it went through `printable_line`. A line of the second port is a letter, a
blank and base64:

    b            /init runs                  o, e  pieces of stdout and stderr, packed by zlib
    s KEY=WHY    a sysctl could not be set   x     the program's exit status, which is the end
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

import msgspec

from fleetaudit.errors import rerun_hint
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Limits, Output

LINE_MAX = 256 * 1024
"""Bytes of the longest line that is read from the second port."""
LOG_MAX = 64 * 1024
"""Bytes at the end of the kernel's log that are kept."""
_REJECTED_MAX = 20
_SHOWN_LINES, _SHOWN_WIDTH = 4, 160
_TIME_STAMP = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ")
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[()][0-9A-Z]|[=>78cM])")
_PANIC = "Kernel panic"
# Not "Attempted to kill init!", after which /init has run.
_NO_INIT = re.compile(r"Unable to mount root|(?<!kill )init\b")
_NO_INIT_HINT = (
    "the kernel found no /init: remove init=, rdinit= and root= from kernel_append, or give a"
    " kernel with initramfs built in"
)
_OUT_OF_MEMORY = re.compile(
    r"Out of memory|System is deadlocked on memory|out of memory"
    r"|Initramfs unpacking failed: write error|initrd too large|Memory cgroup out"
    r"|No space left on device|Cannot allocate memory|MemoryError"
)


class GuestOutput(msgspec.Struct, kw_only=True):
    """What came over the second port so far. `garbled` is True if a line was not understood."""

    limits: Limits
    stdout: bytearray = msgspec.field(default_factory=bytearray)
    stderr: bytearray = msgspec.field(default_factory=bytearray)
    started: bool = False
    exit_status: int | None = None
    rejected_sysctls: list[str] = msgspec.field(default_factory=list)
    cut: str = ""
    garbled: bool = False
    _rest: bytearray = msgspec.field(default_factory=bytearray)

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be read: the program ended, or a limit was reached."""
        return self.exit_status is not None or self.cut != ""

    def feed(self, data: bytes) -> None:
        """Takes bytes as they come from the port, in any pieces.

        Drops an unfinished line of more than `LINE_MAX` bytes, and ignores what follows the end.
        """
        self._rest += data
        while not self.complete and (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end]).rstrip(b"\r")
            del self._rest[: end + 1]
            self._take_line(line)
        if len(self._rest) > LINE_MAX:
            self._rest.clear()
            self.garbled = True

    def output(self) -> Output:
        """Returns the output of the program, as every transport returns it."""
        return Output(
            stdout=bytes(self.stdout),
            stderr=bytes(self.stderr),
            exit_status=self.exit_status,
            cut=self.cut,
        )

    def _take_line(self, line: bytes) -> None:
        """Takes one line of the second port."""
        letter, _, packed = line.partition(b" ")
        try:
            self._take_value(letter, base64.b64decode(packed, validate=True))
        except (binascii.Error, zlib.error, ValueError):
            self.garbled = True

    def _take_value(self, letter: bytes, value: bytes) -> None:
        """Takes the value of one line.

        An unknown letter, or more than `_REJECTED_MAX` sysctls, sets `garbled`. Raises `ValueError`
        if an exit status is not a number, `zlib.error` for a piece that cannot be unpacked.
        """
        match letter:
            case b"b":
                self.started = True
            case b"o":
                self._unpack(self.stdout, value, self.limits.stdout, "stdout")
            case b"e":
                self._unpack(self.stderr, value, self.limits.stderr, "stderr")
            case b"s" if len(self.rejected_sysctls) < _REJECTED_MAX:
                self.rejected_sysctls.append(printable_line(value))
            case b"x":
                self.exit_status = int(value[:4])
            case _:
                self.garbled = True

    def _unpack(self, stream: bytearray, packed: bytes, limit: int, name: str) -> None:
        """Unpacks a piece of a stream, up to its limit.

        At most one byte more than the room is unpacked, whatever the piece would become; that byte
        tells that the stream was cut.
        """
        room = limit - len(stream)
        piece = zlib.decompressobj().decompress(packed, room + 1)
        stream += piece[:room]
        if len(piece) > room and not self.cut:
            self.cut = name


def explain(log: bytes, memory_mib: int, boot_command: str) -> tuple[str, str] | None:
    """Returns the reason that the kernel's log names and what to do next, None for none.

    `boot_command` is the command that boots the image by hand. A line about memory counts
    more than a panic.
    """
    lines = _lines(log)
    if line := _first(lines, _OUT_OF_MEMORY):
        cause = re.sub(r" total-vm:.*", "", line)
        return (
            f"the guest ran out of memory ({memory_mib} MiB): {cause}",
            f"set kernel_memory to more than {memory_mib} (MiB)",
        )
    panic = _first(lines, re.compile(_PANIC))
    if not panic:
        return None
    if timer_lost(log):
        reason = f"the machine is too busy to emulate a timer, so the kernel panicked: {panic}"
        return reason, rerun_hint("-f", "1")
    reason = f"the kernel panicked: {_with_line_before(lines, panic)}"
    if _NO_INIT.search(panic):
        return reason, _NO_INIT_HINT
    return reason, boot_command


def _with_line_before(lines: list[str], panic: str) -> str:
    """Returns a panic after the end of /init with the line before it, in which /init says why."""
    at = lines.index(panic)
    if at == 0 or "kill init" not in panic:
        return panic
    return f"{lines[at - 1]} / {panic}"


def timer_lost(log: bytes) -> bool:
    """Returns whether the kernel gave up because the emulated timer came too late, which is not a
    fault of the image.
    """
    return b"IO-APIC + timer doesn't work" in log


def last_lines(log: bytes) -> str:
    """Returns the last lines of the kernel's log as one printable line, or that there are none."""
    lines = _lines(log)[-_SHOWN_LINES:]
    if not lines:
        return "the console has no output"
    return "the console ends: " + " / ".join(lines)


def _first(lines: list[str], pattern: re.Pattern[str]) -> str:
    """Returns the first line in which the pattern is found, or ""."""
    return next((line for line in lines if pattern.search(line)), "")


def _lines(log: bytes) -> list[str]:
    """Returns the lines of a log, sanitized, without time stamps and empty lines."""
    text = _ESCAPES.sub("", log.decode("utf-8", "replace"))
    return [*filter(None, map(_without_time, text.split("\n")))]


def _without_time(line: str) -> str:
    """Returns a line of the log without its time stamp, sanitized and cut to a width.

    "[    1.234567] Run /init" becomes "Run /init".
    """
    return printable_line(_TIME_STAMP.sub("", line.strip("\r")), _SHOWN_WIDTH)
