"""paramiko's Transport, without what is equal for many hosts: algorithms are chosen once, not for
every connection.

Rules: paramiko's own code builds our KEXINIT and agrees with the host's. This module keeps the
result: our lists by the options they follow from, and what was agreed on by the bytes of both
sides. Measured for one connection (CPU): our KEXINIT 35 us before and 3 after, the agreement 75 and
5. paramiko's internals are named in here and in `session` only.

The first cipher is AES-GCM, which needs no MAC: 120 KB cost 20 us, with AES-CTR and HMAC-SHA256
150, and each small message 10 us less. The key exchanges stay in paramiko's order, as OpenSSH has
them: nistp256 would save 60 us of curve25519's 120, which is not worth another first choice.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import paramiko
from paramiko import Message
from paramiko.common import MSG_KEXINIT
from paramiko.kex_gex import KexGexSHA256
from paramiko.packet import Packetizer

from fleetaudit.model import SshConfig
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport.host_certificates import CERTIFICATE_ALGORITHMS
from fleetaudit.transport.ssh_fields import Fields

from . import paramiko_numbers  # noqa: F401 — a host's numbers cost no time
from .link import LinkError

_TYPE_AND_COOKIE = 17  # bytes of a KEXINIT before its lists (RFC 4253, section 7.1)
_KEXINIT = bytes([MSG_KEXINIT])
_COOKIE = 16
_GEX_GROUP = 31  # SSH_MSG_KEX_DH_GEX_GROUP
# Keywords of ssh_config, and what paramiko's security options call them.
_KINDS = {
    "Ciphers": "ciphers",
    "MACs": "digests",
    "KexAlgorithms": "kex",
    "HostKeyAlgorithms": "key_types",
}
_FIRST_CHOICES = {
    "ciphers": ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com"),
    "digests": ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"),
}
_PARAMIKO_NAMES = {"curve25519-sha256": "curve25519-sha256@libssh.org"}  # RFC 8731, section 1
_PREFERENCES = ("ciphers", "macs", "keys", "kex")  # of a Transport, as _preferred_NAME
_AGREED = (
    "host_key_type", "local_cipher", "remote_cipher", "local_mac", "remote_mac",
    "local_compression", "remote_compression", "agreed_on_strict_kex", "_remote_ext_info",
)  # fmt: skip
_MAX_AGREEMENTS, _MAX_LISTS = 64, 8192  # how many are kept, and for how many bytes of the host's

# Typed Any on purpose: these are paramiko's internals, and nobody types them.
_Transport: Any = paramiko.Transport


class OtherHostKeyError(Exception):
    """A host showed another key than at the beginning of the connection."""

    def __init__(self, first: bytes, shown: bytes) -> None:
        self.first, self.shown = first, shown
        super().__init__("another host key")


class Offer(msgspec.Struct, frozen=True):
    """Our algorithms: the lists of our KEXINIT as they are sent, and paramiko's preferences."""

    lists: bytes
    preferences: dict[str, tuple[str, ...]]


class _Agreement(msgspec.Struct, frozen=True):
    """What was agreed on: the class of the key exchange, and attributes of a Transport.

    `length` is how many bytes of the host's KEXINIT are part of the exchange hash.
    """

    key_exchange: Any
    values: dict[str, Any]
    length: int


_agreements: dict[tuple[bytes, bytes], _Agreement] = {}


def offer_for(config: SshConfig, preferred: Sequence[str]) -> Offer:
    """Returns our algorithms: those that ssh_config lists, in its order, else our own.

    `preferred` are host key algorithms to ask for first; those that are not supported are ignored.
    Raises `LinkError` if ssh_config lists none that the built-in client knows.
    """
    listed = (config.ciphers, config.macs, config.key_exchanges, config.host_key_algorithms)
    return _offer(listed, tuple(preferred))


@functools.lru_cache(maxsize=256)
def _offer(listed: tuple[tuple[str, ...] | None, ...], preferred: tuple[str, ...]) -> Offer:
    """Returns the offer for the lists of ssh_config, from paramiko's own KEXINIT."""
    template = _Template(NoSocket(), packetizer_class=_Unsent)
    options = template.get_security_options()
    options.key_types = (*options.key_types, *CERTIFICATE_ALGORITHMS)
    for (keyword, name), algorithms in zip(_KINDS.items(), listed, strict=True):
        if algorithms is None:
            _put_first(options, name, _FIRST_CHOICES.get(name, ()))
        else:
            _restrict(options, keyword, name, algorithms)
    _put_first(options, "key_types", preferred)
    template._send_kex_init()
    attributes = [f"_preferred_{name}" for name in _PREFERENCES]
    return Offer(
        lists=template.local_kex_init[_TYPE_AND_COOKIE:],
        preferences={name: getattr(template, name) for name in attributes},
    )


def _put_first(options: Any, name: str, first: Sequence[str]) -> None:
    """Moves those algorithms that are known to the beginning of one kind's list."""
    known = getattr(options, name)
    setattr(options, name, tuple(dict.fromkeys((*filter(known.__contains__, first), *known))))


def _restrict(options: Any, keyword: str, name: str, listed: tuple[str, ...]) -> None:
    """Restricts one kind of algorithms; raises `LinkError`."""
    known = getattr(options, name)
    names = [_PARAMIKO_NAMES.get(algorithm, algorithm) for algorithm in listed]
    common = tuple(dict.fromkeys(filter(known.__contains__, names)))
    if not common:
        raise LinkError(
            "incompatible",
            f"no algorithm in common for {keyword}: ssh_config has"
            f" {printable_line(','.join(listed))}, the built-in client knows {','.join(known)}",
        )
    setattr(options, name, common)


