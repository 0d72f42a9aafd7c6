"""Which server answers, and what its administrator can change; each fact has its source. Pure.

Rules: the executable decides before the Server header, which a proxy passes on from its backend. A
cure says only what the documentation or the source of the server says, or its maintainers. The
table is that of docs/services.md.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from itertools import product as pairs_of

from fleetaudit.model import ServiceCheckName
from fleetaudit.model.base import Frozen


class Cure(Frozen, frozen=True, kw_only=True):
    """What to change in a server for one check, and the sources of that.

    `product` is "" for advice that holds for every server.
    """

    product: str
    check: ServiceCheckName
    text: str
    sources: tuple[str, ...]

    def __str__(self) -> str:
        """Returns the advice with its first source."""
        return f"{self.text} ({self.sources[0]})"


def _cure(product: str, check: ServiceCheckName, text: str, *sources: str) -> Cure:
    """Returns a row of the table."""
    return Cure(product=product, check=check, text=text, sources=sources)


_HTTP_CLOSE = "RFC 9112, section 9.6"
_HAPROXY_DRAINS = "https://github.com/haproxy/haproxy/issues/3316"
_GO_SERVER = "https://go.dev/src/net/http/server.go"
_ELB = (
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"
    "edit-load-balancer-attributes.html"
)

CURES = (
    _cure(
        "",
        "early answer",
        "close in stages: shut down the sending side, read until the client closes or a time is"
        " over, then close; or read the request before the answer",
        _HTTP_CLOSE,
    ),
    _cure(
        "",
        "pipelined",
        "close in stages: after the answer with “Connection: close”, shut down the sending side and"
        " read what the client still sends before the close",
        _HTTP_CLOSE,
    ),
    _cure(
        "",
        "idle",
        "raise the keep-alive timeout of the server above the idle time of what connects to it",
        _ELB,
    ),
    _cure(
        "",
        "unread request",
        "read what has arrived before the close, or shut down the sending side and read to the end",
        "RFC 2525, section 2.17",
    ),
    _cure(
        "nginx",
        "early answer",
        "keep “lingering_close on;”, the default, and “lingering_time” above what a client needs"
        " to send the rest; a backend that refuses early behind “proxy_request_buffering off;” must"
        " read on itself, or becomes a 502: leave the buffering on, or refuse in nginx with"
        " “client_max_body_size”",
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#lingering_close",
        "https://mailman.nginx.org/pipermail/nginx/2019-December/058812.html",
    ),
    _cure(
        "nginx",
        "idle",
        "raise “keepalive_timeout” (75s by default) above the idle time of what connects to nginx",
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_timeout",
    ),
    _cure(
        "haproxy",
        "early answer",
        "upgrade to HAProxy 3.0 or later, which reads the rest of the request after an early"
        " answer; before that it closes at once, and “option http-buffer-request” helps only"
        " requests that fit into one buffer",
        _HAPROXY_DRAINS,
        "https://github.com/haproxy/haproxy/issues/761",
    ),
    _cure(
        "haproxy",
        "idle",
        "raise “timeout http-keep-alive”; without it “timeout http-request” counts, and without"
        " both “timeout client”",
        "https://docs.haproxy.org/3.0/configuration.html#timeout%20http-keep-alive",
    ),
    _cure(
        "apache",
        "early answer",
        "Apache reads on for up to 30 s after it answers, 2 s where a module asks for a short"
        " close: raise “LimitRequestBody”, or let clients send “Expect: 100-continue”",
        "https://github.com/apache/httpd/blob/trunk/server/mpm/event/event.c",
    ),
    _cure(
        "apache",
        "idle",
        "raise “KeepAliveTimeout” (5 s by default) above the idle time of what connects to Apache",
        "https://httpd.apache.org/docs/2.4/mod/core.html#keepalivetimeout",
    ),
    _cure(
        "tomcat",
        "early answer",
        "raise “maxSwallowSize” of the connector (2 MiB by default; -1 for no limit): Tomcat reads"
        " as much of the rest before it closes",
        "https://tomcat.apache.org/tomcat-10.1-doc/config/http.html",
        "https://www.mail-archive.com/dev@tomcat.apache.org/msg93599.html",
    ),
    _cure(
        "tomcat",
        "idle",
        "raise “keepAliveTimeout” of the connector (by default its “connectionTimeout”)",
        "https://tomcat.apache.org/tomcat-10.1-doc/config/http.html",
    ),
    _cure(
        "caddy",
        "early answer",
        "Caddy closes as Go's server does, which reads 256 KiB of the rest and waits for 0.5 s: put"
        " a server in front that reads on, or a limit that the clients know",
        _GO_SERVER,
    ),
    _cure(
        "caddy",
        "idle",
        "raise “servers { timeouts { idle } }” (5 minutes by default)",
        "https://caddyserver.com/docs/caddyfile/options#timeouts",
    ),
    _cure(
        "gunicorn",
        "early answer",
        "read the body in the application before it answers, or put a proxy in front that buffers"
        " requests, as gunicorn's documentation recommends",
        "https://docs.gunicorn.org/en/stable/deploy.html",
    ),
    _cure(
        "gunicorn",
        "idle",
        "raise “--keep-alive” (2 s by default); the sync worker keeps no connection",
        "https://docs.gunicorn.org/en/stable/settings.html#keepalive",
    ),
    _cure(
        "uvicorn",
        "idle",
        "raise “--timeout-keep-alive” (5 s by default)",
        "https://www.uvicorn.org/settings/#timeouts",
    ),
    _cure(
        "node",
        "early answer",
        "read the request before the end of the answer: “req.resume()”, and “res.end()” on its"
        " “end”; with “Connection: close” Node closes at once",
        "https://github.com/nodejs/node/issues/9085",
        "https://github.com/nodejs/node/issues/38467",
    ),
    _cure(
        "node",
        "idle",
        "raise “server.keepAliveTimeout” (5 s by default)",
        "https://nodejs.org/api/http.html#serverkeepalivetimeout",
    ),
    _cure(
        "lighttpd",
        "early answer",
        "lighttpd reads on for up to 5 s after it answers: raise “server.max-request-size”, or let"
        " clients send “Expect: 100-continue”",
        "https://github.com/lighttpd/lighttpd1.4/blob/master/src/connections.c",
    ),
    _cure(
        "lighttpd",
        "idle",
        "raise “server.max-keep-alive-idle” (5 s by default)",
        "https://redmine.lighttpd.net/projects/lighttpd/wiki/Server_max-keep-alive-idleDetails",
    ),
)
"""What helps, by server and check."""

_EXECUTABLES: Mapping[str, str] = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "apache2": "apache",
    "httpd": "apache",
    "lighttpd": "lighttpd",
    "caddy": "caddy",
    "node": "node",
    "nodejs": "node",
}
"""The server of an executable that runs nothing else; an interpreter runs many."""
_HEADERS: Mapping[str, str] = {
    "nginx": "nginx",
    "openresty": "nginx",
    "apache": "apache",
    "apache-coyote": "tomcat",
    "lighttpd": "lighttpd",
    "caddy": "caddy",
    "gunicorn": "gunicorn",
    "uvicorn": "uvicorn",
}
"""The server of a Server header, by its first word."""
_FIRST_WORD = re.compile(r"[A-Za-z-]*")
_BY_PRODUCT = {(cure.product, cure.check): cure for cure in CURES}


def find_product(server: str, executable: str) -> str:
    """Returns the server that an executable and a Server header name, "" if it is not known.

    "/usr/sbin/haproxy" is "haproxy", whatever its backend calls itself; a Python that answers as
    "gunicorn/20.1" is "gunicorn".
    """
    name = posixpath.basename(executable)
    words = _FIRST_WORD.match(server)
    header = words[0].lower() if words else ""
    return _EXECUTABLES.get(name) or _HEADERS.get(header, "")


def find_cure(product: str, check: ServiceCheckName) -> Cure:
    """Returns what to change in a server; where nothing is known of it, what holds for all."""
    found = [_BY_PRODUCT.get(pair) for pair in pairs_of((product, ""), (check,))]
    return next(filter(None, found))
