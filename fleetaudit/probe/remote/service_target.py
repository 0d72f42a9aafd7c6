"""Where a service listens, and why it cannot be asked."""

import re
import select
import socket
import struct
from typing import Any, Callable, Dict, Optional

from .errors import call_or, error_name
from .optional import optional_module
from .waiting import wait_for_events

URL = re.compile(r"(https?)://([\w.:\[\]-]+)(/[!-~]*)?\Z")
METHOD = re.compile(r"[A-Z]{1,20}\Z")
IPV6_LOOPBACK = b"\0" * 15 + b"\1"
RTM_NEWROUTE, RTM_GETROUTE, RTA_DST, RTN_LOCAL = 24, 26, 1, 2
ROUTE_TYPE = 16 + 7  # where rtm_type is in a message (rtnetlink(7))


class CannotAsk(Exception):
    """Why a service cannot be asked, with the next command to type."""

    def __init__(self, problem, hint=""):
        # type: (str, str) -> None
        Exception.__init__(self, problem)
        self.problem, self.hint = problem, hint


class Target(object):
    """The listener of a service. `host` is what its URL calls it, `path` what is asked for; both
    are "" for a service that does not speak HTTP. `tls` makes a socket one of TLS, or is None.
    """

    def __init__(self, service):
        # type: (Dict[str, Any]) -> None
        """Checks what is asked for; raises CannotAsk."""
        self.address, self.port = str(service["address"]), int(service["port"])
        self.family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.method, self.host, self.path, self.is_http = "", "", "", bool(service["url"])
        self.tls, self.connecting = None, "connecting to"  # type: Any, str
        self.meanwhile = None  # type: Optional[Callable[[], None]]  # called again and again
        if self.is_http:
            self.read_url(service["url"], service["method"])
        if not is_own_address(self.family, self.address):
            problem = "%s is no address of this host: no other host is asked"
            raise CannotAsk(problem % self.address, "ip address")

    def read_url(self, url, method):
        # type: (str, str) -> None
        """Takes a URL into its parts; raises CannotAsk."""
        parts = URL.match(url)
        if not parts or not METHOD.match(method):
            raise CannotAsk("the URL or the method has characters that cannot be sent")
        self.method, self.host, self.path = method, parts.group(2), parts.group(3) or "/"
        if parts.group(1) == "https":
            self.tls, self.connecting = tls_wrapper(server_name(self.host)), "TLS with"

    def where(self):
        # type: () -> str
        """Returns the address and port as they are written together."""
        shape = "[%s]:%d" if ":" in self.address else "%s:%d"
        return shape % (self.address, self.port)


def server_name(host):
    # type: (str) -> Optional[str]
    """Returns the name that TLS sends for the host of a URL, None for an address (RFC 6066)."""
    name = host.partition(":")[0]
    is_address = host.startswith("[") or name.replace(".", "").isdigit()
    return None if is_address else name


def tls_wrapper(name):
    # type: (Optional[str]) -> Any
    """Returns a function that makes a connected socket one of TLS, which verifies nothing: it talks
    to this host only, and sends no secret. Raises CannotAsk.
    """
    ssl = optional_module("ssl")
    if not hasattr(ssl, "SSLContext"):
        raise CannotAsk("https needs Python's ssl module, which this host's Python lacks")
    protocol = getattr(ssl, "PROTOCOL_TLS_CLIENT", getattr(ssl, "PROTOCOL_SSLv23", 2))
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    wrap = context.wrap_socket
    return lambda sock: wrap(sock, server_hostname=name, do_handshake_on_connect=False)


def is_own_address(family, address):
    # type: (int, str) -> bool
    """Returns whether an address is one of this host: the kernel delivers to itself what is sent
    there. That a socket can be bound to it would not do: net.ipv4.ip_nonlocal_bind allows any. A
    name is no address, and is not looked up.
    """
    packed = call_or(b"", socket.inet_pton, family, address)
    if packed[:1] == b"\x7f" or packed == IPV6_LOOPBACK:
        return True
    return bool(packed) and call_or(0, route_type, family, packed) == RTN_LOCAL


def route_type(family, packed):
    # type: (int, bytes) -> int
    """Returns the type of the kernel's route to an address, 0 if it names none; raises OSError."""
    body = struct.pack("=8BI", family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(packed), RTA_DST) + packed
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    try:
        sock.send(struct.pack("=IHHII", 16 + len(body), RTM_GETROUTE, 1, 1, 0) + body)
        answer = sock.recv(4096) if wait_for_events(sock, select.POLLIN) else b""
    finally:
        sock.close()
    if len(answer) <= ROUTE_TYPE or struct.unpack_from("=H", answer, 4)[0] != RTM_NEWROUTE:
        return 0
    return int(struct.unpack_from("=B", answer, ROUTE_TYPE)[0])


def client_error(error):
    # type: (BaseException) -> str
    """Returns the name of what a call of a socket raised; OpenSSL's own numbers are no errno."""
    if type(error).__name__.startswith("SSL"):
        return str(getattr(error, "reason", None) or type(error).__name__)[:100]
    return error_name(error)
