"""The keys that a user can log in with: from files, from the agent, each as something that signs.

Rules: a key file is parsed once a process, and its passphrase is never asked for. Only regular
files of a bounded size are read, each by hosts that use it and within their own limits. As in
ssh(1), a private key that others may read is not used. Named keys are the only ones offered, as
with IdentitiesOnly, unless ssh_config names them. Order is as in ssh(1), so that what works there
works here with no more attempts.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.ssh_exception import SSHException

from fleetaudit.model import SshConfig, SshTarget
from fleetaudit.text.files import expand_home, read_file, read_file_and_status
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline
from fleetaudit.transport.file_reader import shared_reader
from fleetaudit.transport.ssh_command import permissions_too_open, shell_join, ssh_command_line
from fleetaudit.transport.ssh_files import DEFAULT_KEYS

from .agent import (
    Agent,
    AgentError,
    Reader,
    string,
)

_AGENT_S = 5.0  # for listing keys; a signature may wait for a touch, and has the whole deadline
_MAGIC = b"openssh-key-v1\0"
_FILE_MAX = 1024 * 1024  # bytes of a file with a key or a certificate; OpenSSH's own bound


@dataclass(frozen=True, slots=True)
class Identity:
    """One key: `label` for people, its public `blob`, and what signs (data, algorithm, deadline)
    with it.
    """

    label: str
    blob: bytes
    sign: Callable[[bytes, str, Deadline], bytes]

    @property
    def type(self) -> str:
        """Returns the key's type as the blob names it: ssh-ed25519, ssh-rsa,
        …-cert-v01@openssh.com.
        """
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


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The files of one target by path: its private keys, in order, and its certificates."""

    keys: dict[str, _KeyFile]
    certificates: dict[str, bytes | Unusable]


def read_key_files(target: SshTarget, deadline: Deadline) -> KeyFiles:
    """Reads the target's key files. A slow one costs at most the target's `connect_timeout_s`."""
    until = deadline.within(target.connect_timeout_s)
    certificates = target.ssh_config.certificates if target.ssh_config else ()
    paths = target.private_keys or DEFAULT_KEYS
    return KeyFiles(
        {path: _key_file(path, until) for path in paths if path != "none"},
        {path: _certificate(path, until) for path in certificates},
    )


def select_identities(target: SshTarget, files: KeyFiles, deadline: Deadline) -> Identities:
    """Returns the keys for one target: the named ones, else the agent's and the user's default
    ones.
    """
    config = target.ssh_config or SshConfig(identities_only=bool(target.private_keys))
    usable: dict[bytes, Identity] = {}
    unusable: list[Unusable] = []
    if not config.public_keys:
        reason = (
            "ssh_config says PubkeyAuthentication no, or has no publickey in"
            " PreferredAuthentications"
        )
        none = Unusable(reason, ssh_command_line(target, target.user or ""))
        return Identities((), (none,))

    @functools.cache
    def held() -> dict[bytes, Identity]:
        """Asks the agent, once, and only where its answer matters."""
        agent = (
            (Agent(config.agent) if config.agent else Agent.of_user()) if target.use_agent else None
        )
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
    for path, file in files.keys.items():
        for found in _of_file(path, file, held):
            if isinstance(found, Identity):
                of_files.setdefault(found.blob, found)
            elif named or not found.reason.endswith(_ABSENT):
                unusable.append(found)
    for path, certificate in files.certificates.items():
        certified = _certified(path, certificate, of_files, held)
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
        unusable.append(
            Unusable(
                "ssh_config says IdentityFile none, and there is no key in an agent", "ssh-add -l"
            )
        )
    return Identities(tuple(usable.values()), tuple(unusable))


def _certified(
    path: str,
    blob: bytes | Unusable,
    of_files: dict[bytes, Identity],
    held: Callable[[], dict[bytes, Identity]],
) -> Identity | Unusable:
    """Returns what a CertificateFile makes of the key that it is about, or why it makes nothing."""
    if isinstance(blob, Unusable):
        return blob
    if agents := held().get(blob):
        return agents
    plain = _plain(blob)
    key = of_files.get(plain) or held().get(plain)
    if not key:
        look = shell_join(["ssh-keygen", "-L", "-f", path])
        return Unusable(f"there is no private key for the certificate {path}", look)
    return Identity(path, blob, key.sign)


_KEY_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-sha2-": 2}


def _plain(certificate: bytes) -> bytes:
    """Returns the public key in a certificate (PROTOCOL.certkeys): its type, a nonce, then the
    key's own fields.
    """
    reader = Reader(certificate)
    kind = reader.string().removesuffix(b"-cert-v01@openssh.com")
    reader.string()
    count = next((n for name, n in _KEY_FIELDS.items() if kind.startswith(name.encode())), 0)
    return string(kind) + b"".join(string(reader.string()) for _ in range(count))


def _of_agent(agent: Agent, blob: bytes, comment: str) -> Identity:
    return Identity(
        f"{printable_line(comment, 60) or 'a key'} (agent)",
        blob,
        lambda data, algorithm, deadline: agent.sign(blob, data, algorithm, deadline),
    )


# ---- files
# ---------------------------------------------------------------------------------------------------------

_ABSENT = "does not exist"


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """A private key's file and those beside it; `public` is read only if `private` is unusable."""

    private: paramiko.PKey | Unusable
    certificate: bytes | None = None
    public: bytes | None = None


