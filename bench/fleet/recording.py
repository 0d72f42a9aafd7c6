"""Genuine replies, recorded: the probe runs on this machine, exactly as a program asks for it.

Rules: a recording is made by the program that is measured, over SSH: so it works for every version
of fleetaudit, whatever that sends and expects. Several replies are recorded, and the hosts take
turns with them. No two hosts have the same times or machine ID, as no two real ones have: those of
a recorded reply are changed a little for each host, and nothing else is.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from .lab import Lab
from .repeat_nonce import nonce_of, with_nonce
from .server import PLAY_BACK, RECORD

REPLIES = 4
COMPRESSED, TIMES = b"zlib:", b'"times":'
MAX_HEAD = 4096
"""Within so many bytes a request has its nonce."""
MACHINE_ID = re.compile(rb'("machine_id":\s*")[0-9a-f]{32}')
ONE_SCENARIO = """\
- name: One scenario
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout]
    expect:
      net.ipv4.tcp_fin_timeout: {at_least: 1}
"""


@dataclass(frozen=True)
class Recording:
    """Replies of the probe to one playbook ("": the default one), as one fleetaudit runs it."""

    number: int
    folder: Path
    fleetaudit: tuple[str, ...]
    playbook: str

    @property
    def port(self) -> int:
        """The port at which each host plays its reply back."""
        return PLAY_BACK + self.number

    def options(self) -> tuple[str, ...]:
        """Returns the options of `fleetaudit run` that choose the playbook."""
        if not self.playbook:
            return ()
        path = self.folder / "playbook.yml"
        path.write_text(self.playbook)
        return ("--playbook", str(path))

    def command(self) -> str:
        """Returns the command that the program runs on a host."""
        return next(self.folder.glob("command.*")).read_text().strip()

    def request(self) -> Path:
        """Returns a file with what the program writes to the command's standard input."""
        return min(self.folder.glob("request.*"))

    def reply(self, address: str) -> bytes:
        """Returns all that the host at an address prints."""
        return (self.folder / "ready").read_bytes() + self._rest(address).read_bytes()

    def _rest(self, address: str) -> Path:
        return self.folder / "replies" / address

    def make(self, lab: Lab, *more: str) -> None:
        """Runs the probe and gives each host, and `more` addresses, a reply; ends the program if it
        gets none.
        """
        replies = self._record(lab)
        self._rest("").mkdir()
        for number, address in enumerate((*lab.addresses, *more)):
            ready, newline, rest = replies[number % len(replies)].partition(b"\n")
            varied = vary(rest, number)
            self._rest(address).write_bytes(with_nonce(varied, self.nonce()))
        (self.folder / "ready").write_bytes(ready + newline)
        (self.folder / "nonce").write_text(self.nonce() + "\n")

    def nonce(self) -> str:
        """Returns the nonce of the recorded request, "" for that of an old fleetaudit.

        Programs that send this request get replies with this nonce, just as they are recorded.
        """
        head = self.request().read_bytes()[:MAX_HEAD].decode("latin-1")
        return nonce_of(head)

    def _record(self, lab: Lab) -> list[bytes]:
        """Returns genuine replies, the line of the shell included."""
        count = min(REPLIES, len(lab.addresses))
        port = RECORD + self.number
        words = (
            *self.fleetaudit,
            "run",
            str(lab.inventory(port, count)),
            *self.options(),
            "--known-hosts",
            str(lab.known_hosts(port)),
            "--output-dir",
            str(self.folder / "reports"),
        )
        done = subprocess.run(
            words, env=lab.environment, cwd=lab.folder, capture_output=True, text=True
        )
        replies = [path.read_bytes() for path in self.folder.glob("reply.*")]
        if done.returncode not in {0, 2} or len(replies) != count:
            sys.exit(
                f"the probe could not be recorded: {' '.join(words)}\n{done.stdout}{done.stderr}"
            )
        return replies


def vary(reply: bytes, number: int) -> bytes:
    """Returns a reply as another host would give it: with its own machine ID and times, in the same
    order. One that is not compressed (of an old probe) stays as it is.
    """
    before, mark, packed = reply.partition(COMPRESSED)
    if not mark:
        return reply
    line = zlib.decompress(b64decode(packed))
    machine = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    line = MACHINE_ID.sub(rb"\g<1>" + machine.encode(), line, count=1)
    begin = line.index(TIMES) + len(TIMES)
    times, length = json.JSONDecoder().raw_decode(line[begin:].decode("latin-1"))
    for key in ("steps", "at"):
        times[key] = [value + value * (number % 1000) // 1000 for value in times[key]]
    times["began"] = [value + number / 1000 for value in times["began"]]
    varied = json.dumps(times, separators=(",", ":")).encode()
    line = line[:begin] + varied + line[begin + length :]
    return before + mark + b64encode(zlib.compress(line)) + b"\n"
