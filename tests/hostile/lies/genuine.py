"""A genuine reply, recorded from the real probe on this machine, and what changes it into a lie."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fleetaudit.app.probe_program import ProgramRequest, probe_program
from fleetaudit.probe import protocol
from fleetaudit.probe.result_line import find_result

Body = dict[str, Any]
PLAYBOOK = """
- name: What the hosts of this section run
  hosts: all
  trials: 2
  families: [ipv4, ipv6]
  scenarios:
    - name: zero-linger-close
      title: zero linger
      steps: [peer sends 5 bytes, closer reads all, closer sets SO_LINGER 1 0, closer closes]
      expect: RST
      control: positive
    - name: drained-close
      title: nothing unread
      steps: [peer sends 5 bytes, closer reads all, closer closes]
      expect: FIN
    - name: unread-close
      title: unread data
      steps: [peer sends 5 bytes, closer closes]
      expect: RST
      control: drained-close
    - name: late-data
      title: data after the close
      steps: [peer sends 5 bytes, closer reads all, closer closes, peer sends 5 bytes]
      expect: "FIN, then RST"
      control: drained-close
    - name: unix-drained-close
      title: nothing unread over AF_UNIX
      steps: [peer connects over AF_UNIX, closer closes]
      expect: FIN
    - name: unix-close
      title: unread data over AF_UNIX
      steps: [peer connects over AF_UNIX, peer sends 5 bytes, closer closes]
      expect: RST
      control: unix-drained-close
  sysctls:
    collect: ["net.ipv4.tcp_*"]
  exposure:
    expect:
      aborts_on_close_per_thousand: {at_most: 1000}
"""
EVIL = "evil.example\u202e<script>alert(1)</script>\x1b[2J"


class Lie(NamedTuple):
    """One lie: what the liar sends, and its result.

    `seen` is "refused" (not audited), "inconclusive" (no verdict, a finding) or "own row" (it is
    believed, of itself only). `words` are in the reason, or in that of an observation.
    """

    name: str
    send: Callable[[], bytes]
    seen: str
    words: str = ""


def playbook_in(folder: Path) -> Path:
    """Writes the playbook and returns its path."""
    path = folder / "lies.yml"
    path.write_text(PLAYBOOK)
    return path


@functools.cache
def recorded(playbook: str) -> bytes:
    """Returns the JSON of the reply of this machine."""
    program = probe_program(ProgramRequest(playbooks=(playbook,)))
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-"],
        input=program.encode(),
        capture_output=True,
        check=True,
        timeout=300,
        cwd="/",
    )
    line = find_result(done.stdout)
    assert line is not None, done.stderr
    return line


class Genuine:
    """The recorded reply, which the probe is asked for when it is first used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def playbook(self) -> Path:
        """The playbook, in the folder."""
        return playbook_in(self._folder)

    @functools.cached_property
    def line(self) -> bytes:
        """The JSON of the reply."""
        return recorded(str(self.playbook))

    @property
    def body(self) -> Body:
        """A copy of the reply, which may be changed."""
        body: Body = json.loads(self.line)
        return body

    def changed(self, change: Callable[[Body], object]) -> Callable[[], bytes]:
        """Returns what sends the reply after a change."""

        def send() -> bytes:
            body = self.body
            change(body)
            return as_line(body)

        return send


def as_line(body: object) -> bytes:
    """Returns what the probe prints."""
    return result_line(json.dumps(body).encode())


def result_line(data: bytes) -> bytes:
    """Returns a result line with this content."""
    return b"\n" + protocol.REPLY_MARK + data + b"\n"


def observation(body: Body, name: str, family: str = "ipv4") -> Body:
    """Returns one observation of a reply."""
    found: list[Body] = [
        each
        for each in body["observations"]
        if (each["scenario"], each["family"]) == (name, family)
    ]
    return found[0]


def trial(body: Body, name: str, family: str = "ipv4") -> Body:
    """Returns the first trial of an observation."""
    first: Body = observation(body, name, family)["trials"][0]
    return first


def offset_of(body: Body, name: str, what: str) -> int:
    """Returns where the times of a scenario over IPv4 begin: those of "steps" or of "wire"."""
    sizes: dict[str, Callable[[Body], int]] = {
        "steps": lambda one: int(one["steps"]),
        "wire": lambda one: len(one["wire"] or ()),
    }
    start = 0
    for each in body["observations"]:
        if (each["scenario"], each["family"]) == (name, "ipv4"):
            break
        start += sum(sizes[what](one) for one in each.get("trials", ()))
    return start


def without_segment(body: Body, name: str, index: int) -> None:
    """Removes one segment of the first trial of a scenario, with its times."""
    del trial(body, name)["wire"][index]
    at = offset_of(body, name, "wire") + index
    for column in ("at", "windows"):
        del body["times"][column][at]
