"""What a guest says over its two serial ports: the program's output over the second, a reason over
the first. Pure.

Rules: a guest is as hostile as a host. Lines, what they unpack to and what is kept of the log are
bounded; what is shown of it went through `printable_line`. The second port's lines are a letter, a blank and
base64:

    b            /init runs                      o, e  zlib-packed pieces of the program's stdout and stderr
    s KEY=WHY    a sysctl could not be set       x     the program's exit status; nothing follows it
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass, field

from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Limits, Output

LONGEST_LINE = 256 * 1024
KEPT_LOG = 64 * 1024
_SHOWN_LINES, _SHOWN_WIDTH = 4, 160
_STAMP = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ")
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[()][0-9A-Z]|[=>78cM])")


@dataclass(slots=True, kw_only=True)
class GuestOutput:
    """What came over the second port so far. `done`: nothing more is to be read (ended, or a limit
    was hit).
    """

    limits: Limits
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    began: bool = False
    exit_status: int | None = None
    refused: list[str] = field(default_factory=list)
    cut: str = ""
    garbled: bool = False
    _rest: bytearray = field(default_factory=bytearray)

    @property
    def done(self) -> bool:
        """Says whether the guest has nothing more to tell."""
        return self.exit_status is not None or self.cut != ""

    def feed(self, data: bytes) -> None:
        """Takes bytes as they come from the port, in any pieces."""
        self._rest += data
        while not self.done and (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end]).rstrip(b"\r")
            del self._rest[: end + 1]
            self._line(line)
        if len(self._rest) > LONGEST_LINE:
            self._rest.clear()
            self.garbled = True

    def output(self) -> Output:
        """Returns what the program gave, as every transport returns it."""
        return Output(
            stdout=bytes(self.stdout),
            stderr=bytes(self.stderr),
            exit_status=self.exit_status,
            cut=self.cut,
        )

    def _line(self, line: bytes) -> None:
        letter, _, packed = line.partition(b" ")
        try:
            value = base64.b64decode(packed, validate=True)
            if letter == b"b":
                self.began = True
            elif letter == b"o":
                self._take(self.stdout, value, self.limits.stdout, "stdout")
            elif letter == b"e":
                self._take(self.stderr, value, self.limits.stderr, "stderr")
            elif letter == b"s" and len(self.refused) < 20:
                self.refused.append(printable_line(value))
            elif letter == b"x":
                self.exit_status = int(value[:4])
            else:
                self.garbled = True
        except (binascii.Error, zlib.error, ValueError):
            self.garbled = True

    def _take(self, stream: bytearray, packed: bytes, limit: int, name: str) -> None:
        room = limit - len(stream)
        piece = zlib.decompressobj().decompress(packed, room + 1)
        stream += piece[:room]
        if len(piece) > room:
            self.cut = self.cut or name


def explain(log: bytes, memory_mib: int) -> tuple[str, str] | None:
    """Returns what the kernel's log says went wrong, and the next thing to try; None where it names
    nothing known.
    """
    lines = _lines(log)
    text = "\n".join(lines)
    if _starved(text):
        return (
            f"the guest ran out of memory ({memory_mib} MiB): {_found(lines, _STARVED)}",
            f"set kernel_memory to more than {memory_mib} (MiB)",
        )
    if "Kernel panic" in text:
        at = next(n for n, line in enumerate(lines) if "Kernel panic" in line)
        panic = lines[at]
        if "kill init" in panic and at:  # what /init said just before is why
            panic = f"{lines[at - 1]} / {panic}"
        hint = (
            "see the log: boot the image with the same kernel_append under qemu-system-x86_64"
            " -nographic"
        )
        if "init" in panic and "kill init" not in panic:
            hint = (
                "the kernel found no /init to run; take init=, rdinit= and root= out of"
                " kernel_append"
            )
        if timer_lost(log):
            hint = (
                "the machine is too busy to emulate a timer: fewer guests at once (-f 1), then run"
                " again"
            )
        return f"the kernel panicked: {panic}", hint
    return None


_STARVED = (
    r"(Out of memory|System is deadlocked on memory|out of memory|Initramfs unpacking failed: write"
    r" error"
    r"|initrd too large|Memory cgroup out|No space left on device|Cannot allocate"
    r" memory|MemoryError)"
)


def starved(log: bytes) -> bool:
    """Says whether the guest ran out of memory, by its kernel's log."""
    return _starved("\n".join(_lines(log)))


def _starved(text: str) -> bool:
    return re.search(_STARVED, text) is not None


def timer_lost(log: bytes) -> bool:
    """Says whether the kernel gave up because the emulated timer came too late: no fault of the
    image.
    """
    return b"IO-APIC + timer doesn't work" in log


def last_words(log: bytes) -> str:
    """Returns the last lines of the kernel's log as one printable line, or a remark that there are
    none.
    """
    lines = _lines(log)[-_SHOWN_LINES:]
    if not lines:
        return "the console stayed silent"
    return "the console ends: " + " / ".join(lines)


def _found(lines: list[str], pattern: str) -> str:
    return re.sub(r" total-vm:.*", "", next(line for line in lines if re.search(pattern, line)))


def _lines(log: bytes) -> list[str]:
    text = _ESCAPES.sub("", log.decode("utf-8", "replace"))
    lines = (
        printable_line(_STAMP.sub("", line.strip("\r")), _SHOWN_WIDTH) for line in text.split("\n")
    )
    return [line for line in lines if line]
