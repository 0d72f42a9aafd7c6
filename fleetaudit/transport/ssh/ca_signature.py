"""Reads the certificate that a host showed, and verifies the signature of its authority.

Rules: an algorithm that paramiko does not have (sk-… and SHA-1) is not verified, and such a
certificate counts for nothing.
"""

from __future__ import annotations

import dataclasses

import paramiko
from paramiko import Message

from fleetaudit.transport.host_certificates import HostCertificate, parse_certificate
from fleetaudit.transport.ssh_fields import Fields, MalformedFieldsError

from . import paramiko_numbers  # noqa: F401 — a host's numbers cost no time

# Types of an authority's key by how it signs, where they differ.
_KEY_TYPES = {"rsa-sha2-512": "ssh-rsa", "rsa-sha2-256": "ssh-rsa"}
_CLASSES: dict[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ecdsa-sha2-nistp256": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp384": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp521": paramiko.ECDSAKey,
    "rsa-sha2-512": paramiko.RSAKey,
    "rsa-sha2-256": paramiko.RSAKey,
}


def read_certificate(blob: bytes) -> HostCertificate:
    """Returns a certificate whose signature is right, or is of an algorithm that paramiko lacks.

    Raises `MalformedFieldsError`, as ssh refuses such a host.
    """
    certificate = parse_certificate(blob)
    algorithm = certificate.algorithm
    if algorithm not in _CLASSES:
        return certificate
    if not _is_signed(certificate):
        raise MalformedFieldsError("the signature of its authority is wrong")
    return dataclasses.replace(certificate, verified=True)


def _is_signed(certificate: HostCertificate) -> bool:
    """Returns whether the authority signed a certificate, with an algorithm that paramiko has."""
    algorithm, authority = certificate.algorithm, certificate.authority
    if Fields(authority).name() != _KEY_TYPES.get(algorithm, algorithm):
        return False
    try:
        _check_form(certificate.signature)
        key = _CLASSES[algorithm](Message(authority))
        return bool(key.verify_ssh_sig(certificate.signed, Message(certificate.signature)))
    except Exception:  # each of paramiko's parsers raises something else
        return False


def _check_form(signature: bytes) -> None:
    """Raises `MalformedFieldsError` if more follows than the algorithm and what it made of it.

    paramiko looks at no more than these two; OpenSSH refuses the rest (ssh_ed25519_verify() and its
    kind).
    """
    fields = Fields(signature)
    fields.name()
    fields.string()
    fields.end()
