"""Clients that the benchmark compares, each a program of its own.

    python -m bench.fleet.clients.NAME JOB

A client runs one command on every host, writes the same request to its standard input, and brings
back all that it prints. JOB is a JSON file, the keys of `Job`; the client writes a line
`ADDRESS LENGTH CRC32` for every reply into the file that the job names. It checks every host's key.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """What to do: names of files, and a few words. `forks` is the number of hosts at once."""

    addresses: list[str]
    port: int
    user: str
    key: str
    known_hosts: str
    command: str
    request: str
    result: str
    forks: int

    @cached_property
    def stdin(self) -> bytes:
        """What the command's standard input gets."""
        return Path(self.request).read_bytes()


class Replies:
    """Writes down what came back."""

    def __init__(self, job: Job) -> None:
        self._lines: list[str] = []
        self._path = Path(job.result)

    def add(self, address: str, reply: bytes) -> None:
        self._lines.append(f"{address} {summary(reply)}\n")

    def write(self) -> None:
        self._path.write_text("".join(self._lines))


def summary(reply: bytes) -> str:
    """Returns the length and the CRC-32 of a reply, as the result has them."""
    return f"{len(reply)} {zlib.crc32(reply)}"


def job() -> Job:
    """Returns the job that the command line names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text()))


def host_keys(found: Job) -> dict[str, str]:
    """Returns the known key of each address, as `type base64`."""
    keys = {}
    for line in Path(found.known_hosts).read_text().splitlines():
        name, _, key = line.partition(" ")
        keys[name[1:].partition("]")[0]] = key
    return keys
