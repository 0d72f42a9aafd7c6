"""Files of RevokedHostKeys: a list of public keys, or OpenSSH's own key revocation list. Pure.

Rules: what cannot be read revokes everything, as with ssh: the caller then trusts no key. Formats:
ssh-keygen(1), KEY REVOCATION LISTS, and OpenSSH's PROTOCOL.krl; a signed list is refused, because
nothing makes one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from .host_certificates import HostCertificate, is_certificate, parse_certificate
from .known_hosts import decode_key
from .ssh_fields import Fields, MalformedFieldsError

_MAGIC = b"SSHKRL\n\0"
_VERSION = 1
_NO_AUTHORITY = b""  # a section for certificates of every authority


@dataclass(slots=True)
class _Certificates:
    """The revoked certificates of one authority.

    A range of serial numbers has both its ends; a bitmap has its offset, for which the lowest bit
    is.
    """

    ranges: list[tuple[int, int]] = field(default_factory=list)
    bitmaps: list[tuple[int, int]] = field(default_factory=list)
    key_ids: set[bytes] = field(default_factory=set)

    def revokes(self, certificate: HostCertificate) -> bool:
        """Returns whether a certificate is revoked; serial number 0 means that it has none."""
        if certificate.key_id in self.key_ids:
            return True
        return certificate.serial > 0 and self._has_serial(certificate.serial)

    def _has_serial(self, serial: int) -> bool:
        """Returns whether a serial number is revoked."""
        if any(first <= serial <= last for first, last in self.ranges):
            return True
        return any(bits >> serial - at & 1 for at, bits in self.bitmaps if serial >= at)


@dataclass(slots=True)
class RevokedKeys:
    """What one file revokes: keys by their blobs and hashes, certificates by their authority."""

    keys: set[bytes] = field(default_factory=set)
    sha1: set[bytes] = field(default_factory=set)
    sha256: set[bytes] = field(default_factory=set)
    certificates: dict[bytes, _Certificates] = field(default_factory=dict)

    def revokes(self, blob: bytes, certificate: HostCertificate | None = None) -> bool:
        """Returns whether a plain key is revoked, or its certificate, or the authority of that."""
        if self._revokes_key(blob):
            return True
        if not certificate:
            return False
        authority = certificate.authority
        found = map(self.certificates.get, (authority, _NO_AUTHORITY))
        by_serial = any(section.revokes(certificate) for section in found if section)
        return by_serial or self._revokes_key(authority)

    def _revokes_key(self, blob: bytes) -> bool:
        """Returns whether a plain key is revoked."""
        sha1 = hashlib.sha1(blob, usedforsecurity=False).digest()
        return (
            blob in self.keys or sha1 in self.sha1 or hashlib.sha256(blob).digest() in self.sha256
        )


def parse_revoked_keys(data: bytes) -> RevokedKeys:
    """Returns what a file revokes; raises `MalformedFieldsError` if it cannot be read."""
    if data.startswith(_MAGIC):
        return _parse_list(data)
    lines = enumerate(data.decode("utf-8", "replace").split("\n"), 1)
    return RevokedKeys(keys={_parse_line(*item) for item in lines if _has_key(item[1])})


# -- a list of public keys


def _has_key(line: str) -> bool:
    """Returns whether a line is neither empty nor a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _parse_line(number: int, line: str) -> bytes:
    """Returns the plain key of a line such as "ssh-ed25519 AAAA… comment"."""
    key_type, key, *_ = [*line.split(), ""]
    blob = decode_key(key)
    if not blob or Fields(blob).name() != key_type:
        raise MalformedFieldsError(f"line {number} is not a public key")
    if is_certificate(blob):
        return parse_certificate(blob).key
    return blob


# -- a key revocation list


def _parse_list(data: bytes) -> RevokedKeys:
    """Returns what a key revocation list revokes."""
    fields = Fields(data)
    fields.number(len(_MAGIC))
    if (version := fields.number(4)) != _VERSION:
        raise MalformedFieldsError(f"it is a key revocation list of version {version}")
    fields.number(24)  # its own version, its date, flags
    fields.string()  # reserved
    fields.string()  # a comment
    revoked = RevokedKeys()
    sections: dict[int, Callable[[Fields], None]] = {
        1: lambda body: _read_certificates(body, revoked),
        2: lambda body: revoked.keys.update(body.strings()),
        3: lambda body: revoked.sha1.update(body.strings()),
        5: lambda body: revoked.sha256.update(body.strings()),
        255: _refuse_critical,
    }
    _read_sections(fields, sections)
    return revoked


def _read_sections(fields: Fields, sections: dict[int, Callable[[Fields], None]]) -> None:
    """Reads sections up to the end, each a number and a string."""
    while fields.has_more:
        number = fields.number(1)
        if number not in sections:
            raise MalformedFieldsError(f"it has a section of an unknown kind, {number}")
        sections[number](Fields(fields.string()))


def _read_certificates(body: Fields, revoked: RevokedKeys) -> None:
    """Reads the revoked certificates of one authority."""
    authority = body.string()
    body.string()  # reserved
    found = revoked.certificates.setdefault(authority, _Certificates())
    sections: dict[int, Callable[[Fields], None]] = {
        0x20: lambda part: found.ranges.extend((serial, serial) for serial in part.numbers(8)),
        0x21: lambda part: found.ranges.append((part.number(8), part.number(8))),
        0x22: lambda part: found.bitmaps.append(
            (part.number(8), int.from_bytes(part.string(), "big"))
        ),
        0x23: lambda part: found.key_ids.update(part.strings()),
        0x39: _refuse_critical,
    }
    _read_sections(body, sections)


def _refuse_critical(body: Fields) -> None:
    """Ignores an extension; raises `MalformedFieldsError` for one that must be understood."""
    name = body.name()
    if body.number(1):
        raise MalformedFieldsError(f"it has an extension of an unknown kind, {name[:100]!a}")