class _Template(_Transport):  # type: ignore[misc]
    """A Transport that sends its host key algorithms in our order."""

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The host key algorithms, to which paramiko itself would add those of certificates."""
        algorithms: tuple[str, ...] = self._preferred_keys
        return algorithms


class ParamikoTransport(_Template):
    """One connection's protocol code, driven message by message; its thread is never started."""

    def __init__(self, stream: Packetizer) -> None:
        # Without a thread and locks of its own: nothing starts the one or waits for the others.
        self.__dict__.update(_new_transport())
        self.packetizer = stream
        self._offer = Offer(b"", {})
        self._secret_and_hash = b"", b""  # of the exchange with this hash
        self.shown_key = b""
        """The key or certificate that the host showed, as it sent it."""

    def propose(self, offer: Offer) -> None:
        """Sends our KEXINIT, and expects the host's."""
        self._offer = offer
        self.__dict__.update(offer.preferences)
        self._send_kex_init()
        self._expect_packet(MSG_KEXINIT)

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        """Verifies that the host's key signed the exchange.

        Raises `OtherHostKeyError` for another key than before (RFC 4253, section 9, allows it;
        nobody would check it again), `LinkError` for a key that is not of the agreed type.
        """
        if self.shown_key not in (b"", host_key):
            raise OtherHostKeyError(self.shown_key, host_key)
        if Fields(host_key).name() != _key_type(self.host_key_type):
            raise LinkError("garbled", f"a host key that is not {self.host_key_type}")
        super()._verify_key(host_key, sig)
        self.shown_key = host_key

    def _filter_algorithm(self, type_: str) -> tuple[str, ...]:
        """Returns our algorithms of one kind; none of them is disabled."""
        algorithms: tuple[str, ...] = getattr(self, f"_preferred_{type_}")
        return algorithms

    def _send_kex_init(self) -> None:
        """Sends our KEXINIT, of which only the cookie is new."""
        self.clear_to_send.clear()
        self.in_kex = True
        self.local_kex_init = _KEXINIT + os.urandom(_COOKIE) + self._offer.lists
        self._latest_kex_init = self.local_kex_init
        self._send_message(Message(self.local_kex_init))

    def _parse_kex_init(self, m: Message) -> None:
        """Chooses the algorithms, or takes those that were chosen for the same lists before."""
        received = m.asbytes()
        key = self._offer.lists, received[_COOKIE:]
        # Only the first exchange's KEXINIT says whether the strict one is agreed on.
        agreement = None if self.initial_kex_done else _agreements.get(key)
        if agreement and not m.seqno:
            self.__dict__.update(agreement.values)
            self.kex_engine = agreement.key_exchange(self)
            self.remote_kex_init = _KEXINIT + received[: agreement.length]
            return
        super()._parse_kex_init(m)
        if len(received) <= _MAX_LISTS and not self.initial_kex_done:
            self._keep(key)

    def parse_key_exchange(self, ptype: int, message: Message) -> None:
        """Takes a message of the key exchange's own method.

        Raises `LinkError` for a group with a negative prime, for which paramiko would look for a
        smaller exponent without end; and many kinds of errors.
        """
        if ptype == _GEX_GROUP and isinstance(self.kex_engine, KexGexSHA256):
            _check_prime(message)
        self.kex_engine.parse_next(ptype, message)

    def _keep(self, key: tuple[bytes, bytes]) -> None:
        """Keeps what was agreed on, for hosts with the same lists."""
        if len(_agreements) >= _MAX_AGREEMENTS:
            _agreements.clear()
        values = {name: getattr(self, name) for name in _AGREED}
        length = len(self.remote_kex_init) - len(_KEXINIT)
        _agreements[key] = _Agreement(type(self.kex_engine), values, length)

    def _compute_key(self, id: str, nbytes: int) -> bytes:
        """Returns a key (RFC 4253, section 7.2); all six begin with the same bytes."""
        if self._secret_and_hash[1] != self.H:
            shared = Message()
            self._add_K(shared)
            self._secret_and_hash = shared.asbytes(), self.H
        begin = b"".join(self._secret_and_hash)
        key = self.kex_engine.hash_algo(begin + id.encode() + self.session_id).digest()
        if nbytes > len(key):
            return bytes(super()._compute_key(id, nbytes))
        return bytes(key[:nbytes])

    def _log(self, level: int, msg: Any, *args: Any) -> None:
        """Logs nothing: what a person needs to know is in the reason."""


def _key_type(algorithm: str) -> str:
    """Returns the type of the keys that sign with an algorithm (RFC 8332)."""
    return re.sub(r"^rsa-sha2-(256|512)", "ssh-rsa", algorithm)


def _check_prime(group: Message) -> None:
    """Raises `LinkError` unless the prime of a group (RFC 4419, section 3) is positive."""
    if group.get_mpint() <= 0:
        raise LinkError("garbled", "a Diffie-Hellman group whose prime is not positive")
    group.rewind()


@functools.cache
def _new_transport() -> dict[str, Any]:
    """Returns the attributes of a Transport that was just made; none is changed in place."""
    attributes: dict[str, Any] = vars(_Transport(NoSocket(), packetizer_class=_Unsent))
    return attributes


class NoSocket:
    """Takes the place of paramiko's socket, which only gets a timeout."""

    def settimeout(self, seconds: float) -> None:
        """Does nothing: the link has its deadline."""


class _Unsent(Packetizer):
    """Sends nothing."""

    def write_all(self, out: object) -> None:
        """Drops the bytes."""
