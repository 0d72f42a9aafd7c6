"""Checks what a scenario needs of the host."""

import os
import socket

from .constants import ERRORS
from .errors import NotHere, name_of
from .namespace import namespace_id
from .options import set_on
from .sysctls import path_of, read_sysctl
from .system import libc


def check_needs(lab, family, steps):
    """Raises NotHere where the host lacks what these steps need, or where nobody could see how they end. Nothing of
    them has run by then."""
    for step in steps:
        if step[1] in NEEDS:
            NEEDS[step[1]](lab, family, *step[2:])
    if any(
        step[0] == "peer" and step[1] in ("close", "end") for step in steps
    ):  # its socket is gone at the end
        if family == "unix":
            raise NotHere(
                "nobody sees how it ends: over AF_UNIX only the peer's socket shows that, and it is closed"
            )
        need_capture(lab)
    if family != "unix" and peer_resets(steps):
        need_capture(lab)


def peer_resets(steps):
    """Returns whether the peer resets the connection itself, with data for which it has shut both ways: what its socket
    shows is then its own doing (tcp_rcv_state_process(), FIN_WAIT1 and FIN_WAIT2)."""
    shut = set()
    for step in steps:
        if step[:2] == ("peer", "shutdown"):
            shut.update(("read", "write") if step[2] == "both" else step[2:3])
        if step[0] == "closer" and step[1].startswith("send") and len(shut) == 2:
            return True
    return False


def need_capture(lab):
    if lab.capture is None:
        raise NotHere("needs a capture (%s)" % lab.no_capture)


def need_namespace(lab, family, *words):
    if not lab.private:
        raise NotHere("needs a private network namespace")


def need_own_settings(lab, family, key, value):
    if not lab.private or namespace_id() is None:
        raise NotHere("needs a private network namespace: the probe changes no setting of the host")
    found, state = read_sysctl(key)
    if found is None:
        raise NotHere("%s cannot be read in a network namespace (%s)" % (key, state))
    try:
        os.close(os.open(path_of(key), os.O_WRONLY))
    except ERRORS as e:
        raise NotHere("%s cannot be set in a network namespace (%s)" % (key, name_of(e)))


def need_raw_segment(lab, family, *words):
    if not lab.private and lab.capture:
        raise NotHere("a raw segment is sent in a private network namespace only")
    need_capture(lab)


def need_option(lab, family, name, *values):
    """Repair mode needs a right that a socket of its own shows; it has no peer, so nobody notices."""
    if name == "TCP_REPAIR":
        sock = socket.socket(
            socket.AF_INET6 if family == "ipv6" else socket.AF_INET, socket.SOCK_STREAM
        )
        try:
            set_on(sock, name, *values)
        finally:
            sock.close()


def need_kind(lab, family, how, *words):
    if how == "mptcp":
        lab.listener(family, how)


def need_tls(lab, family):
    if "tls" not in lab.available_ulp:
        raise NotHere("the kernel's tls module is not loaded, and the probe loads none")


def need_passing(lab, family, how):
    if how == "pass" and not hasattr(socket.socket, "sendmsg"):
        raise NotHere("needs sendmsg, which Python 2 lacks")


NEEDS = {
    "connect": need_kind,
    "destroy": need_namespace,
    "disconnect": lambda *words: libc(),
    "ktls": need_tls,
    "reference": need_passing,
    "resend": need_raw_segment,
    "resend-fin": need_raw_segment,
    "send-out-of-order": need_raw_segment,
    "set": need_option,
    "sysctl": need_own_settings,
}
