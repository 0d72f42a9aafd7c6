"""The keys that a user can log in with, from files and from the agent, each as something that
signs.

Rules: named keys are the only ones offered, as with IdentitiesOnly, unless ssh_config names them.
The order is that of ssh(1), so that what works there works here with no more attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import paramiko

from fleetaudit.model import SshConfig, SshTarget
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline
from fleetaudit.transport.ssh_command import shell_join, ssh_command_line

from .agent import Agent, AgentError, Reader, string
from .key_files import KeyFile, KeyFiles, Unusable

_AGENT_S = 5.0  # to list keys; a signature may wait for a touch, and has the whole deadline
_KEY_FIELDS = {b"ssh-ed25519": 1, b"ssh-rsa": 2, b"ecdsa-sha2-": 2}

Sign = Callable[[bytes, str, Deadline], bytes]
"""Returns the signature of data by an algorithm, in SSH's encoding; raises `AgentError`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One key: `label` for people, its public `blob`, and what signs with it.

    `signs_quickly` is true if a signature asks nobody and costs less than a round trip.
    """

    label: str
    blob: bytes
    sign: Sign
    signs_quickly: bool = False

    @property
    def type(self) -> str:
        """The type in the blob: ssh-ed25519, ssh-rsa, …-cert-v01@openssh.com."""
        return Reader(self.blob).string().decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Identities:
    """The keys to offer, most preferred first, and the keys that cannot be, with the reason."""

    usable: tuple[Identity, ...]
    unusable: tuple[Unusable, ...]


def select_identities(target: SshTarget, files: KeyFiles, deadline: Deadline) -> Identities:
    """Returns the keys for one target: the named ones, else the agent's and the default ones.

    Raises nothing: a key that cannot be offered, an agent that does not answer (within `_AGENT_S`
    seconds), and PubkeyAuthentication no of ssh_config are among the unusable ones.
    """
    config = target.ssh_config or SshConfig(identities_only=bool(target.private_keys))
    if config.public_keys:
        return _Selection(target, config, files, deadline).identities()
    reason = "ssh_config has PubkeyAuthentication no, or PreferredAuthentications without publickey"
    return Identities((), (Unusable(reason, ssh_command_line(target, target.user)),))


class _Selection:
    """The keys for one target."""

    def __init__(
        self, target: SshTarget, config: SshConfig, files: KeyFiles, deadline: Deadline
    ) -> None:
        self._target, self._config, self._files = target, config, files
        self._deadline = deadline
        self._unusable: list[Unusable] = []

    def identities(self) -> Identities:
        """Returns what to offer: certificates, then keys in the agent, then keys of files."""
        of_files = self._of_files()
        usable = self._certified(of_files)
        if not self._config.identities_only:
            in_both = {blob: key for blob, key in of_files.items() if blob in self._in_agent}
            usable = _in_order(usable, in_both, self._in_agent)
        usable = _in_order(usable, of_files)
        if not usable:
            self._explain_no_key()
        return Identities(tuple(usable.values()), tuple(self._unusable))

    def _explain_no_key(self) -> None:
        """Adds the reason why a target that names keys has none, if there is no other reason."""
        if self._target.private_keys and not self._unusable:
            reason = "ssh_config has IdentityFile none, and there is no key in an agent"
            self._unusable.append(Unusable(reason, "ssh-add -l"))

    @cached_property
    def _in_agent(self) -> dict[bytes, Identity]:
        """The keys of the agent, which is asked once, and only if its answer matters."""
        agent = self._agent()
        if not agent:
            return {}
        try:
            keys = agent.keys(self._deadline.within(_AGENT_S))
        except AgentError as e:
            self._unusable.append(Unusable(str(e), "ssh-add -l"))
            return {}
        return {blob: _identity_in_agent(agent, blob, comment) for blob, comment in keys}

    def _agent(self) -> Agent | None:
        """Returns the agent of IdentityAgent in ssh_config, else the user's, None for none."""
        if not self._target.use_agent:
            return None
        if self._config.agent:
            return Agent(self._config.agent)
        return Agent.of_user()

    def _of_files(self) -> dict[bytes, Identity]:
        """Returns the keys of the files, by blob."""
        identities: dict[bytes, Identity] = {}
        for path, file in self._files.keys.items():
            for found in self._of_file(path, file):
                self._add(found, identities)
        return identities

    def _add(self, found: Identity | Unusable, identities: dict[bytes, Identity]) -> None:
        """Adds a key to `identities`, or remembers why there is none.

        A default key file that does not exist needs no reason.
        """
        if isinstance(found, Identity):
            identities.setdefault(found.blob, found)
        elif self._target.private_keys or not found.missing:
            self._unusable.append(found)

    def _of_file(self, path: str, file: KeyFile) -> Iterator[Identity | Unusable]:
        """Yields what a file has: its certificate first, then the key, or why there is none."""
        if isinstance(file.private, Unusable):
            # The agent may have what we cannot open: an encrypted key, one on hardware, or one of
            # which only the .pub is here.
            blobs = filter(None, (file.certificate, file.public))
            in_agent = [self._in_agent[blob] for blob in blobs if blob in self._in_agent]
            yield from in_agent or (file.private,)
            return
        sign = _signer(file.private)
        quick = not isinstance(file.private, paramiko.RSAKey)  # 5 ms for one of 4096 bits
        if file.certificate:
            yield Identity(f"{path}-cert.pub", file.certificate, sign, quick)
        yield Identity(path, file.private.asbytes(), sign, quick)

    def _certified(self, of_files: dict[bytes, Identity]) -> dict[bytes, Identity]:
        """Returns the keys with a CertificateFile, by the blob of the certificate."""
        identities: dict[bytes, Identity] = {}
        for path, certificate in self._files.certificates.items():
            self._add(self._with_certificate(path, certificate, of_files), identities)
        return identities

    def _with_certificate(
        self, path: str, blob: bytes | Unusable, of_files: dict[bytes, Identity]
    ) -> Identity | Unusable:
        """Returns the key that a certificate is about, or why there is none."""
        if isinstance(blob, Unusable):
            return blob
        if blob in self._in_agent:
            return self._in_agent[blob]
        public = _certified_key(blob)
        key = of_files.get(public) or self._in_agent.get(public)
        if key:
            return Identity(path, blob, key.sign, key.signs_quickly)
        reason = f"there is no private key for the certificate {path}"
        return Unusable(reason, shell_join(["ssh-keygen", "-L", "-f", path]))


