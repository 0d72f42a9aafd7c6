"""What reads commands that fleetaudit prints or starts: shells, cron, systemd, --notify.

Whatever a payload makes a shell do would leave a file `pwned` in its folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleetaudit.analysis.causes import is_command
from fleetaudit.store.run_file import read_run
from tests import ROOT

from .corpus import Payload
from .fields import Placed, tags
from .scoreboard import Score

_DUMP = """#!{python}
import json, os, sys
own = {{k: v for k, v in os.environ.items() if k.startswith("FLEETAUDIT_")}}
stdin = sys.stdin.buffer.read().decode("utf-8", "replace")
with open({file!r}, "a") as f:
    f.write(json.dumps([sys.argv, own, stdin]) + "\\n")
"""
"""Writes how it was called."""
_QUICK_DUMP = """#!/bin/sh
printf '%s\\0' "$#" "$@" >> {file}
cat >> {file}.stdin
"""
"""Writes its arguments, each ended by NUL after their number, and its standard input."""
_NO_FILE_NAME = re.compile("[/\0]")
PRINTED = (
    "ssh", "ssh-keygen", "ssh-keyscan", "nc", "getent", "fleetaudit", "chmod", "ssh-add", "sudo",
    "ansible-inventory", "python3", "openssl", "sysctl", "ssh-copy-id",
)  # fmt: skip
"""Programs that hints name; here each of them only writes how it was called."""
_INVENTORY = "localhost ansible_connection=local\n"


def dumper(folder: Path, name: str = "dump") -> Path:
    """Makes a program that writes how it is called into `called.json`, a line for each time."""
    path = folder / name
    text = _DUMP.format(python=sys.executable, file=str(folder / "called.json"))
    path.write_text(text)
    path.chmod(0o755)
    return path


def calls(folder: Path) -> list[tuple[list[str], dict[str, str], str]]:
    """Returns arguments, environment and standard input of each call of a dumper, and forgets
    them.
    """
    file = folder / "called.json"
    if not file.exists():
        return []
    lines = file.read_text().splitlines()
    file.unlink()
    return [(words, own, stdin) for words, own, stdin in map(json.loads, lines)]


def quick_dumper(path: Path) -> Path:
    """Makes a program as `dumper` does, for a thousand calls: it writes no environment."""
    file = path.parent / "arguments"
    path.write_text(_QUICK_DUMP.format(file=shlex.quote(str(file))))
    path.chmod(0o755)
    return path


def quick_calls(folder: Path) -> list[list[str]]:
    """Returns the arguments of each call of a quick dumper, and its input if there was any."""
    file, stdin = folder / "arguments", folder / "arguments.stdin"
    words = file.read_bytes().decode().split("\0")[:-1] if file.exists() else []
    found = list[list[str]]()
    while words:
        number = int(words[0])
        found.append(words[1 : number + 1])
        words = words[number + 1 :]
    if stdin.exists() and (text := stdin.read_text()):
        found.append(["standard input", text])
    for used in (file, stdin):
        used.unlink(missing_ok=True)
    return found


def run(
    words: Sequence[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Runs fleetaudit in a folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLEETAUDIT_", "XDG"))}
    return subprocess.run(
        [sys.executable, "-m", "fleetaudit", *words],
        cwd=folder, capture_output=True, timeout=900, stdin=subprocess.DEVNULL,
        env=kept | {"HOME": str(folder), "PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip


def pwned(score: Score, *folders: Path) -> None:
    """Fails if a payload was run."""
    for folder in folders:
        for file in folder.glob("pwned*"):
            score.fail(f"{file} was made")
            file.unlink()


# ---- schedule


def schedule(folder: Path, payloads: Sequence[Payload], *, systemd: bool) -> Score:
    """Schedules jobs whose inventories have payloads as names, and reads them as cron and systemd
    do.
    """
    score = Score({})
    names = dict(_files(folder, payloads, score))
    dump = quick_dumper(folder / "dump")
    todo, made = folder / "todo.json", folder / "made.json"
    todo.write_text(json.dumps([*names]))
    how = "--systemd" if systemd else "--cron"
    child = subprocess.run(
        [sys.executable, "-c", _SCHEDULE_ALL, str(todo), str(made), how],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=900,
    )  # fmt: skip
    if child.returncode:
        score.fail(child.stderr.decode()[-300:])
        return score
    read = _read_unit if systemd else _read_crontab
    lines = list[str]()
    for name, (status, text) in json.loads(made.read_text()).items():
        if status == 0:
            lines.append(read(score, folder, dump, name, text))
            score.seen.add(names[name])
        elif not re.search("[\n\r]", name):
            score.fail(f"{name!r} is refused with status {status}: {text!r}")
    if not systemd:
        _check_table(score, folder, lines)
    pwned(score, folder)
    return score


_SCHEDULE_ALL = """
import contextlib, io, json, sys
from fleetaudit.cli import run_command_line
todo, made, how = sys.argv[1:]
found = {}
for name in json.load(open(todo)):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = run_command_line(["schedule", how, "--", name])
    found[name] = status, out.getvalue()
