"""Encodes the hosts of a run as lines, each value that several hosts have only once.

A value is looked up by its identity first, since most hosts of a run share the objects, and then by
a digest of its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from fleetaudit.model import (
    Audited,
    Connection,
    Evidence,
    Exposure,
    Finding,
    HostResult,
    NotAudited,
    NotSelected,
    Observation,
    Os,
    PeerWitness,
    Sysctl,
    UnreadSockets,
)
from fleetaudit.text.json_schema import encode_json

from .part_types import OWN, REFERENCES, AuditedRecord, ExposureRecord, ObservationRecord

_MAX_OBJECTS = 20_000
"""How many objects of a kind are kept for their identity; those of a larger run are forgotten."""


class _Kind:
    """The parts of one kind that are written already, by identity and by the digest of the bytes.

    An object is kept with its number, so that no other object gets its identity.
    """

    def __init__(self, name: str, encode: Callable[[Any], bytes]) -> None:
        self.name, self.encode = name, encode
        self.by_identity = dict[int, tuple[object, int]]()
        self.by_digest = dict[bytes, int]()


class PartWriter:
    """Makes the lines of the hosts of one file; its parts are numbered from `next_id`."""

    def __init__(self, next_id: int = 0) -> None:
        self._next_id = next_id
        self._new = list[bytes]()
        encoders: dict[str, Callable[[Any], bytes]] = {
            "evidence": _encode_evidence,
            "observation": self._encode_observation,
            "sysctl": _encode_sysctl,
            "finding": _encode_compact,
            "kernel": encode_json,
            "os": _encode_compact,
            "texts": encode_json,
            "notes": encode_json,
            "counters": encode_json,
            "places": encode_json,
            "observations": lambda value: self._encode_list("observation", value),
            "findings": lambda value: self._encode_list("finding", value),
            "sysctls": self._encode_sysctls,
        }
        self._kinds = {name: _Kind(name, encode) for name, encode in encoders.items()}
        self._last_sysctls = dict[str, tuple[Sysctl, int]]()

    def lines(self, host: HostResult) -> list[bytes]:
        """Returns the lines of the parts that are new with this host, and at last its own.

        They are returned again with the next host until `written` is called, so that a failed write
        loses no part. Raises what msgspec raises for a value that it cannot encode.
        """
        record = self._record(host) if isinstance(host, Audited) else _compact(host)
        return [*self._new, b'["host",%b]\n' % encode_json(record)]

    def written(self) -> None:
        """Takes note that the last lines are in the file."""
        self._new.clear()

    def _record(self, host: Audited) -> AuditedRecord:
        """Returns an audited host with numbers in place of its parts."""
        fields: dict[str, Any] = {field: getattr(host, field) for field in OWN}
        for field, kind in REFERENCES.items():
            fields[field] = self._number(kind, getattr(host, field))
        if host.exposure is not None:
            fields["exposure"] = self._exposure(host.exposure)
        return AuditedRecord(**fields)

    def _exposure(self, exposure: Exposure) -> ExposureRecord:
        """Returns an exposure with the names of its counters as a part."""
        return ExposureRecord(
            uptime_s=exposure.uptime_s,
            counters=self._number_of_new("counters", tuple(exposure.counters)),
            counts=tuple(exposure.counters.values()),
            unread_sockets=exposure.unread_sockets and _compact(exposure.unread_sockets),
        )

    def _number(self, kind_name: str, value: object) -> int:
        """Returns the number of a part, which becomes a new line if the file does not have it."""
        kind = self._kinds[kind_name]
        known = kind.by_identity.get(id(value))
        if known is not None:
            return known[1]
        number = self._number_of_new(kind_name, value)
        if len(kind.by_identity) >= _MAX_OBJECTS:
            kind.by_identity.clear()
        kind.by_identity[id(value)] = value, number
        return number

    def _number_of_new(self, kind_name: str, value: object) -> int:
        """Returns the number of the part with the bytes of a value whose identity is not known."""
        kind = self._kinds[kind_name]
        content = kind.encode(value)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        number = kind.by_digest.get(digest)
        if number is None:
            number = kind.by_digest[digest] = self._next_id
            self._next_id += 1
            self._new.append(b'["%b",%d,%b]\n' % (kind.name.encode(), number, content))
        return number

    def _encode_observation(self, o: Observation) -> bytes:
        """Returns an observation with the number of its evidence."""
        record = ObservationRecord(
            scenario=o.scenario,
            family=o.family,
            ending=o.ending,
            trials=o.trials,
            endings=o.endings,
            reason=o.reason,
            evidence=self._number("evidence", o.evidence),
            same_as=o.evidence.same_as,
        )
        return encode_json(record)

    def _encode_sysctls(self, sysctls: dict[str, Sysctl]) -> bytes:
        """Returns the numbers of the entries."""
        return encode_json(list(map(self._sysctl_number, sysctls.items())))

    def _sysctl_number(self, entry: tuple[str, Sysctl]) -> int:
        """Returns the number of one entry; the last object with its key is known by its identity.

        One object may be the value of several keys, and an entry is a new tuple each time.
        """
        key, sysctl = entry
        last = self._last_sysctls.get(key)
        if last is not None and last[0] is sysctl:
            return last[1]
        number = self._number_of_new("sysctl", entry)
        self._last_sysctls[key] = sysctl, number
        return number

    def _encode_list(self, kind: str, values: Iterable[object]) -> bytes:
        """Returns the numbers of parts of one kind."""
        return encode_json([self._number(kind, value) for value in values])


def _encode_evidence(evidence: Evidence) -> bytes:
    """Returns evidence without the name of another host, which is the observation's."""
    return _encode_compact(replace(evidence, same_as=""))


def _encode_sysctl(entry: tuple[str, Sysctl]) -> bytes:
    """Returns a key with its sysctl."""
    key, sysctl = entry
    return encode_json((key, _compact(sysctl)))


def _encode_compact(value: msgspec.Struct) -> bytes:
    """Returns a value of the model without its defaults."""
    return encode_json(_compact(value))


_WITH_DEFAULTS = (
    Connection,
    Evidence,
    Finding,
    NotAudited,
    NotSelected,
    Os,
    PeerWitness,
    Sysctl,
    UnreadSockets,
)
"""The types of the model whose defaults are left out."""


@cache
def _compact_type(type_: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Returns a type like one of the model that is encoded without its defaults."""
    return msgspec.defstruct(
        type_.__name__, (), bases=(type_,), frozen=True, kw_only=True, omit_defaults=True
    )


def _compact(value: msgspec.Struct) -> Any:
    """Returns a value of the model, and the values in it, of types without defaults."""
    fields = asdict(value)
    for name, field in fields.items():
        if type(field) in _WITH_DEFAULTS:
            fields[name] = _compact(field)
    return _compact_type(type(value))(**fields)
