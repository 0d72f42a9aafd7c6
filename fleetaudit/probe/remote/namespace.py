"""Moves the process into a private network namespace."""

import errno
import fcntl
import os
import socket
import struct
import sys

from .constants import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    ERRORS,
    F_SETPIPE_SZ,
    IFF_UP,
    SIOCGIFFLAGS,
    SIOCSIFFLAGS,
)
from .errors import NotHere, reason_of
from .files import write
from .system import libc


def namespace_id():
    """Returns this process's network namespace as the kernel names it, None where that cannot be read."""
    try:
        return os.readlink("/proc/self/ns/net")
    except ERRORS:
        return None


def unshare_by_os(flags):
    """Leaves namespaces by os.unshare, which Python has since 3.12."""
    if not hasattr(os, "unshare"):
        raise NotHere("this Python has no os.unshare")
    os.unshare(flags)


def unshare_by_ctypes(flags):
    """Leaves namespaces by the C library's unshare(2)."""
    ctypes, library = libc()
    if library.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def enter_with(unshare):
    """Moves this process into a network namespace of its own; raises OSError or NotHere, then half-moved perhaps."""
    uid, gid = os.geteuid(), os.getegid()
    before = namespace_id()
    try:
        if uid != 0:
            raise OSError(errno.EPERM, "not root")
        unshare(CLONE_NEWNET)
    except OSError:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        if os.path.exists("/proc/self/setgroups"):  # since 3.19, and then gid_map wants it
            write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", "0 %d 1" % uid)
        write("/proc/self/gid_map", "0 %d 1" % gid)
    check_private(before)


def check_private(before):
    """Brings `lo` up and checks that this is another namespace than `before`; the return code of unshare(2) proves
    nothing: Ubuntu 24.04's AppArmor lets it succeed and then denies all that it is for."""
    with_lo = struct.Struct("16sh22x")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        flags = with_lo.unpack(fcntl.ioctl(sock, SIOCGIFFLAGS, with_lo.pack(b"lo", 0)))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, with_lo.pack(b"lo", flags | IFF_UP))
    finally:
        sock.close()
    if before is not None and namespace_id() == before:
        raise NotHere("the namespace did not change")


def tried(attempt):
    """Returns why `attempt(fd)` fails in a child of its own, "" where it succeeds: one that fails half-way must not
    leave this process half-moved."""
    try:
        out, into = os.pipe()
    except ERRORS as e:
        return reason_of(e)
    try:
        child = os.fork()
    except ERRORS as e:
        os.close(out)
        os.close(into)
        return "no process could be made: " + reason_of(e)
    if child == 0:
        try:
            os.close(out)
            attempt(into)
            os.write(into, b"+")
        except BaseException as e:
            os.write(into, reason_of(e).encode("ascii", "replace")[:200])
        finally:
            os._exit(0)
    os.close(into)
    reason = b""
    while True:
        piece = os.read(out, 4096)
        if not piece:
            break
        reason += piece
    os.close(out)
    os.waitpid(child, 0)
    return "" if reason.endswith(b"+") else reason.decode("ascii", "replace") or "no answer"


# What the program `unshare` is made to run first, to see whether its namespace is of any use.
TEST_LO = "\n".join(
    [
        "import fcntl, os, socket, struct, sys",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        'flags = struct.unpack("16sh22x", fcntl.ioctl(s, 0x8913, struct.pack("16sh22x", b"lo", 0)))[1]',
        'fcntl.ioctl(s, 0x8914, struct.pack("16sh22x", b"lo", flags | 1))',
        'os.write(1, b"+")',
    ]
)


def by_program(arguments):
    """Becomes util-linux's `unshare` running this interpreter with `arguments`; raises OSError."""
    kinds = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    os.execvp(
        "unshare",
        ["unshare"] + kinds + [sys.executable or "/proc/self/exe", "-E", "-s"] + arguments,
    )


def test_program(write_to):
    """Becomes `unshare` with TEST_LO, which says "+" on `write_to`, as do errors that `unshare` has to tell."""
    os.dup2(write_to, 1)
    os.dup2(write_to, 2)
    by_program(["-c", TEST_LO])


def start_over_inside(call, program, carried):
    """Becomes `unshare` with this same program in it, sent through a pipe that holds it all; raises OSError.

    The process keeps its number, its alarm (which exec does not clear) and its output; what was seen is in the call.
    """
    spell = ascii if sys.version_info[0] > 2 else repr
    quotes = "'" * 3
    data = (
        "PROGRAM = r"
        + quotes
        + program
        + quotes
        + "\nexec(compile(PROGRAM, 'fleetaudit-probe', 'exec'))\nmain("
        + spell(dict(call, carried=carried))
        + ", PROGRAM)\n"
    ).encode("ascii")
    out, into = os.pipe()
    fcntl.fcntl(into, F_SETPIPE_SZ, max(65536, 1 << len(data).bit_length()))
    fcntl.fcntl(into, fcntl.F_SETFL, os.O_NONBLOCK)
    if os.write(into, data) != len(data):
        raise NotHere("the pipe is too small for the program")
    os.close(into)
    os.dup2(out, 0)
    os.close(out)
    by_program(["-"])


def isolate(call, program, carried):
    """Moves into a private network namespace by the first way that works, and returns "", or why there is none."""
    reasons = []
    for name, unshare in (("os.unshare", unshare_by_os), ("ctypes", unshare_by_ctypes)):
        reason = tried(lambda fd: enter_with(unshare))
        if not reason:
            enter_with(unshare)
            return ""
        reasons.append("%s: %s" % (name, reason))
    reason = tried(test_program)
    if not reason:
        try:
            start_over_inside(call, program, carried)
        except (NotHere,) + ERRORS as e:
            reason = reason_of(e)
    reasons.append("the program unshare: " + " ".join(reason.split())[:200])
    return "no private network namespace (%s)" % "; ".join(reasons)
