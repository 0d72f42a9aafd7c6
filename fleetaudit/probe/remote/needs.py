"""Checks that the host has what a scenario needs, before a step of it runs."""

import os
import socket
from typing import Any, Sequence

from .constants import ERRORS
from .errors import Unsupported, unsupported
from .files import open_to_write
from .lab import Laboratory
from .listeners import FAMILIES
from .namespace import namespace_id
from .options import set_socket_option
from .sysctls import read_sysctl, sysctl_path
from .system import load_libc

PEER_ENDS = (("peer", "close"), ("peer", "end"))


def check_needs(lab, family, steps):
    # type: (Laboratory, str, Sequence[Any]) -> None
    """Raises Unsupported if the host lacks what the steps need, or nothing shows their ending."""
    for step in steps:
        NEEDS.get(step[1], need_nothing)(lab, family, *step[2:])
    peer_is_closed = any(tuple(step[:2]) in PEER_ENDS for step in steps)
    if family == "unix":
        if peer_is_closed:
            raise Unsupported(
                "over AF_UNIX only the peer's socket shows the ending, and here it is closed"
            )
    elif peer_is_closed or resets_itself(steps):
        need_capture(lab)


def resets_itself(steps):
    # type: (Sequence[Any]) -> bool
    """Returns whether the peer resets the connection itself, with data for which it has shut both
    directions: its socket then shows only that (tcp_rcv_state_process(), FIN_WAIT1 and FIN_WAIT2).
    """
    shut = set()
    for step in steps:
        if step[:2] == ("peer", "shutdown"):
            shut.update({"both": ("read", "write")}.get(step[2], step[2:3]))
        if step[0] == "closer" and step[1].startswith("send") and len(shut) == 2:
            return True
    return False


def need_nothing(lab, family, *words):
    # type: (Laboratory, str, *Any) -> None
    pass


def need_capture(lab, *words):
    # type: (Laboratory, *Any) -> None
    if lab.capture is None:
        raise Unsupported("needs a capture (%s)" % lab.no_capture)


def need_namespace(lab, family, *words):
    # type: (Laboratory, str, *Any) -> None
    if not lab.private:
        raise Unsupported("needs a private network namespace")


def need_own_settings(lab, family, key, value):
    # type: (Laboratory, str, str, str) -> None
    if not lab.private or namespace_id() is None:
        raise Unsupported(
            "needs a private network namespace: the probe changes no setting of the host"
        )
    found, state = read_sysctl(key)
    if found is None:
        raise Unsupported("%s cannot be read in a network namespace (%s)" % (key, state))
    try:
        os.close(open_to_write(sysctl_path(key)))
    except ERRORS as e:
        raise unsupported(key + " cannot be set in a network namespace", e)


def need_raw_segment(lab, family, *words):
    # type: (Laboratory, str, *Any) -> None
    if not lab.private and lab.capture:
        raise Unsupported("a raw segment is sent in a private network namespace only")
    need_capture(lab)


def need_option(lab, family, name, *values):
    # type: (Laboratory, str, str, *int) -> None
    """Checks the right to use repair mode on a socket without a peer, which nobody notices."""
    if name != "TCP_REPAIR":
        return
    sock = socket.socket(FAMILIES.get(family, socket.AF_INET), socket.SOCK_STREAM)
    try:
        set_socket_option(sock, name, *values)
    finally:
        sock.close()


def need_kind(lab, family, how, *words):
    # type: (Laboratory, str, str, *Any) -> None
    if how == "mptcp":
        lab.listener(family, how)


def need_tls(lab, family):
    # type: (Laboratory, str) -> None
    if "tls" not in lab.available_ulp:
        raise Unsupported("the kernel's tls module is not loaded, and the probe loads none")


def need_passing(lab, family, how):
    # type: (Laboratory, str, str) -> None
    if how == "pass" and not hasattr(socket.socket, "sendmsg"):
        raise Unsupported("needs sendmsg, which Python 2 lacks")


def need_libc(lab, family):
    # type: (Laboratory, str) -> None
    load_libc()


NEEDS = {
    "connect": need_kind,
    "destroy": need_namespace,
    "disconnect": need_libc,
    "ktls": need_tls,
    "reference": need_passing,
    "resend": need_raw_segment,
    "resend-fin": need_raw_segment,
    "send-out-of-order": need_raw_segment,
    "set": need_option,
    "sysctl": need_own_settings,
}  # type: Any


def add_needs(needs):
    # type: (Any) -> Any
    """Adds what the verbs of a module need that only some calls have; returns it."""
    NEEDS.update(needs)
    return needs
