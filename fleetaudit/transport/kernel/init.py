"""Runs as process 1 of the guest: mounts, sets sysctls, runs the program, sends what it prints,
powers off.

Rules: packed as /init and read as text; the package never imports it. Python 3.8 on, standard
library, no shell and no other program in the guest. What it sends goes over the second serial port,
so that the kernel's log on the first cannot come between; each line is one word of `console.py`: a
letter, a blank, a value.
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
    """Does everything; a traceback on the console and a panic say what went wrong, for process 1
    must not end.
    """
    for source, where in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        if libc.mount(source.encode(), where.encode(), source.encode(), 0, None):
            raise OSError(ctypes.get_errno(), f"mount {where}: {os.strerror(ctypes.get_errno())}")
    port = os.open(PORT, os.O_WRONLY | os.O_NOCTTY)
    send(port, "b", b"")
    loopback_up()
    if set_sysctls(port):
        status = run(port)
        send(port, "x", str(status).encode())
    fcntl.ioctl(port, TCSBRK, 1)
    for how in (
        POWER_OFF,
        RESTART,
    ):  # without ACPI a guest cannot power off; QEMU ends at a restart too
        libc.reboot(ctypes.c_int(how))


def loopback_up() -> None:
    """Brings lo up, as it is on every real host, for experiments that are to run in the host's own
    namespace.
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack_from("h", request, 16)
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def set_sysctls(port: int) -> bool:
    """Writes every setting of SYSCTLS (KEY=VALUE, a line each); sends the ones that cannot be, and
    whether all were.
    """
    well = True
    with open(SYSCTLS, encoding="utf-8") as f:
        for line in f:
            key, _, value = line.rstrip("\n").partition("=")
            path = "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
            try:
                with open(path, "w", encoding="utf-8") as setting:
                    setting.write(value)
            except OSError as e:
                send(port, "s", f"{key}={os.strerror(e.errno or 0)}".encode())
                well = False
    return well


def run(port: int) -> int:
    """Runs the program as `python -E -s -` with its text as stdin, sends what it prints, returns
    its exit status.
    """
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(PROGRAM, os.O_RDONLY), 0)
            os.dup2(out_end, 1)
            os.dup2(err_end, 2)
            os.chdir("/")
            os.execve(
                sys.executable,
                [sys.executable, "-E", "-s", "-"],
                dict(os.environ, PATH="/bin", HOME="/"),
            )
        finally:
            os._exit(127)
    os.close(out_end)
    os.close(err_end)
    letters = {out: "o", err: "e"}
    poll = select.poll()
    for fd in (woken, *letters):
        poll.register(fd, select.POLLIN)
    status = None
    while letters:
        # Once the program has ended, only what is there already: a process that it left behind may
        # hold the pipe.
        ready = [fd for fd, _ in poll.poll(0 if status is not None else None)]
        if not ready:
            break
        for fd in ready:
            if fd == woken:
                os.read(woken, CHUNK)
                status = reaped(pid, status)
                continue
            data = os.read(fd, CHUNK)
            if data:
                send(port, letters[fd], zlib.compress(data, 1))
            else:
                poll.unregister(fd)
                del letters[fd]
    if status is None:
        status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def reaped(pid: int, status: int | None) -> int | None:
    """Collects every child that ended (orphans come to process 1) and returns the program's wait
    status once known.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, how = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended == pid:
                status = how
    return status


def send(port: int, letter: str, value: bytes) -> None:
    """Sends one line: the letter, a blank, the value in base64."""
    line = letter.encode() + b" " + base64.b64encode(value) + b"\n"
    while line:
        line = line[os.write(port, line) :]


if __name__ == "__main__":
    main()
