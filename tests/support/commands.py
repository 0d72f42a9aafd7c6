"""The command in a folder of a user's, as real processes, for the tests that start many of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PLAYBOOK = """
- name: A quick one
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout]
    expect:
      net.ipv4.tcp_fin_timeout: {at_least: 1}
"""


class Workspace:
    """A folder with a quick playbook in it, `quick.yml`, and the command run there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("quick.yml", PLAYBOOK)

    def write(self, name: str, text: str) -> Path:
        (self.path / name).write_text(text)
        return self.path / name

    def locals(self, count: int) -> None:
        """Writes inventory.yml: this machine, under `count` names."""
        lines = [f"    host{n:02}: {{ansible_connection: local}}\n" for n in range(count)]
        self.write("inventory.yml", "all:\n  hosts:\n" + "".join(lines))

    def command(
        self, *arguments: str | Path, **environment: str
    ) -> tuple[list[str], dict[str, str]]:
        kept = {
            name: v
            for name, v in os.environ.items()
            if not name.startswith(("FLEETAUDIT_", "XDG_"))
        }
        clean = {"HOME": str(self.path), "COLUMNS": "100", "NO_COLOR": "1"}
        return [
            sys.executable,
            "-m",
            "fleetaudit",
            *map(str, arguments),
        ], kept | clean | environment

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        command, env = self.command(*arguments, **environment)
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.path, env=env, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command, env = self.command(*arguments, **environment)
        return subprocess.run(
            command, cwd=self.path, env=env, capture_output=True, text=True, timeout=300
        )

    def runs(self) -> list[Path]:
        """The folders of the runs in reports/, oldest first."""
        return sorted((self.path / "reports").glob("2*"))


def until(condition: Callable[[], bool], what: str, seconds: float = 240) -> None:
    """Waits for a condition, and fails where it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Returns a port that refuses connections: bound, so that nobody else listens on it, and not
    listening.
    """
    with socket.socket() as s:
        s.bind(("", 0))
        yield s.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Returns a port that accepts connections, by its backlog, and never sends a byte."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(16)
        yield s.getsockname()[1]
