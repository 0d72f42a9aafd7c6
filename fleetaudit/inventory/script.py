"""An inventory that is a program: runs it and reads what it prints.

Rules: only a program that was named on the command line; no shell, no terminal, one deadline for
everything, a bounded output. When the deadline passes, the whole process group ends; and what a
program that has ended left behind does not hold us up for longer than a moment.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.yaml_lines import MAX_FILE_BYTES, Document, decode_utf8

from .builder import InventoryBuilder, Origin
from .json_text import parse_json
from .listing import read_listing, variables_of

DEADLINE_S = 120.0
"""The most seconds that a program may take, all its calls together."""
_MAX_COMPLAINT = 4096
_LINGER_S = 1.0
"""How long what a program has started may hold its output open after it has ended."""


def read_script(
    path: Path, source: str, draft: InventoryBuilder, *, deadline_s: float = DEADLINE_S
) -> None:
    """Runs the program at `path` with --list and, where that prints no `_meta`, with --host NAME
    for each host.

    What it prints goes into `draft`. Raises `InputError` where it fails, is too slow or too long,
    or prints no JSON.
    """
    until = time.monotonic() + deadline_s

    def printed(*arguments: str) -> Document:
        words = f"{source} {' '.join(arguments)}"
        text = decode_utf8(
            _run([str(path.absolute()), *arguments], words, until, deadline_s), source=words
        )
        if arguments[0] == "--host" and not text.strip():
            text = "{}"
        document = parse_json(text, source=words)
        if document is None:
            raise InputError(
                "printed no JSON", source=words, hint="run it by hand and look at what it prints"
            )
        return document

    def ask(host: str) -> tuple[Mapping[Any, Any], Origin]:
        return variables_of(printed("--host", host))

    read_listing(printed("--list"), draft, ask=ask)


def _run(command: list[str], words: str, until: float, deadline_s: float) -> bytes:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as e:
        raise InputError(f"cannot be run: {e.strerror}", source=words) from e
    with process:
        try:
            out, complaint = _drained(process, words, until, deadline_s)
            status = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired as e:
            raise _too_slow(words, deadline_s) from e
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and so have its children
                os.killpg(process.pid, signal.SIGKILL)
    if status:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2].strip()
        raise InputError(
            f"ended with status {status}" + (f": {last[:512]}" if last else ""), source=words
        )
    return out


def _drained(
    process: subprocess.Popen[bytes], words: str, until: float, deadline_s: float
) -> tuple[bytes, bytes]:
    """Returns all of stdout and the end of stderr; reads both at once, so that neither fills up and
    blocks.
    """
    assert process.stdout is not None  # noqa: S101 — both are pipes
    assert process.stderr is not None  # noqa: S101
    out, complaint = bytearray(), bytearray()
    ended, over = os.pidfd_open(process.pid), until
    with selectors.DefaultSelector() as selector, os.fdopen(ended):
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, complaint)
        selector.register(ended, selectors.EVENT_READ)
        while len(selector.get_map()) > (ended in selector.get_map()):
            ready = selector.select(max(0.0, over - time.monotonic()))
            if not ready and over < until:
                break  # it has ended, and so have its words; a child of it keeps them open
            if not ready:
                raise _too_slow(words, deadline_s)
            for key, _ in ready:
                if key.fd == ended:
                    over = min(until, time.monotonic() + _LINGER_S)
                    selector.unregister(ended)
                    continue
                chunk = os.read(key.fd, 65536)
                key.data.extend(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
            del complaint[:-_MAX_COMPLAINT]
            if len(out) > MAX_FILE_BYTES:
                raise InputError(
                    f"printed more than the {MAX_FILE_BYTES} bytes that are read", source=words
                )
    return bytes(out), bytes(complaint)


def _too_slow(words: str, deadline_s: float) -> InputError:
    hint = "save what it prints (--list > hosts.json), and name that file"
    return InputError(f"did not end within {deadline_s:g} s", source=words, hint=hint)
