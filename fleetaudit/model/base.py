"""The base of every noun of the model, and the bounded types of values that a host sends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta

ShortText = Annotated[str, Meta(max_length=256)]
LongText = Annotated[str, Meta(max_length=4096)]
Microseconds = Annotated[int, Meta(ge=-(10**12), le=10**12)]
"""Microseconds; negative where a clock was set back."""
UInt32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
"""A field of a segment, or what one trial can count."""
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""A counter since boot."""
PortNumber = Annotated[int, Meta(ge=0, le=0xFFFF)]
Seconds = Annotated[float, Meta(ge=0, le=3.2e9)]
"""A duration or a time since 1970, in seconds; at most a hundred years."""

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of decoding bytes that do not match their type: msgspec also raises Python's own.
"""


class Frozen(msgspec.Struct, frozen=True):
    """The base of every noun: immutable, fields by name; unknown keys of a newer format are
    ignored.
    """


class _Named(Protocol):
    """What has a name: a host in any state, a scenario, a service."""

    @property
    def name(self) -> str:
        """The name, by which it is looked up."""


_AnyNamed = TypeVar("_AnyNamed", bound=_Named)


def by_name(values: Iterable[_AnyNamed]) -> dict[str, _AnyNamed]:
    """Returns values by their names, in their order; the last one of a name counts."""
    return {value.name: value for value in values}