json.dump(found, open(made, "w"))
"""


def _files(folder: Path, payloads: Sequence[Payload], score: Score) -> Iterator[tuple[str, str]]:
    """Makes inventories whose names are payloads; yields their names and tags."""
    for payload, tag in zip(payloads, tags(), strict=False):
        name = _NO_FILE_NAME.sub("", payload.text).encode("utf-8", "replace").decode()[:60] + tag
        (folder / name).write_text(_INVENTORY)
        score.placed[tag] = Placed("an inventory's name", payload.kind, payload.text, tag)
        yield name, tag


def _read_crontab(score: Score, folder: Path, dump: Path, name: str, text: str) -> str:
    """Runs a line as cron does: five fields, % as a line end, the rest by /bin/sh. Returns it."""
    line = next(part for part in text.split("\n") if part.startswith("17 4 "))
    command, *stdin = re.split(r"(?<!\\)%", line.split(None, 5)[5])
    command = command.replace("\\%", "%")
    program = shlex.join((sys.executable, "-m", "fleetaudit"))
    command = command.replace(program, shlex.quote(str(dump)))
    subprocess.run(["/bin/sh", "-c", command], cwd="/", input="".join(stdin).encode(), timeout=60)
    seen = quick_calls(folder)
    if len(seen) != 1 or seen[0][-1] != name:
        score.fail(f"{name!r} became {seen!r}")
    return line


def _check_table(score: Score, folder: Path, lines: Sequence[str]) -> None:
    """Lets crontab check all lines, none of which may be more than one."""
    table = folder / "crontab.txt"
    table.write_text("".join(f"{line}\n" for line in lines))
    checked = subprocess.run(["crontab", "-n", str(table)], capture_output=True, timeout=60)
    if checked.returncode:
        score.fail(f"crontab refuses a line: {checked.stderr!r}")


def _read_unit(score: Score, folder: Path, _dump: Path, name: str, text: str) -> str:
    """Takes the command of a service apart as systemd.service(5) says; returns it."""
    service = text.split("\n# ---- fleetaudit.timer\n")[0]
    unit = folder / "fleetaudit.service"
    unit.write_text(service)
    keys = re.findall(r"^(\w+)=", service, re.MULTILINE)
    if keys.count("ExecStart") != 1 or "ExecStartPre" in keys:
        score.fail(f"{name!r} makes other settings: {keys}")
    start: str
    (start,) = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    words = list(_words(start))
    if words[-1] != name:
        score.fail(f"{name!r} became {words[-1]!r}")
    return start


def verify_units(score: Score, folder: Path) -> None:
    """Lets systemd check the last service that was made."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(folder / "fleetaudit.service")],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if found := [line for line in done.stderr.splitlines() if "fleetaudit.service" in line]:
        score.fail(f"systemd: {found[0]}")


def _words(text: str) -> Iterator[str]:
    """Yields the words of ExecStart=, as systemd.syntax(7) and systemd.service(5) read them."""
    for word in re.findall(r'"(?:[^"\\]|\\.)*"|(?:[^ \t"\\]|\\.)+', text):
        plain = word[1:-1] if word.startswith('"') else word
        plain = re.sub(r"\\(.)", r"\1", plain)
        yield plain.replace("%%", "%").replace("$$", "$")


# ---- --notify


