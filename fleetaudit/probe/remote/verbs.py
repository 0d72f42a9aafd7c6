"""The table of all steps.

Each verb is a function of the connection, the actor and the step's other words.
"""

import socket
import struct
import time
from typing import Any

from .closing import close, close_other, destroy, disconnect, end, refer, shut
from .connecting import accept, connect, fill_queue, set_backlog, set_option, set_sysctl, sign
from .connection import Connection
from .constants import ERRORS, SIDES, SOL_TLS, TCP_ULP
from .errors import unsupported
from .raw_segments import resend, resend_fin, send_out_of_order
from .reading import (
    discard,
    peek,
    read_all,
    read_some,
    read_to_end,
    read_urgent,
    read_waitall,
    splice,
    try_read,
)
from .sending import send, send_until_blocked, send_urgent

# struct tls12_crypto_info_aes_gcm_128: version 1.2, cipher 51, iv, key, salt, sequence number. The
# key protects nothing.
TLS_KEYS = struct.pack(
    "HH8s16s4s8s", 0x0303, 51, b"\0" * 8, b"fleetaudit probe", b"salt", b"\0" * 8
)
TLS_TX, TLS_RX = 1, 2


def enable_ktls(c, actor):
    # type: (Connection, str) -> None
    for side in SIDES:
        sock = c.sock(side)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            sock.setsockopt(SOL_TLS, TLS_TX, TLS_KEYS)
            sock.setsockopt(SOL_TLS, TLS_RX, TLS_KEYS)
        except ERRORS as e:
            raise unsupported("this kernel refuses TLS on a socket", e)


def wait(c, actor, time_ms):
    # type: (Connection, str, int) -> None
    time.sleep(time_ms / 1000.0)


VERBS = {
    "accept": accept,
    "backlog": set_backlog,
    "close": close,
    "close-other": close_other,
    "connect": connect,
    "destroy": destroy,
    "discard": discard,
    "disconnect": disconnect,
    "end": end,
    "fill-queue": fill_queue,
    "ktls": enable_ktls,
    "peek": peek,
    "read": read_some,
    "read-all": read_all,
    "read-to-end": read_to_end,
    "read-urgent": read_urgent,
    "read-waitall": read_waitall,
    "reference": refer,
    "resend": resend,
    "resend-fin": resend_fin,
    "send": send,
    "send-out-of-order": send_out_of_order,
    "send-until-blocked": send_until_blocked,
    "send-urgent": send_urgent,
    "set": set_option,
    "shutdown": shut,
    "sign": sign,
    "splice": splice,
    "sysctl": set_sysctl,
    "try-read": try_read,
    "wait": wait,
}  # type: Any


def add_verbs(verbs):
    # type: (Any) -> Any
    """Adds the verbs of a module that only some calls need; returns them."""
    VERBS.update(verbs)
    return verbs


ENDINGS = ("close", "close-other", "destroy", "disconnect", "end", "shutdown")
