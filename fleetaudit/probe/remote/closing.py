"""The steps that end a connection."""

import errno
import fcntl
import socket
import struct

from .child import Child
from .constants import ERRORS, GONE, RESET, other
from .errors import Failed, NotHere, name_of, number_of
from .sock_diag import Diagnosis
from .system import libc


def shut(t, actor, way):
    t.shut_reading = t.shut_reading or (actor == "closer" and way != "write")
    try:
        t.sock(actor).shutdown(
            {"write": socket.SHUT_WR, "read": socket.SHUT_RD, "both": socket.SHUT_RDWR}[way]
        )
    except ERRORS as e:
        if number_of(e) != errno.ENOTCONN or t.info(actor)[0:1] != RESET:
            raise  # else the other side has reset it, and a program that shuts it down meets the same


def close(t, actor):
    if actor == "listener":
        t.listener.close()
        t.listener, t.waiting = None, False
        t.gone.add(other(t.client_side))
        return
    sock = t.sock(actor)
    t.socks[actor] = None
    if not t.references:
        t.gone.add(actor)
    sock.close()


def end(t, actor, how):
    sock = t.sock(actor)
    if how == "exec":
        fcntl.fcntl(sock, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    child = Child([s for s in (t.socks[other(actor)], t.listener) if s is not None])
    t.children.append(child)
    t.socks[actor] = None
    t.gone.add(actor)
    sock.close()
    child.end(how)


def disconnect(t, actor):
    ctypes, library = libc()
    if library.connect(t.sock(actor).fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16) != 0:
        raise OSError(ctypes.get_errno(), "connect")
    t.gone.add(actor)


def destroy(t, actor):
    """Destroys a socket from outside, as `ss -K` does (sock_diag(7)), in the private namespace only."""
    if not t.lab.diagnosis:
        raise NotHere("needs sock_diag(7): " + t.lab.no_diagnosis)
    try:
        t.sock(actor)
        ends = t.address[actor], t.address[other(actor)]
        if (
            t.lab.diagnosis.look(*ends)[0] != GONE
        ):  # else it would be the listener that is destroyed
            t.lab.diagnosis.request(Diagnosis.DESTROY, *ends)
    except ERRORS as e:
        raise NotHere("this kernel does not let sockets be destroyed (%s)" % name_of(e))
    t.gone.add(actor)


def refer(t, actor, how):
    sock = t.sock(actor)
    if how == "dup":
        t.references.append(socket.fromfd(sock.fileno(), sock.family, sock.type))
    elif how == "fork":
        child = Child([s for s in (t.socks[other(actor)], t.listener) if s is not None])
        t.children.append(child)
        t.references.append(child)
    else:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        t.references.append(far)  # what is in flight towards it goes with it
        near.sendmsg(
            [b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", sock.fileno()))]
        )


def close_other(t, actor):
    if not t.references:
        raise Failed("there is no other reference to the socket")
    reference = t.references.pop()
    if isinstance(reference, Child):
        reference.end("exit")
    else:
        reference.close()
    if not t.references and t.socks[actor] is None:
        t.gone.add(actor)
