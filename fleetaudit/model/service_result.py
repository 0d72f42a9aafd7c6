"""Services: how a listener answered and closed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import Count, Frozen, LongText, Seconds, ShortText
from .evidence import Segment
from .service import ServiceCheckName


class ServiceTry(Frozen, frozen=True, kw_only=True):
    """What `count` equal tries of one check saw.

    `writing` is how the request was written, "" where there is one way. `status` is the HTTP status
    that the client got, 0 for none. A plain client that cannot send gives up, and has lost its
    answer: `unread_status` is the status that it could still have read, 0 for none. `ending` is how
    the connection ended for the client: "FIN", "RST", "open" if it was still open when the time was
    over, "" if there was none. `sent` is how many bytes of the body the client had sent at least,
    `error` the first error of the client. `seconds` is, for "idle", after how long the server
    closed, or how long the connection was open at least.
    """

    writing: ShortText = ""
    count: Count = 1
    status: Annotated[int, Meta(ge=0, le=999)] = 0
    unread_status: Annotated[int, Meta(ge=0, le=999)] = 0
    ending: Literal["FIN", "RST", "open", ""] = ""
    sent: Count = 0
    seconds: Seconds | None = None
    error: ShortText = ""


class ServiceCheck(Frozen, frozen=True, kw_only=True):
    """One check of a service; with a `problem`, why there are no `tries`, or not all of them.

    `wire` are the segments of the first try that lost its answer or was reset, where a capture was
    possible; the server is the closer.
    """

    check: ServiceCheckName
    tries: Annotated[tuple[ServiceTry, ...], Meta(max_length=200)] = ()
    wire: Annotated[tuple[Segment, ...], Meta(max_length=200)] = ()
    wire_note: LongText = ""
    problem: LongText = ""
    hint: LongText = ""


class ServiceResult(Frozen, frozen=True, kw_only=True):
    """How one listener answered and closed.

    `target` is what was asked: the URL, or the address and the port. `server` is what it calls
    itself (the Server header), `executable` and `unit` are those of the listening process where
    they could be read.
    """

    name: ShortText
    target: ShortText = ""
    server: ShortText = ""
    executable: ShortText = ""
    unit: ShortText = ""
    checks: Annotated[tuple[ServiceCheck, ...], Meta(max_length=8)] = ()
    problem: LongText = ""
    hint: LongText = ""
