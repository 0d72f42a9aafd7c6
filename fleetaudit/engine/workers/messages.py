"""What a worker sends back about the hosts of one batch: bytes, decoded into bounded types. Pure.

A worker may be as hostile as a host: what it sends is bounded before it is decoded, and each text
is sanitized where it becomes the reason of a host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from fleetaudit import __version__
from fleetaudit.errors import TransportError
from fleetaudit.model import DECODE_ERRORS, Frozen, LongText, ShortText, by_name
from fleetaudit.probe.protocol import probe_text
from fleetaudit.probe.request import ALL_PARTS
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Limits, Output

_LIMITS = Limits()
_MAX_TEXT = 4096
MAX_PER_HOST = _LIMITS.stdout + _LIMITS.stderr + 64 * 1024
"""Maximum number of bytes that a worker may send about one host."""


class Version(Frozen, frozen=True, kw_only=True):
    """Which fleetaudit a worker has: its version, and the digest of its probe's text."""

    fleetaudit: ShortText
    program: ShortText


class Printed(Frozen, frozen=True, kw_only=True, tag="printed"):
    """What a host printed; the fields are those of `transport.Output`.

    `nonce` is that of the request that the worker sent.
    """

    stdout: Annotated[bytes, Meta(max_length=_LIMITS.stdout)]
    stderr: Annotated[bytes, Meta(max_length=_LIMITS.stderr)] = b""
    exit_status: int | None = None
    cut: ShortText = ""
    nonce: ShortText = ""

    def as_output(self) -> Output:
        """Returns the output as a transport returns it."""
        return Output(
            stdout=self.stdout,
            stderr=self.stderr,
            exit_status=self.exit_status,
            cut=self.cut,
            nonce=self.nonce,
        )


class Failed(Frozen, frozen=True, kw_only=True, tag="failed"):
    """Why a worker could not run the probe; the fields are those of `TransportError`."""

    stage: ShortText
    reason: LongText
    hint: LongText = ""
    kind: ShortText = ""
    at: ShortText = ""
    changed_key: tuple[LongText, LongText] | None = None

    def as_error(self) -> TransportError:
        """Returns the error as a transport raises it, with sanitized texts.

        It is never transient: the worker has tried again.
        """
        changed_key = None
        if self.changed_key:
            known, shown = map(_printable, self.changed_key)
            changed_key = (known, shown)
        return TransportError(
            self.stage,
            _printable(self.reason),
            hint=_printable(self.hint),
            kind=_printable(self.kind),  # type: ignore[arg-type]  # any text groups hosts
            at=_printable(self.at),
            changed_key=changed_key,
        )


def _printable(text: str) -> str:
    """Returns a text of a worker as one printable line."""
    return printable_line(text, _MAX_TEXT)


class HostReport(Frozen, frozen=True, kw_only=True):
    """What a worker found at one host."""

    name: str
    found: Printed | Failed


_version_decoder = msgspec.msgpack.Decoder(Version)
_reports_decoder = msgspec.msgpack.Decoder(tuple[HostReport, ...])


class NotAReportError(Exception):
    """What a worker sent about a batch is not valid; the text is the reason."""


def own_version() -> Version:
    """Returns which fleetaudit this process has."""
    digest = hashlib.sha256(probe_text(ALL_PARTS).encode()).hexdigest()[:16]
    return Version(fleetaudit=__version__, program=digest)


def encode_version(version: Version) -> bytes:
    """Returns the bytes of a version."""
    return msgspec.msgpack.encode(version)


def why_version_differs(sent: object) -> str:
    """Returns why a worker with this version cannot take part, "" if it can.

    `sent` is what the worker sent: bytes of `encode_version`, or anything.
    """
    version = _decode_version(sent)
    own = own_version()
    if version is None:
        return "it does not say which fleetaudit it has"
    if version.fleetaudit != own.fleetaudit:
        return f"it has fleetaudit {version.fleetaudit}, and this is {own.fleetaudit}"
    if version.program != own.program:
        return f"its fleetaudit {own.fleetaudit} sends another probe than this one"
    return ""


def _decode_version(sent: object) -> Version | None:
    """Returns the version in what a worker sent, None if there is none."""
    if not isinstance(sent, bytes):
        return None
    try:
        return _version_decoder.decode(sent)
    except DECODE_ERRORS:
        return None


def encode_reports(reports: Iterable[HostReport]) -> bytes:
    """Returns the bytes of reports."""
    return msgspec.msgpack.encode(tuple(reports))


def decode_reports(sent: object, names: Collection[str]) -> dict[str, HostReport]:
    """Returns what a worker sent about the hosts with these names, by name.

    A host may be missing. Raises `NotAReportError` for anything that `encode_reports` does not
    make, that is too large, or that is about another host.
    """
    if not isinstance(sent, bytes):
        raise NotAReportError(f"the worker sent {type(sent).__name__} instead of its report")
    if len(sent) > MAX_PER_HOST * len(names):
        raise NotAReportError(f"the worker sent {len(sent)} bytes, more than its hosts may have")
    try:
        reports = _reports_decoder.decode(sent)
    except DECODE_ERRORS as e:
        raise NotAReportError(f"the worker sent no valid report: {e}") from e
    of_hosts = by_name(reports)
    if not of_hosts.keys() <= set(names) or len(of_hosts) != len(reports):
        raise NotAReportError("the worker sent a report about hosts that it was not given")
    return of_hosts
