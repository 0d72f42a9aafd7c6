"""Reads the services that a play asks, and refuses whatever is not a listener of the host. Pure.

Rules: a request never leaves the host: the address is one of its loopback's, or one that the
playbook names and the probe finds on the host. A playbook and a run are no place for secrets: a URL
with a password or a token is refused.
"""

from __future__ import annotations

import functools
import ipaddress
import operator
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from fleetaudit.model import SERVICE_CHECKS, Service, ServiceCheckName
from fleetaudit.text.document import Document, ValuePath

from .expectation_tests import normalize_spaces
from .expectations import parse_condition
from .service_format import ServiceFile

LOOPBACK = "127.0.0.1"
MAX_BODY = 1_000_000_000
USUAL_WAIT_S, SPARE_S = 120.0, 5.0
_PORTS = {"http": 80, "https": 443}
_KEYS: dict[str, ServiceCheckName] = {
    "early_answer": "early answer",
    "idle": "idle",
    "unread_request": "unread request",
}
"""The keys of a service that are about one check."""
_REFUSED = (
    (
        re.compile(r"\{[{%]"),
        "a playbook has no variables, and a URL no template",
        "write the URL out",
    ),
    (
        re.compile("[^!-~]"),
        "a URL has visible ASCII characters only",
        "write others as %20",
    ),
    (
        re.compile("^(?!https?://)"),
        "a URL begins with http:// or https://",
        "for other protocols, name the “port:”",
    ),
    (
        re.compile("^[^/]*//[^/?#]*@"),
        "a URL without a user and a password: reports show it",
        "leave them out",
    ),
    (
        re.compile(
            "(?<=[?&;])[^=&;]*(?:pass|pwd|secret|token|key(?!word)|auth(?!or(?!iz))|credential"
            "|signature|session)[^=&;]*",
            re.IGNORECASE,
        ),
        "“{}” in a URL looks like a secret, and reports show the URL",
        "ask a URL that needs none: a request that is refused shows the same close",
    ),
    (
        re.compile(r"^(?!https?://[\w.:\[\]-]+(?:/|$))", re.ASCII),
        "not a URL of a host and a path",
        "url: http://127.0.0.1:8080/",
    ),
    (
        re.compile("#"),
        "a URL without “#”: a client does not send what follows",
        "leave it out",
    ),
)
"""What a URL must not have: the pattern, and the message and the hint of the error."""
_SIZE = re.compile(r"([0-9]{1,10}) ?([KMG]i?)?B?")
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NO_ADDRESS = ipaddress.IPv4Address(0)


class _Place(NamedTuple):
    """The address and the port of a listener."""

    address: str
    port: int


def build_services(
    document: Document, files: Sequence[ServiceFile], where: ValuePath
) -> tuple[Service, ...]:
    """Returns the services of a play, in the order of the file.

    `where` is the path of their list. Raises `InputError` at the line of the mistake: a URL of
    another host, a check that does not fit, a name that two services have.
    """
    services = dict[str, Service]()
    for number, file in enumerate(files):
        at = (*where, number)
        service = _build_service(document, file, at)
        if service.name in services:
            raise document.error(
                f"two services of the name “{service.name}”", at, hint="give one a “name:”"
            )
        services[service.name] = service
    return tuple(services.values())


def _build_service(document: Document, file: ServiceFile, where: ValuePath) -> Service:
    """Returns one service."""
    address, port = _place(document, file, where)
    checks = _checks(document, file, where)
    at_least, wait = _idle(document, file, where)
    service = Service(
        name=file.name.strip(),
        url=file.url,
        address=address,
        port=port,
        method=file.method,
        body=_body(document, file.body, (*where, "body")),
        tries=file.tries,
        payload=file.unread_request.send,
        checks=checks,
        writings=tuple(dict.fromkeys(file.writings)),
        statuses=_statuses(file.early_answer.status),
        idle_at_least=at_least,
        idle_at_most=wait,
        ending=file.unread_request.ending or "",
        severity=file.severity,
        because=normalize_spaces(file.because),
        fix=file.fix.strip(),
        tags=tuple(file.tags),
        when=parse_condition(document, file.when, where),
    )
    return msgspec.structs.replace(service, name=service.name or service.target)


# ---- where


def _place(document: Document, file: ServiceFile, where: ValuePath) -> _Place:
    """Returns the listener of a service; raises `InputError` unless it is the host's own.

    That an address which the playbook names is the host's own, only the probe can tell.
    """
    has_port = file.port is not None
    _refuse(
        document,
        where,
        (
            bool(file.url) == has_port,
            "a service has either a “url:” or a “port:”",
            "url: http://127.0.0.1:8080/",
        ),
    )
    address = _address(document, file.address, (*where, "address"))
    if has_port:
        return _Place(address or LOOPBACK, file.port or 0)
    return _url_place(document, file.url, address, (*where, "url"))


