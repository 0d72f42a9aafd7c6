"""Lies through a real sshd, whose forced command answers: among them replies that are replayed.

Three honest hosts are beside it: this machine, with the real probe.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fleetaudit.model import Audited, HostResult
from fleetaudit.store.run_file import read_run
from tests.hostile.table import Case, Seen
from tests.support.commands import Workspace
from tests.support.sshd import Server, make_keys, sshd_starter

from . import evidence
from .genuine import Body, Genuine, trial

HONEST = ("honest1", "honest2", "honest3")
LIAR = "liar"
ANSWER = r"""#!{python} -Is
import os, re
os.write(1, b"fleetaudit-shell/1 0 root\n")
asked = piece = b""
while piece or not asked:
    asked += piece
    if b"\nexec(compile(TEXT" in asked and asked.endswith(b"\n"):
        break
    piece = os.read(0, 65536)
names = {{}}
exec(asked.rpartition(b"\nexec(")[0], names)
with open({nonces!r}, "a") as kept:
    kept.write(names["NONCE"] + "\n")
with open({answer!r}, "rb") as file:
    answer = file.read().replace(b"@nonce@", names["NONCE"].encode())
while answer:
    answer = answer[os.write(1, answer):]
"""


class SshLie(NamedTuple):
    """What the forced command prints ("@nonce@" stands for that of the request), and what becomes
    of the liar: the status of the run and words of the reason.
    """

    name: str
    answer: Callable[[], bytes]
    status: int
    words: str = ""


class LyingServer:
    """An sshd whose forced command prints what the file `answer` has."""

    def __init__(self, folder: Path, genuine: Genuine, server: Server) -> None:
        self.place = Workspace(folder)
        self.genuine, self.answer, self.nonces = genuine, folder / "answer", folder / "nonces"
        hosts: dict[str, Any] = {name: {"ansible_connection": "local"} for name in HONEST}
        hosts[LIAR] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": server.port,
            "ansible_ssh_private_key_file": str(server.keys.user()),
        }
        self.place.write("inventory.yml", json.dumps({"all": {"hosts": hosts}}))
        self.known_hosts = server.known_hosts
        self.usual = dict[str, Any]()

    def check(self, lie: SshLie) -> Seen:
        """Runs a lie, and says what is not as it must be."""
        self.answer.write_bytes(lie.answer())
        done = self.place.run(
            "run", "inventory.yml", "-p", self.genuine.playbook, "--known-hosts", self.known_hosts
        )
        hosts = {host.name: host for host in read_run(self.place.runs()[-1]).hosts}
        shutil.rmtree(self.place.path / "reports")
        liar = hosts[LIAR]
        text = liar.reason or "; ".join(o.reason for o in liar.observations)
        wrong = list[str]()
        if done.returncode != lie.status:
            wrong.append(f"status {done.returncode}, expected {lie.status}: {done.stderr[-300:]}")
        if lie.words not in text:
            wrong.append(f"no “{lie.words}” in “{text[:200]}”")
        wrong += [f"{name} changed" for name in HONEST if self._has_changed(hosts[name])]
        cells = {
            "liar": "audited" if isinstance(liar, Audited) else f"not audited: {liar.stage}",
            "reason": text.replace("|", "¦")[:110],
            "status": done.returncode,
            "honest": "same" if not wrong else "",
        }
        return Seen(tuple(wrong), cells)

    def _has_changed(self, host: HostResult) -> bool:
        """Returns whether an honest host has another verdict, finding or sysctl than before."""
        seen = (
            isinstance(host, Audited),
            [(o.scenario, o.family, o.ending, o.reason) for o in host.observations],
            host.findings,
            host.sysctls,
        )
        return bool(self.usual.setdefault(host.name, seen) != seen)


def _body(genuine: Genuine, change: Callable[[Body], object] = lambda body: None) -> bytes:
    """Returns the genuine reply with the nonce of the request, after a change."""
    body = {**genuine.body, "nonce": "@nonce@"}
    change(body)
    return b"\nfleetaudit-probe/1 " + json.dumps(body).encode() + b"\n"


def _bomb() -> bytes:
    """Returns a line that expands to 64 MB."""
    packed = base64.b64encode(zlib.compress(b" " * (64 << 20), 9))
    return b"\nfleetaudit-probe/1 zlib:" + packed + b"\n"


def _huge(body: Body) -> None:
    """Counts more aborts than any counter can."""
    body["exposure"]["counters"]["TCPAbortOnClose"] = 10**400


def ssh_lies(genuine: Genuine, nonces: Path) -> list[SshLie]:
    """Returns the lies; the file `nonces` has those of all requests so far."""

    def with_last_nonce() -> bytes:
        last = nonces.read_bytes().split()[-1]
        return _body(genuine).replace(b"@nonce@", last)

    def reset_first(body: Body) -> None:
        rows = trial(body, evidence.UNREAD)["wire"]
        rows.insert(0, rows.pop())

    def nonce(value: object) -> Callable[[], bytes]:
        return lambda: _body(genuine, lambda body: body.update(nonce=value))

    return [
        SshLie("its own answer", lambda: _body(genuine), 0),
        SshLie("the answer of last week", with_last_nonce, 4, "answers an earlier one"),
        SshLie("no nonce", nonce(""), 4, "answers an earlier one"),
        SshLie("another nonce", nonce("0" * 32), 4, "answers an earlier one"),
        SshLie("a number as nonce", nonce(7), 4, "Expected `str`"),
        SshLie(
            "another request's answer",
            lambda: _body(genuine, lambda body: body.update(digest="0" * 32)),
            4,
            "answers another call",
        ),
        SshLie("two lines", lambda: _body(genuine) * 2, 4, "2 result lines"),
        SshLie("1e400", lambda: _body(genuine, _huge), 4, "exposure.counters"),
        SshLie("a bomb", _bomb, 4, "expands to at least"),
        SshLie("RST before SYN", lambda: _body(genuine, reset_first), 2, "before any SYN"),
        SshLie(
            "it opts out",
            lambda: _body(genuine, evidence.only_the_control),
            2,
            "needs nothing more",
        ),
        SshLie("nothing at all", lambda: b"", 4, "no result line"),
    ]


@contextlib.contextmanager
def lying_server(genuine: Genuine, folder: Path) -> Iterator[LyingServer]:
    """Yields an sshd that lies."""
    program, nonces = folder / "forced", folder / "nonces"
    text = ANSWER.format(
        python=os.path.realpath(sys.executable),
        answer=str(folder / "answer"),
        nonces=str(nonces),
    )
    program.write_text(text)
    program.chmod(stat.S_IRWXU)
    keys = folder / "keys"
    keys.mkdir()
    with sshd_starter(make_keys(keys), lambda name: Path(tempfile.mkdtemp(dir=folder))) as start:
        yield LyingServer(folder, genuine, start(f"ForceCommand {program}"))


@contextlib.contextmanager
def ssh_cases(genuine: Genuine, folder: Path) -> Iterator[list[Case]]:
    """Yields the cases, which may run within; without sshd there are none."""
    place = folder / "ssh"
    place.mkdir()
    if not shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        print("no lies over SSH: sshd is missing here")
        yield []
        return
    with lying_server(genuine, place) as server:
        lies = ssh_lies(genuine, server.nonces)
        yield [Case(f"ssh: {lie.name}", partial(server.check, lie)) for lie in lies]
