"""Genuine replies, recorded: the probe runs on this machine, exactly as a program asks for it.

Rules: a recording is made by the program that is measured, over SSH: so it works for every version
of fleetaudit, whatever that sends and expects. Several replies are recorded, since times differ
from reply to reply; the hosts take turns with them.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .lab import PLAY_BACK, RECORD, Lab

REPLIES = 4
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
        number = int(address.rpartition(".")[2]) % int((self.folder / "count").read_text())
        return b"".join(
            (self.folder / f"{part}.{number}").read_bytes() for part in ("ready", "rest")
        )

    def make(self, lab: Lab) -> None:
        """Runs the probe, and keeps its replies; ends the program if there are none."""
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
        replies = sorted(self.folder.glob("reply.*"))
        if done.returncode not in {0, 2} or len(replies) != count:
            sys.exit(
                f"the probe could not be recorded: {' '.join(words)}\n{done.stdout}{done.stderr}"
            )
        for number, reply in enumerate(replies):
            ready, newline, rest = reply.read_bytes().partition(b"\n")
            (self.folder / f"ready.{number}").write_bytes(ready + newline)
            (self.folder / f"rest.{number}").write_bytes(rest)
        (self.folder / "count").write_text(f"{count}\n")