def _key_file(path: str, deadline: Deadline) -> _KeyFile:
    def read() -> _KeyFile:
        file = expand_home(path)
        private = _private_key(path, file)
        certificate = _blob_of_line(_text_if_any(file.with_name(f"{file.name}-cert.pub")))
        public = _public_blob(file) if isinstance(private, Unusable) else None
        return _KeyFile(private, certificate, public)

    try:
        return shared_reader.get(("key", path), read, deadline)
    except OSError as e:
        return _KeyFile(_unreadable(path, e))


def _certificate(path: str, deadline: Deadline) -> bytes | Unusable:
    try:
        blob = shared_reader.get(
            ("certificate", path), lambda: _blob_of_line(_text(Path(path))), deadline
        )
    except OSError as e:
        return Unusable(
            f"the certificate {path} cannot be read: {_cause(e)}", shell_join(["ls", "-lL", path])
        )
    look = shell_join(["ssh-keygen", "-L", "-f", path])
    return blob or Unusable(f"the certificate {path} has no certificate in it", look)


def _of_file(
    path: str, file: _KeyFile, held: Callable[[], dict[bytes, Identity]]
) -> Iterator[Identity | Unusable]:
    """Yields what a file gives: its certificate first, then the key, or why there is none."""
    if isinstance(file.private, Unusable):
        # The agent may have what we cannot open: an encrypted key, one on hardware, or only the
        # .pub is here.
        blobs = (file.certificate, file.public)
        kept = [held()[blob] for blob in blobs if blob and blob in held()]
        yield from kept or (file.private,)
        return
    signer = _signer(file.private)
    if file.certificate:
        yield Identity(f"{path}-cert.pub", file.certificate, signer)
    yield Identity(path, file.private.asbytes(), signer)


def _signer(key: paramiko.PKey) -> Callable[[bytes, str, Deadline], bytes]:
    def sign(data: bytes, algorithm: str, deadline: Deadline) -> bytes:
        return key.sign_ssh_data(data, algorithm).asbytes()

    return sign


def _private_key(path: str, file: Path) -> paramiko.PKey | Unusable:
    try:
        return _load(path, _changed(file))
    except FileNotFoundError:
        return Unusable(f"the private key {path} {_ABSENT}", shell_join(["ls", "-l", path]))
    except OSError as e:
        return _unreadable(path, e)


def _changed(file: Path) -> tuple[int, int]:
    try:
        info = file.stat()
    except OSError:
        return (0, 0)
    return (info.st_ctime_ns, info.st_size)


@functools.lru_cache(maxsize=256)
def _load(path: str, changed: tuple[int, int]) -> paramiko.PKey | Unusable:
    """Returns the private key in a file; raises OSError, which is not cached because it may be
    temporary.

    `changed` keeps a replaced file from being taken for the old one.
    """
    file = expand_home(path)
    try:
        data, info = read_file_and_status(file, _FILE_MAX)
        if _too_open(info) and file.suffix != ".pub":
            mode = f"{stat.S_IMODE(info.st_mode):04o}"
            return Unusable(permissions_too_open(path, mode), shell_join(["chmod", "600", path]))
        return _parsed(data.decode("ascii", "replace"), file)
    except OSError:
        raise
    except paramiko.PasswordRequiredException:
        return Unusable(
            f"the private key {path} is encrypted and the agent does not have it",
            shell_join(["ssh-add", path]),
        )
    except Exception as e:  # no two of the parsers beneath raise the same
        return Unusable(
            f"the private key {path} cannot be used: {printable_line(str(e))}",
            shell_join(["ssh-keygen", "-y", "-f", path]),
        )


def _too_open(info: os.stat_result) -> bool:
    """Returns whether others may use a file of ours: OpenSSH's sshkey_perm_ok."""
    return stat.S_ISREG(info.st_mode) and info.st_uid == os.getuid() and bool(info.st_mode & 0o077)


def _unreadable(path: str, e: OSError) -> Unusable:
    return Unusable(
        f"the private key {path} cannot be read: {_cause(e)}", shell_join(["ls", "-lL", path])
    )


def _cause(e: OSError) -> str:
    return (e.strerror or str(e)).lower()


def _parsed(text: str, file: Path) -> paramiko.PKey:
    if _encrypted(text):
        raise paramiko.PasswordRequiredException
    reasons = list[str]()
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise
        except SSHException as e:
            reasons.append(str(e))
    kind_of = Reader(_public_blob(file) or b"").string().decode("ascii", "replace")
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
    """Returns the public half of a private key file without opening it: from FILE.pub, or from its
    own head.
    """
    if path.suffix == ".pub":
        return _blob_of_line(_text_if_any(path))
    if blob := _blob_of_line(_text_if_any(path.with_name(path.name + ".pub"))):
        return blob
    reader = _openssh(_text_if_any(path))
    if not reader:
        return None
    for _ in range(3):  # cipher, key derivation, its options
        reader.string()
    return reader.string() if reader.number() == 1 else None


def _text(path: Path) -> str:
    return read_file(path, _FILE_MAX).decode("ascii", "replace")


def _text_if_any(path: Path) -> str:
    try:
        return _text(path)
    except OSError:
        return ""


def _blob_of_line(text: str) -> bytes | None:
    words = text.split(None, 2)
    try:
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else None
    except ValueError:
        return None