def notify(folder: Path, placed: dict[str, Placed], inventory: str = "hosts") -> Score:
    """Runs an audit with --notify, whose command writes how it was called."""
    score = Score(placed)
    dump = dumper(folder)
    words = [
        "run",
        inventory,
        "-p",
        "quick.yml",
        "--host-key-policy",
        "accept-new",
        "--retries",
        "0",
    ]
    done = run([*words, "--cron", "--notify", f"{dump} 'one word' two"], folder)
    seen = calls(folder)
    if len(seen) != 1:
        score.fail(f"--notify was called {len(seen)} times: {done.stderr[-300:]!r}")
        return score
    arguments, environment, stdin = seen[0]
    if arguments[1:] != ["one word", "two"]:
        score.fail(f"the arguments are {arguments}")
    if any(tag in value for value in environment.values() for tag in placed):
        score.fail(f"a host is in the environment: {environment}")
    score.refuse_hidden(stdin)
    score.read(stdin)
    mail = done.stdout.decode("utf-8", "replace")
    score.refuse_hidden(mail)
    score.read(mail)
    if len(stdin.splitlines()) > 24:
        score.fail("more than one screen")
    pwned(score, folder)
    return score


# ---- commands that are printed


def hints(folder: Path, names: Sequence[str]) -> Score:
    """Types each command that a run prints into a shell that has only programs of ours."""
    score = Score({})
    programs = folder / "bin"
    programs.mkdir()
    for name in PRINTED:
        quick_dumper(programs / name)
    for real in ("sh", "touch", "cat"):
        (programs / real).symlink_to(shutil.which(real) or real)
    lines = (f"{json.dumps(name)}: {{ansible_host: 127.0.0.1, ansible_port: 9}}" for name in names)
    (folder / "names.yml").write_text("all: {hosts: {" + ", ".join(lines) + "}}")
    shutil.copy(folder / "quick.yml", folder / "q.yml")
    done = run(["run", "names.yml", "-p", "q.yml", "--retries", "0", "--format", "json"], folder)
    latest = folder / "reports/latest"
    if not latest.exists():
        score.fail(done.stderr.decode()[-300:])
        return score
    for host in read_run(latest).hosts:
        if not is_command(host.hint):
            score.fail(f"no command for {host.name!r}: {host.hint!r}")
            continue
        subprocess.run(
            ["/bin/sh", "-c", host.hint], cwd=folder, env={"PATH": str(programs)}, timeout=60,
            capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        seen = quick_calls(programs)
        if len(seen) < 1:
            score.fail(f"not one command: {host.hint!r} is {seen!r}")
        tag = host.name
        score.placed[tag] = Placed("a host's name", "shell", host.name, tag)
        score.seen.add(tag)
    pwned(score, folder)
    return score


# ---- completion


def completion(folder: Path, names: Sequence[str]) -> Score:
    """Completes names of hosts in bash, and sends each line that this makes."""
    score = Score({})
    dumper(folder, "fleetaudit-dump")
    source = run([], folder, _FLEETAUDIT_COMPLETE="bash_source").stdout.decode()
    script = folder / "complete.bash"
    script.write_text(
        f"""{source}
fleetaudit() {{ if [ -n "$_FLEETAUDIT_COMPLETE" ]; then {sys.executable} -m fleetaudit; else
  ./fleetaudit-dump "$@"; fi; }}
COMP_WORDS=(fleetaudit explain latest ''); COMP_CWORD=3; COMP_LINE='fleetaudit explain latest '
_fleetaudit_completion fleetaudit '' latest
echo "${{#COMPREPLY[@]}}"
for word in "${{COMPREPLY[@]}}"; do eval "fleetaudit explain latest $word"; done
"""
    )
    done = subprocess.run(
        ["bash", "--norc", str(script)], cwd=folder, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder),
             "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    seen = calls(folder)
    known = set(names)
    if not seen or str(len(seen)) != done.stdout.split()[-1]:
        score.fail(f"{len(seen)} of {done.stdout!r} were sent: {done.stderr[-300:]}")
    for number, (arguments, _, _) in enumerate(seen):
        if len(arguments) != 4 or arguments[3] not in known:
            score.fail(f"a line became {arguments!r}")
        tag = str(number)
        score.placed[tag] = Placed("a host's name", "", arguments[-1], tag)
        score.seen.add(tag)
    pwned(score, folder)
    return score
