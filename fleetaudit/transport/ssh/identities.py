"""The keys that a user can log in with: from files, from the agent, each as something that signs.

Rules: a key file is read once a process (an encrypted one costs a key derivation) and its passphrase is never asked
for. Named keys are the only ones offered, as with IdentitiesOnly, unless ssh_config names them. Order is as in ssh(1),
so that what works there works here with no more attempts.
"""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.ssh_exception import SSHException

from ...model import SshConfig, SshTarget
from .. import Deadline
from ..words import clean, shell, ssh_line
from .agent import Agent, AgentError, Reader, string

DEFAULT_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk")
"""The private keys that ssh(1) tries when none is named, in its order."""

_AGENT_S = 5.0  # for listing keys; a signature may wait for a touch, and has the whole deadline
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class Identity:
    """One key: `label` for people, its public `blob`, and what signs (data, algorithm, deadline) with it."""

    label: str
    blob: bytes
    sign: Callable[[bytes, str, Deadline], bytes]

    @property
    def type(self) -> str:
        """Returns the key's type as the blob names it: ssh-ed25519, ssh-rsa, …-cert-v01@openssh.com."""
        return Reader(self.blob).string().decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Unusable:
    """A key that cannot be offered: why, and the command that changes that."""

    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Identities:
    """What there is to offer, most preferred first, and what there is not."""

    usable: tuple[Identity, ...]
    unusable: tuple[Unusable, ...]


def identities(target: SshTarget, deadline: Deadline) -> Identities:
    """Returns the keys for one target: the named ones, else the agent's and the user's default ones."""
    config = target.ssh_config or SshConfig(identities_only=bool(target.private_keys))
    usable: dict[bytes, Identity] = {}
    unusable: list[Unusable] = []
    if not config.public_keys:
        none = Unusable("ssh_config says PubkeyAuthentication no", ssh_line(target, target.user or ""))
        return Identities((), (none,))

    @functools.cache
    def held() -> dict[bytes, Identity]:
        """Asks the agent, once, and only where its answer matters."""
        agent = (Agent(config.agent) if config.agent else Agent.of_user()) if target.use_agent else None
        if not agent:
            return {}
        try:
            keys = agent.keys(deadline.within(_AGENT_S))
        except AgentError as e:
            unusable.append(Unusable(str(e), "ssh-add -l"))
            return {}
        return {blob: _of_agent(agent, blob, comment) for blob, comment in keys}

    named = target.private_keys
    of_files: dict[bytes, Identity] = {}
    for path in (path for path in named or DEFAULT_KEYS if path != "none"):
        for found in _of_file(path, held):
            if isinstance(found, Identity):
                of_files.setdefault(found.blob, found)
            elif named or not found.reason.endswith(_ABSENT):
                unusable.append(found)
    for path in config.certificates:
        certified = _certified(path, of_files, held)
        if isinstance(certified, Identity):
            usable.setdefault(certified.blob, certified)
        else:
            unusable.append(certified)
    if not config.identities_only:
        usable.update({blob: of_files[blob] for blob in of_files if blob in held()})
        for blob, key in held().items():
            usable.setdefault(blob, key)
    for blob, key in of_files.items():
        usable.setdefault(blob, key)
    if not usable and not unusable and named:
        unusable.append(Unusable("ssh_config says IdentityFile none, and there is no key in an agent", "ssh-add -l"))
    return Identities(tuple(usable.values()), tuple(unusable))


def _certified(
    path: str, of_files: dict[bytes, Identity], held: Callable[[], dict[bytes, Identity]]
) -> Identity | Unusable:
    """Returns what a CertificateFile makes of the key that it is about, or why it makes nothing."""
    blob = _blob_of_line(_text(Path(path)))
    look = shell(["ssh-keygen", "-L", "-f", path])
    if not blob:
        return Unusable(f"the certificate {path} cannot be read", look)
    if agents := held().get(blob):
        return agents
    plain = _plain(blob)
    key = of_files.get(plain) or held().get(plain)
    if not key:
        return Unusable(f"there is no private key for the certificate {path}", look)
    return Identity(path, blob, key.sign)


_KEY_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-sha2-": 2}


def _plain(certificate: bytes) -> bytes:
    """Returns the public key in a certificate (PROTOCOL.certkeys): its type, a nonce, then the key's own fields."""
    reader = Reader(certificate)
    kind = reader.string().removesuffix(b"-cert-v01@openssh.com")
    reader.string()
    count = next((n for name, n in _KEY_FIELDS.items() if kind.startswith(name.encode())), 0)
    return string(kind) + b"".join(string(reader.string()) for _ in range(count))


