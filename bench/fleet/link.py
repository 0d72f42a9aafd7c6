"""A link with a delay to another network namespace, in which an sshd runs.

    python -m bench.fleet.link DELAY DESCRIPTOR RESULT COMMAND ...

Both ends are TUN devices, and this program carries the packets between them, DELAY seconds late. So
the connection is made, its window grows and its acknowledgements come as over a real line.
DESCRIPTOR is the near device, open; the far one is made here, in the namespace that this is started
in, and COMMAND is the server. Nothing is lost or reordered, and the line has no limit of its own.

Round trips are counted, not timed, so a busy machine does not add to them. Each packet has a depth:
one more than the deepest that its sender had received. The deepest one with data that the near side
received is what a client had to wait for; half of it, written to RESULT, is its round trips.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from .lab import Lab
from .measure import end_with_parent
from .server import sshd_command, sshd_running, write_sshd_config

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
NEAR, FAR = "10.99.0.1", "10.99.0.2"
LONGEST_PACKET = 65_536


def open_device(name: str, address: str) -> int:
    """Makes a TUN device with an address and returns its descriptor; the device ends with it."""
    device = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    for words in (f"addr add {address}/30 dev {name}", f"link set {name} up"):
        subprocess.run(["ip", *words.split()], check=True)
    # What an earlier connection learned about the line must not help the next.
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")
    return device


class Line:
    """The packets under way, and how deep each side is in the conversation."""

    def __init__(self, near: int, far: int, delay: float) -> None:
        self.round_trips = 0.0
        self._near, self._delay = near, delay
        self._other = {near: far, far: near}
        self._depth = {near: 0, far: 0}
        self._late: deque[tuple[float, int, int, bytes]] = deque()

    def carry(self) -> None:
        """Carries packets both ways until this program is ended."""
        while True:
            late = self._late
            pause = max(0.0, late[0][0] - time.monotonic()) if late else None
            for device in select.select(list(self._other), [], [], pause)[0]:
                packet = os.read(device, LONGEST_PACKET)
                due = time.monotonic() + self._delay
                late.append((due, self._other[device], self._depth[device] + 1, packet))
            while late and late[0][0] <= time.monotonic():
                self._deliver(*late.popleft()[1:])

    def _deliver(self, device: int, depth: int, packet: bytes) -> None:
        os.write(device, packet)
        length = tcp_data(packet)
        if length is None:
            return
        self._depth[device] = max(depth, self._depth[device])
        if device == self._near and length:
            self.round_trips = max(self.round_trips, depth / 2)


def tcp_data(packet: bytes) -> int | None:
    """Returns the number of bytes of data in a TCP segment over IPv4, None for other packets."""
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    header = (packet[0] & 15) * 4
    return len(packet) - header - (packet[header + 12] >> 4) * 4


@contextlib.contextmanager
def running_link(lab: Lab, recordings: dict[int, Path], delay: float) -> Iterator[Path]:
    """Runs an sshd at the far end of a link, where its address is `FAR`. Yields the file that has
    the number of round trips when the link has ended.
    """
    result = lab.folder / "round_trips"
    near = open_device("near", NEAR)
    write_sshd_config(lab, recordings, wait_s=0)
    log = lab.folder / "sshd.log"
    python = (sys.executable, "-m", "bench.fleet.link", str(delay), str(near), str(result))
    command = ("unshare", "--net", *python, *sshd_command(lab))
    try:
        with sshd_running(command, log, keep=(near,)):
            yield result
    finally:
        os.close(near)


def main(delay: str, near: str, result: str, *command: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    far = open_device("far", FAR)
    subprocess.Popen(command, preexec_fn=end_with_parent)
    line = Line(int(near), far, float(delay))
    try:
        line.carry()
    finally:
        Path(result).write_text(str(line.round_trips))


if __name__ == "__main__":
    main(*sys.argv[1:])
