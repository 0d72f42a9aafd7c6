"""One row a run: how much was searched in how many places, and which canaries were found."""

from __future__ import annotations

import functools
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hostile.table import Case, Seen
from tests.support.commands import Workspace

from .attacks import Attack, attacks
from .canaries import Canaries
from .watching import TRACE, Processes, traced
from .world import World

COLUMNS = ("status", "places", "searched KB", "found")
FORMATS = "html,json,junit,csv,sarif,prometheus,text"
_REPORTS = ("html", "json", "junit", "csv", "sarif", "prometheus", "text")
AFTERWARDS: dict[str, tuple[str, ...]] = {
    "explain": ("explain", "reports/latest", "web"),
    "runs": ("runs",),
    "doctor": ("doctor", "hosts", "-vv", "--known-hosts", "known"),
    "schedule": ("schedule", "hosts", "-p", "p.yml"),
    "dry run": ("run", "hosts", "-p", "p.yml", "-C"),
    **{f"report {name}": ("report", "reports/latest", "--format", name) for name in _REPORTS},
}
_TIMEOUT_S = 300
searched = Counter[str]()
"""Bytes that were searched in each place, of all runs together."""
found = Counter[tuple[str, str]]()
"""How often each canary was found in each place."""


def secret_cases(world: World) -> Iterator[Case]:
    """Yields the proof that the search can find, and every run."""
    yield Case("the search finds what is planted", _planted)
    for attack in attacks():
        yield Case(attack.name, functools.partial(run_attack, world, attack))


def run_attack(world: World, attack: Attack) -> Seen:
    """Does one run and what a person does after it, and searches everything."""
    with TemporaryDirectory(prefix="secrets-", dir="/var/tmp") as folder:
        place = world.workspace(Path(folder))
        place.write("hosts", attack.inventory(world))
        for name, text in attack.files(world).items():
            (place.path / name).parent.mkdir(exist_ok=True)
            place.write(name, text).chmod(0o600)
        before = _files(place.path)
        processes = Processes()
        with processes.watched():
            status, places = _run(place, attack)
            for name, words in AFTERWARDS.items():
                done = _command(place, attack, *words)
                places[name] = done.stdout + done.stderr
        places["command lines"] = b"\n".join(processes.command_lines)
        places["environments"] = b"\n".join(processes.environments)
        places |= _left(place.path, before)
        return _seen(world.canaries, attack, status, places)


def _run(place: Workspace, attack: Attack) -> tuple[int, dict[str, bytes]]:
    """Does the run itself; returns its status and what it printed."""
    options: tuple[str, ...] = (
        "--format",
        FORMATS,
        "--notify",
        "bin/notify",
        "--publish",
        "site",
        "-vvvvv",
        "--known-hosts",
        "known",
    )
    if "--known-hosts" in attack.options:
        options = options[:-2]
    command, environment = _argv(place, attack, "run", "hosts", "-p", "p.yml", *options)
    command += attack.options
    trace = place.path / "tmp" / "trace"
    is_traced = not attack.signal_at and not attack.program
    if is_traced:
        command = [*TRACE, "-o", str(trace), *command]
    process = subprocess.Popen(
        command,
        cwd=place.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_allow_core_dumps,
    )
    if attack.signal_at:
        _send_signal(process, place.path / "log.txt", attack.signal_at)
    stdout, stderr = process.communicate(timeout=_TIMEOUT_S)
    places = {"stdout": stdout, "stderr": stderr}
    if is_traced:
        places |= traced(trace)
        trace.unlink()
    return process.returncode, places


def _argv(place: Workspace, attack: Attack, *words: str) -> tuple[list[str], dict[str, str]]:
    """Returns a command line of fleetaudit, or of the attack's own program, and its environment."""
    command, environment = place.command(
        *words, FLEETAUDIT_LOG_PATH="log.txt", TMPDIR=str(place.path / "tmp"), LANG="C.UTF-8"
    )
    if attack.program:
        command = [sys.executable, "-c", attack.program, *words]
    return command, environment


def _allow_core_dumps() -> None:
    """Takes away the limit of core dumps, as an administrator who looks for a crash does."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _send_signal(process: subprocess.Popen[bytes], log: Path, when: str) -> None:
    """Sends a signal as soon as a word is in the log, or the process has ended."""
    name, _, word = when.partition(" ")
    end = time.monotonic() + _TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        if log.exists() and word.encode() in log.read_bytes():
            process.send_signal(signal.Signals[name])
            return
        time.sleep(0.001)


def _command(place: Workspace, attack: Attack, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Runs another command in the same folder, with the same passwords where it takes them."""
    command, environment = _argv(place, Attack("", attack.inventory), *words)
    if words[0] in ("doctor", "schedule") or "-C" in words:
        command += _passwords_of(attack, words[0])
    return subprocess.run(
        command, cwd=place.path, env=environment, capture_output=True, timeout=_TIMEOUT_S,
        stdin=subprocess.DEVNULL, preexec_fn=_allow_core_dumps,
    )  # fmt: skip