def _of_agent(agent: Agent, blob: bytes, comment: str) -> Identity:
    return Identity(
        f"{clean(comment, 60) or 'a key'} (agent)",
        blob,
        lambda data, algorithm, deadline: agent.sign(blob, data, algorithm, deadline),
    )


# ---- files ---------------------------------------------------------------------------------------------------------

_ABSENT = "does not exist"
_loading = threading.Lock()


def _of_file(path: str, held: Callable[[], dict[bytes, Identity]]) -> Iterator[Identity | Unusable]:
    """Yields what a file gives: its certificate first, then the key, or why there is none."""
    certificate = _blob_of_line(_text(Path(path + "-cert.pub").expanduser()))
    with _loading:  # once, also when a hundred threads want it at the same time
        loaded = _load(path, _changed(path))
    if isinstance(loaded, Unusable):
        # The agent may have what we cannot open: an encrypted key, one on hardware, or only the .pub is here.
        blobs = (certificate, _public_blob(Path(path).expanduser()))
        kept = [held()[blob] for blob in blobs if blob and blob in held()]
        yield from kept or (loaded,)
        return
    if certificate:
        yield Identity(f"{path}-cert.pub", certificate, _signer(loaded))
    yield Identity(path, loaded.asbytes(), _signer(loaded))


def _signer(key: paramiko.PKey) -> Callable[[bytes, str, Deadline], bytes]:
    def sign(data: bytes, algorithm: str, deadline: Deadline) -> bytes:
        return key.sign_ssh_data(data, algorithm).asbytes()

    return sign


def _changed(path: str) -> tuple[int, int]:
    try:
        stat = Path(path).expanduser().stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _load(path: str, changed: tuple[int, int]) -> paramiko.PKey | Unusable:
    """Returns the private key in a file. `changed` keeps a replaced file from being taken for the old one."""
    look = shell(["ls", "-l", path])
    try:
        return _parsed(Path(path).expanduser())
    except FileNotFoundError:
        return Unusable(f"the private key {path} {_ABSENT}", look)
    except OSError as e:
        return Unusable(f"the private key {path} cannot be read: {(e.strerror or str(e)).lower()}", look)
    except paramiko.PasswordRequiredException:
        return Unusable(f"the private key {path} is encrypted and the agent does not have it", shell(["ssh-add", path]))
    except Exception as e:  # no two of the parsers beneath raise the same
        return Unusable(
            f"the private key {path} cannot be used: {clean(str(e))}", shell(["ssh-keygen", "-y", "-f", path])
        )


def _parsed(path: Path) -> paramiko.PKey:
    text = path.read_text("ascii", "replace")
    if _encrypted(text):
        raise paramiko.PasswordRequiredException
    reasons = list[str]()
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(str(path))
        except paramiko.PasswordRequiredException:
            raise
        except SSHException as e:
            reasons.append(str(e))
    kind_of = Reader(_public_blob(path) or b"").string().decode("ascii", "replace")
    raise SSHException(f"a key of the type {kind_of} needs the agent" if kind_of else reasons[-1])


def _openssh(text: str) -> Reader | None:
    """Returns a reader behind the magic of an OpenSSH private key (PROTOCOL.key), or None."""
    if "BEGIN OPENSSH PRIVATE KEY" not in text:
        return None
    body = "".join(line for line in text.split("\n") if line and not line.startswith("-")).strip()
    try:
        raw = base64.b64decode(body)
    except ValueError:
        return None
    return Reader(raw[len(_MAGIC) :]) if raw.startswith(_MAGIC) else None


def _encrypted(text: str) -> bool:
    reader = _openssh(text)
    return reader.string() not in (b"none", b"") if reader else "ENCRYPTED" in text


def _public_blob(path: Path) -> bytes | None:
    """Returns the public half of a private key file without opening it: from FILE.pub, or from its own head."""
    if path.suffix == ".pub":
        return _blob_of_line(_text(path))
    if blob := _blob_of_line(_text(path.with_name(path.name + ".pub"))):
        return blob
    reader = _openssh(_text(path))
    if not reader:
        return None
    for _ in range(3):  # cipher, key derivation, its options
        reader.string()
    return reader.string() if reader.number() == 1 else None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _blob_of_line(text: str) -> bytes | None:
    words = text.split(None, 2)
    try:
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else None
    except ValueError:
        return None
