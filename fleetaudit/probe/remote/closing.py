"""The steps that end a connection, or hold an additional reference to its socket."""

import errno
import fcntl
import socket
import struct

from .child import Child
from .connection import Connection
from .constants import ERRORS, IS_RESET, other
from .errors import StepFailed, Unsupported, errno_of, unsupported
from .system import load_libc

SHUTS_READING = (("closer", "read"), ("closer", "both"))
DIRECTIONS = {"write": socket.SHUT_WR, "read": socket.SHUT_RD, "both": socket.SHUT_RDWR}


def shut(c, actor, direction):
    # type: (Connection, str, str) -> None
    if (actor, direction) in SHUTS_READING:
        c.reading_shut = True
    try:
        c.sock(actor).shutdown(DIRECTIONS[direction])
    except ERRORS as e:
        if errno_of(e) != errno.ENOTCONN or c.tcp_info(actor)[0:1] != IS_RESET:
            raise  # else the other side has reset it, and any program meets the same


def close(c, actor):
    # type: (Connection, str) -> None
    if actor == "listener":
        c.listener.close()
        c.listener, c.second_listener = c.second_listener, None
        if c.listener is not None:
            return  # it may have got who waited: tcp_migrate_req
        c.waiting = False
        c.closed_sides.add(other(c.client_side or "peer"))
        return
    sock = c.sock(actor)
    c.sockets[actor] = None
    if not c.references:
        c.closed_sides.add(actor)
    sock.close()


def end(c, actor, how):
    # type: (Connection, str, str) -> None
    """Ends the process that holds the socket."""
    sock = c.sock(actor)
    if how == "exec":
        fcntl.fcntl(sock, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    child = hold_in_child(c, actor)
    c.sockets[actor] = None
    c.closed_sides.add(actor)
    sock.close()
    child.end(how)


def hold_in_child(c, actor):
    # type: (Connection, str) -> Child
    """Returns a child process that holds a copy of a side's socket only."""
    others = [c.sockets[other(actor)], c.listener]
    child = Child([sock for sock in others if sock is not None])
    c.children.append(child)
    return child


def disconnect(c, actor):
    # type: (Connection, str) -> None
    """Calls connect(2) with AF_UNSPEC."""
    ctypes, library = load_libc()
    address = struct.pack("H14x", socket.AF_UNSPEC)
    if library.connect(c.sock(actor).fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), "connect")
    c.closed_sides.add(actor)


def destroy(c, actor):
    # type: (Connection, str) -> None
    """Destroys a socket from outside, in the private namespace only."""
    if not c.lab.sock_diag:
        raise Unsupported("needs sock_diag(7): " + c.lab.no_sock_diag)
    try:
        c.sock(actor)
        c.lab.sock_diag.destroy(*c.ends(actor))
    except ERRORS as e:
        raise unsupported("this kernel does not let sockets be destroyed", e)
    c.closed_sides.add(actor)


def refer(c, actor, how):
    # type: (Connection, str, str) -> None
    """Makes another reference to a socket, by dup(2), in a child, or in flight over AF_UNIX."""
    sock = c.sock(actor)
    if how == "dup":
        c.references.append(socket.fromfd(sock.fileno(), sock.family, sock.type))
    elif how == "fork":
        c.references.append(hold_in_child(c, actor))
    else:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        c.references.append(far)  # what is in flight towards it is closed with it
        rights = struct.pack("i", sock.fileno())
        near.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def close_other(c, actor):
    # type: (Connection, str) -> None
    if not c.references:
        raise StepFailed("there is no other reference to the socket")
    reference = c.references.pop()
    if isinstance(reference, Child):
        reference.end("exit")
    else:
        reference.close()
    if not c.references and c.sockets[actor] is None:
        c.closed_sides.add(actor)