def _certified_key(certificate: bytes) -> bytes:
    """Returns the public key in a certificate (PROTOCOL.certkeys): its type, a nonce, then the
    fields of the key.
    """
    reader = Reader(certificate)
    key_type = reader.string().removesuffix(b"-cert-v01@openssh.com")
    reader.string()
    key = string(key_type)
    for _ in range(_field_count(key_type)):
        key += string(reader.string())
    return key


def _field_count(key_type: bytes) -> int:
    """Returns how many fields a public key of this type has, 0 for an unknown type."""
    return next((count for name, count in _KEY_FIELDS.items() if key_type.startswith(name)), 0)


def _in_order(*groups: dict[bytes, Identity]) -> dict[bytes, Identity]:
    """Returns the keys of all groups by blob, in their order; the first of each blob counts."""
    merged: dict[bytes, Identity] = {}
    for key in chain.from_iterable(group.values() for group in groups):
        merged.setdefault(key.blob, key)
    return merged


def _identity_in_agent(agent: Agent, blob: bytes, comment: str) -> Identity:
    """Returns a key for which the agent signs."""

    def sign(data: bytes, algorithm: str, deadline: Deadline) -> bytes:
        return agent.sign(blob, data, algorithm, deadline)

    return Identity(f"{printable_line(comment, 60) or 'a key'} (agent)", blob, sign)


def _signer(key: paramiko.PKey) -> Sign:
    """Returns what signs with a key of ours."""

    def sign(data: bytes, algorithm: str, deadline: Deadline) -> bytes:
        return key.sign_ssh_data(data, algorithm).asbytes()

    return sign
