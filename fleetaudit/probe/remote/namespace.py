"""Moves this process into a private network namespace, if it may make one."""

import errno
import fcntl
import os
import socket
import struct
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from .constants import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    ERRORS,
    F_SETPIPE_SZ,
    IFF_UP,
    SIOCGIFFLAGS,
    SIOCSIFFLAGS,
)
from .errors import Unsupported, call_or, message_of
from .files import read_descriptor, write_file
from .system import load_libc

# Python looks in the current folder first, for a program on stdin or behind -c.
NO_STRAY_MODULES = "import sys; sys.path = [p for p in sys.path if p]"
# What the program `unshare` runs first, to see whether its namespace is new and can be used.
BRING_LO_UP = "\n".join(
    (
        NO_STRAY_MODULES,
        "import fcntl, os, socket, struct",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "fcntl.ioctl(s, 0x8914, struct.pack('16sh22x', b'lo', 1))",
        "name = os.path.islink('/proc/self/ns/net') and os.readlink('/proc/self/ns/net')",
        "os.write(1, b'the namespace did not change' if name == %r else b'+')",
        "",
    )
)


def namespace_id():
    # type: () -> Optional[str]
    """Returns the kernel's name for this process's network namespace, None if unknown."""
    name = call_or("", os.readlink, "/proc/self/ns/net")  # type: str
    return name if name.startswith("net:") else None


def isolate(call, program, carried):
    # type: (Dict[str, Any], str, Dict[str, Any]) -> Tuple[str, Optional[Callable[[int], None]]]
    """Moves into a private network namespace by the first way that works; returns "" and that way,
    or why none does and None.
    """
    reasons = []
    for name, unshare in (("os.unshare", unshare_by_os), ("ctypes", unshare_by_ctypes)):
        reason = try_in_child(lambda fd: enter_with(unshare))
        if not reason:
            enter_with(unshare)
            return "", unshare
        reasons.append("%s: %s" % (name, reason))
    reason = try_in_child(test_program) or start_over_inside(call, program, carried)
    reasons.append("the program unshare: " + reason.strip().rpartition("\n")[2][:200])
    return "no private network namespace (%s)" % "; ".join(reasons), None


def unshare_by_os(flags):
    # type: (int) -> None
    """Leaves namespaces by os.unshare, which Python has since 3.12."""
    if not hasattr(os, "unshare"):
        raise Unsupported("this Python has no os.unshare")
    os.unshare(flags)


def unshare_by_ctypes(flags):
    # type: (int) -> None
    """Leaves namespaces by the C library's unshare(2)."""
    ctypes, library = load_libc()
    if library.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def enter_with(unshare):
    # type: (Callable[[int], None]) -> None
    """Moves this process into a new network namespace. Raises OSError or Unsupported, perhaps when
    it has moved halfway.
    """
    uid, gid = os.geteuid(), os.getegid()
    before = namespace_id()
    try:
        if uid != 0:
            raise OSError(errno.EPERM, "not root")
        unshare(CLONE_NEWNET)
    except OSError:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        if os.path.exists("/proc/self/setgroups"):  # since 3.19, and then before gid_map
            write_file("/proc/self/setgroups", "deny")
        write_file("/proc/self/uid_map", "0 %d 1" % uid)
        write_file("/proc/self/gid_map", "0 %d 1" % gid)
    check_private(before)


def check_private(before):
    # type: (Optional[str]) -> None
    """Brings `lo` up, and checks that this is another namespace than `before`. That unshare(2)
    succeeds proves nothing: Ubuntu 24.04's AppArmor then denies what it is for.
    """
    request = struct.Struct("16sh22x")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, request.pack(b"lo", 0))
        flags = request.unpack(answer)[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, request.pack(b"lo", flags | IFF_UP))
    finally:
        sock.close()
    if before is not None and namespace_id() == before:
        raise Unsupported("the namespace did not change")


def try_in_child(attempt):
    # type: (Callable[[int], None]) -> str
    """Returns why `attempt(fd)` fails in a child process, "" if it succeeds: one that fails halfway
    must not leave this process moved halfway.
    """
    try:
        out, into = os.pipe()
    except ERRORS as e:
        return message_of(e)
    try:
        child = os.fork()
    except ERRORS as e:
        os.close(out)
        os.close(into)
        return "no process could be made: " + message_of(e)
    if child == 0:
        run_attempt(attempt, out, into)
    os.close(into)
    answer = read_descriptor(out, 65536)
    os.close(out)
    os.waitpid(child, 0)
    return "" if answer.endswith(b"+") else answer.decode("ascii", "replace") or "no answer"


def run_attempt(attempt, out, into):
    # type: (Callable[[int], None], int, int) -> None
    """Calls `attempt(into)`, writes "+" or what failed, and ends the process."""
    try:
        os.close(out)
        attempt(into)
        os.write(into, b"+")
    except BaseException as e:
        os.write(into, message_of(e).encode("ascii", "replace")[:200])
    finally:
        os._exit(0)


def become_unshare(arguments):
    # type: (List[str]) -> None
    """Becomes util-linux's `unshare` running this interpreter; raises OSError."""
    kinds = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    interpreter = [sys.executable or "/proc/self/exe", "-B", "-E", "-s"]
    os.execvp("unshare", ["unshare"] + kinds + interpreter + arguments)


def test_program(write_to):
    # type: (int) -> None
    """Becomes `unshare` with BRING_LO_UP, which writes "+" or an error to `write_to`."""
    os.dup2(write_to, 1)
    os.dup2(write_to, 2)
    become_unshare(["-c", BRING_LO_UP % namespace_id()])


def start_over_inside(call, program, carried):
    # type: (Dict[str, Any], str, Dict[str, Any]) -> str
    """Becomes `unshare` running this same program, sent through a pipe that holds all of it;
    returns why that failed. The process keeps its number, alarm and output; what was seen so far is
    in the call.
    """
    try:
        data = program_text(dict(call, carried=carried), program)
        out, into = os.pipe()
        fcntl.fcntl(into, F_SETPIPE_SZ, max(65536, 1 << len(data).bit_length()))
        fcntl.fcntl(into, fcntl.F_SETFL, os.O_NONBLOCK)
        if os.write(into, data) != len(data):
            raise Unsupported("the pipe is too small for the program")
        os.close(into)
        os.dup2(out, 0)
        os.close(out)
        become_unshare(["-"])
        return "no answer"
    except (Unsupported,) + ERRORS as e:
        return message_of(e)


def program_text(call, program):
    # type: (Dict[str, Any], str) -> bytes
    """Returns the program with `call` in its last line."""
    quote = ascii if sys.version_info[0] > 2 else repr
    quotes = "'" * 3
    lines = (
        NO_STRAY_MODULES,
        "PROGRAM = r" + quotes + program + quotes,
        "exec(compile('\\n' * 2 + PROGRAM, 'fleetaudit-probe', 'exec'))",
        "main(%s, PROGRAM)" % quote(call),
        "",
    )
    return "\n".join(lines).encode("ascii")
