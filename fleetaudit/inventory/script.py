"""Runs an inventory that is a program, and reads what it prints.

Rules: only a program that is named on the command line; no shell, no terminal, one deadline for
everything, a bounded output. After the deadline the whole process group ends. Children that a
program leaves behind delay the run by a moment at most.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from fleetaudit.errors import InputError
from fleetaudit.model import core_dumps
from fleetaudit.text.document import Document
from fleetaudit.text.phrases import surround
from fleetaudit.text.yaml_lines import MAX_FILE_BYTES, decode_utf8

from .builder import InventoryBuilder
from .entries import Origin
from .json_text import parse_json
from .listing import read_listing, variables_of

DEADLINE_S = 120.0
"""Maximum seconds that a program may take, all its calls together."""
_CHUNK_BYTES = 65_536
_MAX_STDERR_BYTES = 4096
_MAX_QUOTED = 512
_LINGER_S = 1.0
"""Seconds that children of a program may keep its output open after it has ended."""


def read_script(
    path: Path, source: str, builder: InventoryBuilder, *, deadline_s: float = DEADLINE_S
) -> None:
    """Runs the program at `path` with --list and reads what it prints.

    If that has no `_meta`, runs it with --host NAME for each host. `source` is its name in messages
    and `deadline_s` the seconds that all its calls may take together. It gets the environment of
    this process and no input. Raises `InputError` if it cannot be run, ends with another status
    than 0, is too slow, prints more than `MAX_FILE_BYTES`, or prints no JSON. Ansible: "Developing
    dynamic inventory: inventory script conventions", and plugins/inventory/script.py.
    """
    until = time.monotonic() + deadline_s

    def run(*arguments: str) -> Document:
        command = f"{source} {' '.join(arguments)}"
        call = _Call(command, [str(path.absolute()), *arguments], until, deadline_s)
        text = decode_utf8(call.run(), source=command)
        if arguments[0] == "--host" and not text.strip():
            text = "{}"
        document = parse_json(text, source=command)
        if document is None:
            raise InputError(
                "printed no JSON", source=command, hint="run it by hand and look at what it prints"
            )
        return document

    def host_variables(host: str) -> tuple[Mapping[Any, Any], Origin]:
        return variables_of(run("--host", host))

    read_listing(run("--list"), builder, host_variables=host_variables)


@dataclass
class _Call:
    """One call of the program: `command` is its command line for messages."""

    command: str
    arguments: list[str]
    until: float
    deadline_s: float
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    linger_until: float | None = None

    def run(self) -> bytes:
        """Runs the program and returns what it prints on standard output.

        Its children end with it. Raises `InputError` if it cannot be started, runs beyond the
        deadline, prints too much, or ends with another status than 0.
        """
        with self._start() as process:
            try:
                self._read_output(process)
                status = process.wait(max(0.0, self.until - time.monotonic()))
            except subprocess.TimeoutExpired as e:
                raise self._too_slow() from e
            finally:
                _kill_group(process)
        if status:
            raise self._failed(status)
        core_dumps.disable_for(self.stdout)
        return bytes(self.stdout)

    def _start(self) -> subprocess.Popen[bytes]:
        """Starts the program in a process group of its own."""
        try:
            return subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as e:
            raise InputError(f"cannot be run: {e.strerror}", source=self.command) from e

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        """Reads all of stdout and the end of stderr, both at once: neither fills up and blocks.

        After the program has ended, children of it delay this for `_LINGER_S` seconds at most.
        """
        ended = os.pidfd_open(process.pid)
        with selectors.DefaultSelector() as selector, os.fdopen(ended):
            selector.register(cast(IO[bytes], process.stdout), selectors.EVENT_READ, self.stdout)
            selector.register(cast(IO[bytes], process.stderr), selectors.EVENT_READ, self.stderr)
            selector.register(ended, selectors.EVENT_READ)
            while len(selector.get_map()) > (ended in selector.get_map()):
                ready = self._select(selector)
                if not ready:
                    return  # it has ended; a child of it keeps its output open
                for key, _ in ready:
                    self._handle(selector, key)

    def _select(self, selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits until there is something to read, or until children have lingered long enough.

        Raises `InputError` at the deadline.
        """
        until = self.until if self.linger_until is None else self.linger_until
        ready = selector.select(max(0.0, until - time.monotonic()))
        if not ready and until == self.until:
            raise self._too_slow()
        return ready

    def _handle(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        """Reads what one of the two outputs has, or notes that the program has ended.

        Raises `InputError` for too long an output.
        """
        if key.data is None:
            self.linger_until = min(self.until, time.monotonic() + _LINGER_S)
            selector.unregister(key.fileobj)
            return
        chunk = os.read(key.fd, _CHUNK_BYTES)
        key.data.extend(chunk)
        if not chunk:
            selector.unregister(key.fileobj)
        del self.stderr[:-_MAX_STDERR_BYTES]
        if len(self.stdout) > MAX_FILE_BYTES:
            raise InputError(f"printed more than {MAX_FILE_BYTES} bytes", source=self.command)

    def _failed(self, status: int) -> InputError:
        """Returns the error about an exit status that is not 0, with the last line of stderr."""
        last = self.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2].strip()
        reason = surround(": ", last[:_MAX_QUOTED])
        return InputError(f"ended with status {status}{reason}", source=self.command)

    def _too_slow(self) -> InputError:
        """Returns the error about a program that runs beyond the deadline."""
        return InputError(
            f"did not end within {self.deadline_s:g} s",
            source=self.command,
            hint="save what it prints (--list > hosts.json), and name that file",
        )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and its children; they may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