def _address(document: Document, text: str, where: ValuePath) -> str:
    """Returns an address as it is usually written, "" for ""; raises `InputError` for one that no
    client connects to.
    """
    address = _parse_ip(text or LOOPBACK)
    kinds = address.is_multicast, address.is_unspecified, address.is_link_local
    _refuse(
        document,
        where,
        (
            any((*kinds, getattr(address, "ipv4_mapped", None), "%" in text)),
            f"not an IP address that a client connects to: “{text}”",
            "name one of the host's own addresses",
        ),
    )
    return str(address) if text else ""


def _url_place(document: Document, url: str, address: str, where: ValuePath) -> _Place:
    """Returns the listener of a URL; `address` is the one that the service names, "" for none.

    With such an address the host of the URL may be a name, which is only sent and never resolved.
    """
    parts = _split_url(document, url, where)
    name = (parts.hostname or "").lower()
    own = _parse_ip(LOOPBACK if name == "localhost" else name)
    is_other_address = not own.is_unspecified and str(own) != address
    _refuse(
        document,
        where,
        (
            not address and not own.is_loopback,
            f"a service is asked on the host itself, never on another one: {name} is not its"
            " loopback",
            f"if the host itself serves it, add:  address: {LOOPBACK}",
        ),
        (
            bool(address) and is_other_address,
            f"the URL has the address {own}, and “address:” is {address}",
            "make the two agree, or leave out “address:”",
        ),
    )
    return _Place(address or str(own), parts.port or _PORTS[parts.scheme])


def _split_url(document: Document, url: str, where: ValuePath) -> SplitResult:
    """Returns the parts of a URL; raises `InputError` for one that cannot be asked."""
    for pattern, message, hint in _REFUSED:
        found = pattern.search(url)
        _refuse(document, where, (bool(found), message.format(found and found[0]), hint))
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.hostname) and parts.port != 0
    except ValueError as e:
        raise document.error(f"not a URL: {e}", where) from None
    no_host = (not is_complete, "a URL without a host, or with the port 0", "write the URL out")
    _refuse(document, where, no_host)
    return parts


def _parse_ip(text: str) -> IpAddress:
    """Returns an IP address, or the unspecified one if a text has no address."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return _NO_ADDRESS


def _refuse(document: Document, where: ValuePath, *problems: tuple[bool, str, str]) -> None:
    """Raises `InputError` for the first problem that there is.

    Each is whether it is there, the message and the hint.
    """
    for is_wrong, message, hint in problems:
        if is_wrong:
            raise document.error(message, where, hint=hint)


# ---- what


def _checks(
    document: Document, file: ServiceFile, where: ValuePath
) -> tuple[ServiceCheckName, ...]:
    """Returns the checks of a service: all that fit, or those that it names.

    Raises `InputError` for a check of HTTP on a bare port, and for a key about no check of it.
    """
    fitting = SERVICE_CHECKS if file.url else ("unread request",)
    checks = tuple(dict.fromkeys(file.checks)) or fitting
    strange = ", ".join(sorted({*checks}.difference(fitting)))
    of_url = bool(strange), f"asked of a URL only: {strange}", "name the “url:” of the service"
    _refuse(document, (*where, "checks"), of_url)
    written = functools.reduce(operator.getitem, where, document.value)
    for key, check in _KEYS.items():
        if key in written and check not in checks:
            raise document.error(f"“{key}:” without the check “{check}”", (*where, key), key=True)
    return checks


def _idle(document: Document, file: ServiceFile, where: ValuePath) -> tuple[float | None, float]:
    """Returns how long an idle connection is to stay open, and how long to wait at most."""
    at_least, wait = file.idle.at_least, file.idle.wait
    usual = max(USUAL_WAIT_S, (at_least or 0.0) + SPARE_S)
    least, wait = at_least or 0.0, wait or usual
    too_short = (
        wait <= least,
        f"a wait of {wait:g} s shows no close after {least:g} s",
        f"wait: {least + SPARE_S:g}",
    )
    _refuse(document, (*where, "idle", "wait"), too_short)
    return at_least, wait


def _statuses(status: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the expected statuses, () for any."""
    if isinstance(status, int):
        return (status,)
    return tuple(dict.fromkeys(status))


def _body(document: Document, size: int | str, where: ValuePath) -> int:
    """Returns a size in bytes; raises `InputError` for what is no size, or is above the limit."""
    match = _SIZE.fullmatch(str(size))
    number, unit = match.groups(default="") if match else ("0", "")
    total = int(number) * _UNITS[unit]
    no_size = (
        not 1 <= total <= MAX_BODY,
        f"not a size from 1 byte to 1 GB: “{size}”",
        "write it as 20MB or 512KiB",
    )
    _refuse(document, where, no_size)
    return total
