"""Host certificates of OpenSSH: what they say, and for which host and time they are valid. Pure.

Rules: a certificate is hostile until its signature was verified by an SSH library (ssh/) and its
authority was found in known_hosts (host_keys). Format: OpenSSH's PROTOCOL.certkeys. What makes one
invalid is what makes it invalid to ssh: `sshkey_cert_check_host` in sshkey.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fleetaudit.text.sanitize import printable_line

from .ssh_fields import Fields, MalformedFieldsError, string_of

SUFFIX = "-cert-v01@openssh.com"
"""The end of the name of every type and algorithm of certificates."""

CA_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""How authorities may sign if CASignatureAlgorithms of ssh_config does not say so."""

CERTIFICATE_ALGORITHMS = tuple(
    f"{name}{SUFFIX}"
    for name in (
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    )
)
"""How hosts with a certificate may sign, in the order of OpenSSH."""

# The same types of keys, with the number of fields of each.
_KEY_FIELDS = {
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-rsa": 2,
}
_HOST = 2  # SSH_CERT_TYPE_HOST
_TYPES = (1, _HOST)
_MAX_PRINCIPALS = 256  # OpenSSH's own bound


@dataclass(frozen=True, slots=True)
class HostCertificate:
    """The fields of a certificate.

    `key_type` and `key` are the type and the blob of the host's plain key. `authority` is the blob
    of the key that signed, `algorithm` how it did, and `signature` signs `signed`. The times are in
    seconds since 1970. `verified` is whether the signature was found to be right.
    """

    key_type: str
    key: bytes
    serial: int
    kind: int
    key_id: bytes
    principals: tuple[bytes, ...]
    valid_after: int
    valid_before: int
    critical_options: tuple[bytes, ...]
    authority: bytes
    algorithm: str
    signed: bytes
    signature: bytes
    verified: bool = False


def is_certificate(blob: bytes) -> bool:
    """Returns whether a host key is a certificate, by its type."""
    return Fields(blob).name().endswith(SUFFIX)


def parse_certificate(blob: bytes) -> HostCertificate:
    """Returns the fields of a certificate; raises `MalformedFieldsError`."""
    fields = Fields(blob)
    key_type = fields.name().removesuffix(SUFFIX)
    if key_type not in _KEY_FIELDS:
        raise MalformedFieldsError(f"a certificate of an unknown type: {key_type!r}")
    fields.string()  # a nonce
    key = [fields.string() for _ in range(_KEY_FIELDS[key_type])]
    serial, kind = fields.number(8), fields.number(4)
    key_id, principals = fields.string(), tuple(Fields(fields.string()).strings())
    valid_after, valid_before = fields.number(8), fields.number(8)
    options = tuple(Fields(fields.string()).strings())
    _extensions = tuple(Fields(fields.string()).strings())
    fields.string()  # reserved
    authority = fields.string()
    signed = fields.taken()
    signature = fields.string()
    fields.end()
    if kind not in _TYPES or len(principals) > _MAX_PRINCIPALS:
        raise MalformedFieldsError("its kind or its number of principals is out of range")
    return HostCertificate(
        key_type=key_type,
        key=b"".join(map(string_of, (key_type.encode(), *key))),
        serial=serial,
        kind=kind,
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options=options[::2],
        authority=authority,
        algorithm=Fields(signature).name(),
        signed=signed,
        signature=signature,
    )


def why_refused(
    certificate: HostCertificate, name: str, now: float, ca_algorithms: Sequence[str]
) -> str:
    """Returns why a certificate by a trusted authority does not count for a host, "" if it does.

    `name` is the name that was asked for, or its HostKeyAlias; `now` is in seconds since 1970, and
    `ca_algorithms` are those that an authority may sign with.
    """
    algorithm = printable_line(certificate.algorithm, 100)
    problems = (
        (certificate.kind != _HOST, "it is for users, not for hosts"),
        (now < certificate.valid_after, f"it is not valid before {_time(certificate.valid_after)}"),
        (
            now >= certificate.valid_before,
            f"it expired on {_time(certificate.valid_before)}",
        ),
        (not _names(certificate, name), f"it is not for {name}, only for {_list(certificate)}"),
        (bool(certificate.critical_options), "it has a critical option, and no host's may"),
        (
            certificate.algorithm not in ca_algorithms,
            f"its authority signed with {algorithm}, which is not allowed",
        ),
        (
            not certificate.verified,
            f"the built-in client cannot verify a signature with {algorithm}",
        ),
    )
    return next((text for is_so, text in problems if is_so), "")


def _names(certificate: HostCertificate, name: str) -> bool:
    """Returns whether a certificate is for a name; without principals it is for every name."""
    encoded = name.encode("utf-8", "surrogateescape")
    return not certificate.principals or encoded in certificate.principals


def _list(certificate: HostCertificate) -> str:
    """Returns the principals for a reason; they are the host's bytes."""
    shown = [printable_line(name, 100) for name in certificate.principals[:5]]
    return ", ".join([*shown, *["…"][: len(certificate.principals) - len(shown)]])


def _time(seconds: int) -> str:
    """Returns a time of a certificate for a reason."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