def _passwords_of(attack: Attack, command: str) -> list[str]:
    """Returns the options with passwords that a command takes, too."""
    options = list(attack.options)
    kept = list[str]()
    for name in ("--connection-password-file", "--become-password-file", "--vault-password-file"):
        if name in options:
            kept += [name, options[options.index(name) + 1]]
    if "-b" in options:
        kept.append("-b")
    if command != "schedule" and "--transport" in options:
        kept += ["--transport", "openssh"]
    return kept


def _files(folder: Path) -> dict[Path, int]:
    """Returns every file below a folder, with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _left(folder: Path, before: dict[Path, int]) -> dict[str, bytes]:
    """Returns what a run left, by kind of file; files of the user do not count."""
    left = dict[str, bytes]()
    for path, changed in _files(folder).items():
        if before.get(path) == changed:
            continue
        name = _kind_of(path.relative_to(folder))
        left[name] = left.get(name, b"") + path.name.encode() + b"\n" + path.read_bytes()
    return left


def _kind_of(path: Path) -> str:
    """Returns what a file is called in the table."""
    first = path.parts[0]
    if first.startswith("core"):
        return "core files"
    known = {"reports": "run folder", "log.txt": "log", "notified": "--notify", "tmp": "TMPDIR"}
    known["site"] = "published site"
    return known.get(first, "home folder")


def _seen(canaries: Canaries, attack: Attack, status: int, places: dict[str, bytes]) -> Seen:
    """Searches the places of one run."""
    wrong = list[str]()
    for name, data in places.items():
        searched[name] += len(data)
        for kind in canaries.found_in(data):
            found[kind, name] += 1
            wrong.append(f"{kind} in {name}")
    if "core files" in places:
        wrong.append(f"a core file of {len(places['core files'])} bytes")
    output = places["stdout"] + places["stderr"]
    if attack.signal_at and status >= 0:
        wrong.append(f"it ended with {status} before the signal")
    if not attack.signal_at and status not in attack.statuses:
        wrong.append(f"status {status}: {output[-300:]!r}")
    if attack.says.encode() not in output:
        wrong.append(f"it does not say {attack.says!r}: {output[-300:]!r}")
    total = sum(map(len, places.values()))
    return Seen(
        tuple(wrong),
        {
            "status": status,
            "places": len(places),
            "searched KB": total // 1024,
            "found": sum(" in " in each for each in wrong),
        },
    )


# -- the proof that a search can find something


def _planted() -> Seen:
    """Plants canaries of its own in each form, in a command line, an environment, a core file."""
    canaries = Canaries()
    wrong = [f"{name} is not found" for name, data in _plants(canaries) if not data]
    return Seen(tuple(wrong), {"found": "each"})


def _plants(canaries: Canaries) -> Iterable[tuple[str, bool]]:
    """Yields what was planted, and whether it was found."""
    import base64
    import json
    import urllib.parse

    for kind, text in canaries.texts.items():
        for form, data in {
            "plain": text.encode(),
            "JSON": json.dumps(f"\u202e{text}").encode(),
            "base64": base64.b64encode(b"x" + text.encode()),
            "hex": text.encode().hex().encode(),
            "URL": urllib.parse.quote(text).encode(),
            "UTF-16": text.encode("utf-16-le"),
            "UTF-16, backwards": text[::-1].encode("utf-16-be"),
        }.items():
            yield f"{kind} as {form}", kind in canaries.found_in(b"a" + data + b"b")
    text = canaries["login"]
    processes = Processes()
    with processes.watched():
        subprocess.run(["sleep", "1"], env={**os.environ, "CANARY": text}, check=True)
        subprocess.run(["sh", "-c", "sleep 1; true", text], check=True)
    yield "a command line", bool(canaries.found_in(b"".join(processes.command_lines)))
    yield "an environment", bool(canaries.found_in(b"".join(processes.environments)))
    if resource.getrlimit(resource.RLIMIT_CORE)[1]:
        yield "a core file", bool(canaries.found_in(_core_of_another(text)))


def _core_of_another(text: str) -> bytes:
    """Returns the core file of a Python that holds a text, and knows nothing of secrets."""
    with TemporaryDirectory(prefix="secrets-", dir="/var/tmp") as folder:
        subprocess.run(
            [sys.executable, "-c", "import os, sys; text = sys.stdin.read(); os.abort()"],
            input=text.encode(), cwd=folder, capture_output=True, preexec_fn=_allow_core_dumps,
            check=False,
        )  # fmt: skip
        return b"".join(path.read_bytes() for path in Path(folder).glob("core*"))


def print_places(canaries: Canaries) -> None:
    """Prints what was searched in each place, and how often each canary was found there."""
    kinds = canaries.kinds
    print(" | ".join(["place", "bytes searched", *kinds]))
    for name, size in sorted(searched.items()):
        counts = (str(found[kind, name]) for kind in kinds)
        print(" | ".join([name, str(size), *counts]))
