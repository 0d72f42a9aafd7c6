"""Runs as process 1 of the guest: mounts, sets sysctls, runs the program, sends what it prints,
powers off.

Rules: packed as /init and read as text; the package never imports it. Python 3.8 or later, standard
library, no shell and no other program in the guest. What it sends goes over the second serial port,
so that the kernel's log on the first cannot come between; `console.py` has the format of a line.
"""

# Importing pathlib takes a noticeable part of a second in an emulated guest.
# ruff: noqa: PTH123, S606
from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import zlib

PROGRAM = "/fleetaudit/program"
SYSCTLS = "/fleetaudit/sysctls"
PORT = "/dev/ttyS1"
CHUNK = 65536
TCSBRK = 0x5409  # with 1: wait until all is sent, what tcdrain(3) does
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
POWER_OFF, RESTART = 0x4321FEDC, 0x01234567  # reboot(2)

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Runs the guest.

    A traceback on the console and a panic report an error: process 1 must not end.
    """
    for source, folder in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        if libc.mount(source.encode(), folder.encode(), source.encode(), 0, None):
            raise OSError(ctypes.get_errno(), f"mount {folder}: {os.strerror(ctypes.get_errno())}")
    port = os.open(PORT, os.O_WRONLY | os.O_NOCTTY)
    send(port, "b", b"")
    loopback_up()
    if set_sysctls(port):
        status = run(port)
        send(port, "x", str(status).encode())
    fcntl.ioctl(port, TCSBRK, 1)
    # QEMU ends at a restart, too; without ACPI a guest that powers off never ends.
    for how in (RESTART, POWER_OFF):
        libc.reboot(ctypes.c_int(how))


def loopback_up() -> None:
    """Brings lo up, as it is on every real host, for experiments in the host's own namespace."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack_from("h", request, 16)
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def set_sysctls(port: int) -> bool:
    """Writes every setting of SYSCTLS (KEY=VALUE, one a line) and sends those that fail.

    Returns whether all could be set.
    """
    all_set = True
    with open(SYSCTLS, encoding="utf-8") as f:
        for line in f:
            key, _, value = line.rstrip("\n").partition("=")
            try:
                with open(sysctl_path(key), "w", encoding="utf-8") as setting:
                    setting.write(value)
            except OSError as e:
                send(port, "s", f"{key}={os.strerror(e.errno or 0)}".encode())
                all_set = False
    return all_set


def sysctl_path(key: str) -> str:
    """Returns the file of a setting; as for sysctl(8), its separator is "." unless "/" is in it."""
    if "/" not in key:
        key = key.replace(".", "/")
    return "/proc/sys/" + key


def run(port: int) -> int:
    """Runs the program as `python -B -E -s -` with its text as stdin and sends what it prints.

    Returns its exit status, 128 plus the number of a signal that ended it.
    """
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    stdout, stdout_end = os.pipe()
    stderr, stderr_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_program(stdout_end, stderr_end)
    os.close(stdout_end)
    os.close(stderr_end)
    status = forward(port, pid, woken, {stdout: "o", stderr: "e"})
    if status is None:
        status = os.waitpid(pid, 0)[1]
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    return 128 + os.WTERMSIG(status)


def become_program(stdout: int, stderr: int) -> None:
    """Replaces this process by the program; never returns."""
    try:
        os.dup2(os.open(PROGRAM, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.chdir("/")
        environment = dict(os.environ, PATH="/bin", HOME="/")
        os.execve(sys.executable, [sys.executable, "-B", "-E", "-s", "-"], environment)
    finally:
        os._exit(127)


def forward(port: int, pid: int, woken: int, letters: dict[int, str]) -> int | None:
    """Sends what comes out of the pipes in `letters` until they are closed, or until the program
    ended and nothing more is there. Returns the wait status of the program, None if it still runs.

    A process that the program left behind may hold a pipe open.
    """
    status = None
    poll = select.poll()
    for fd in (woken, *letters):
        poll.register(fd, select.POLLIN)
    while letters:
        ready = poll.poll(patience_ms(status))
        if not ready:
            break
        for fd, _ in ready:
            data = os.read(fd, CHUNK)
            if fd == woken:
                status = reap(pid, status)
            elif data:
                send(port, letters[fd], zlib.compress(data, 1))
            else:
                poll.unregister(fd)
                del letters[fd]
    return status


def patience_ms(status: int | None) -> int | None:
    """Returns how long to wait for output: forever (None) while the program runs, then not."""
    if status is None:
        return None
    return 0


def reap(pid: int, status: int | None) -> int | None:
    """Reaps every child that ended (orphans become children of process 1).

    Returns the wait status of the program once it is known.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, wait_status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended == pid:
                status = wait_status
    return status


def send(port: int, letter: str, value: bytes) -> None:
    """Sends one line: the letter, a blank, the value in base64."""
    line = letter.encode() + b" " + base64.b64encode(value) + b"\n"
    while line:
        line = line[os.write(port, line) :]


if __name__ == "__main__":
    main()
