"""The format of `services:` in a play, for `format.py`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fleetaudit.model import WRITINGS, ServiceCheckName, Writing

from .format_base import Because, ConditionFile, File, FindingSeverity, Fix, Tags

Status = Annotated[int, Meta(ge=100, le=599)]
IdleSeconds = Annotated[float, Meta(ge=1, le=3600)]
Method = Literal["POST", "PUT", "PATCH", "GET"]


class EarlyAnswerFile(File, frozen=True, kw_only=True):
    """What is expected of the answer to a request with a large body."""

    status: Annotated[
        Status | Annotated[list[Status], Meta(max_length=20)],
        Meta(description="The status, or the statuses, that each client must get. Default: any."),
    ] = []


class IdleFile(File, frozen=True, kw_only=True):
    """What is expected of an idle connection."""

    at_least: Annotated[
        IdleSeconds | None,
        Meta(
            description=(
                "The server must not close it earlier, in seconds: 61 for a load balancer that"
                " keeps it for 60."
            )
        ),
    ] = None
    wait: Annotated[
        IdleSeconds | None,
        Meta(description="When to stop waiting for the close, in seconds. Default: 120."),
    ] = None


class UnreadRequestFile(File, frozen=True, kw_only=True):
    """What is sent to a listener that may not understand it, and how it must close then."""

    send: Annotated[
        str,
        Meta(
            max_length=4000,
            pattern="^[\\x00-\\x7f]*$",
            description="What is sent, ASCII. Default: bytes that no protocol begins with.",
        ),
    ] = ""
    ending: Annotated[
        Literal["FIN", "RST"] | None, Meta(description="How the server must close.")
    ] = None


class ServiceFile(File, frozen=True, kw_only=True):
    """A listener of the host that `fleetaudit services` asks, and what is expected of it."""

    name: Annotated[
        str,
        Meta(
            pattern="^([A-Za-z0-9][A-Za-z0-9 ._-]*)?$",
            max_length=64,
            description="Its name in findings. Default: the URL, or the address and the port.",
        ),
    ] = ""
    url: Annotated[
        str, Meta(max_length=200, description="A URL of the host's loopback, or of `address`.")
    ] = ""
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="The port of a listener that does not speak HTTP."),
    ] = None
    address: Annotated[
        str,
        Meta(max_length=64, description="One of the host's own addresses. Default: its loopback."),
    ] = ""
    method: Annotated[Method, Meta(description="The method of a request with a large body.")] = (
        "POST"
    )
    body: Annotated[
        int | Annotated[str, Meta(max_length=20)],
        Meta(description="The size of a large body, such as 20MB or 512KiB; at most 1GB."),
    ] = "20MB"
    tries: Annotated[
        int, Meta(ge=1, le=20, description="How often each way of writing is tried.")
    ] = 4
    checks: Annotated[
        list[ServiceCheckName],
        Meta(max_length=4, description="What is checked. Default: all that fits."),
    ] = []
    writings: Annotated[
        list[Writing],
        Meta(
            min_length=1,
            max_length=5,
            description="How clients write a large body. Default: in each way.",
        ),
    ] = msgspec.field(default_factory=lambda: list(WRITINGS))
    early_answer: EarlyAnswerFile = EarlyAnswerFile()
    idle: IdleFile = IdleFile()
    unread_request: UnreadRequestFile = UnreadRequestFile()
    severity: FindingSeverity = "warning"
    because: Because = ""
    fix: Fix = ""
    tags: Tags = []
    when: ConditionFile = ConditionFile()
