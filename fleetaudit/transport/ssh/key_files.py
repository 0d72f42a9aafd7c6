"""The files that a user logs in with: private keys, the certificates next to them, certificates
alone.

Rules: a key file is read and parsed once a run, and its passphrase is never asked for. Only regular
files of a bounded size are read, each by the first host that uses it and within its own limits. As
in ssh(1), a private key that others may read is not used.
"""

from __future__ import annotations

import base64
import io
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.ssh_exception import SSHException

from fleetaudit.model import SshTarget
from fleetaudit.text.files import expand_home, read_file, read_file_and_status
from fleetaudit.transport import Deadline, os_error_text
from fleetaudit.transport.file_cache import FileCache
from fleetaudit.transport.ssh_command import permissions_too_open, shell_join
from fleetaudit.transport.ssh_files import DEFAULT_KEYS
from fleetaudit.transport.ssh_options import config_of

from . import paramiko_numbers  # noqa: F401 — a file's numbers cost no time
from .agent import Reader

_MAGIC = b"openssh-key-v1\0"
_NOT_A_KEY = "it is no Ed25519, ECDSA or RSA key in a format that the built-in client reads"
_KEY_TYPE = re.compile(r"[A-Za-z0-9@._-]{1,64}")
_FILE_MAX = 1024 * 1024  # bytes of a file with a key or a certificate; OpenSSH's own bound


@dataclass(frozen=True, slots=True)
class Unusable:
    """A key that cannot be offered: the reason, and the command that changes that.

    `missing` is True if its file does not exist.
    """

    reason: str
    hint: str
    missing: bool = False


class _OtherTypeError(Exception):
    """A private key of a type that only an agent can use; the text names the type."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key's file and those next to it.

    `certificate` and `public` are raw blobs, None if there are none; `public` is read only if
    `private` is unusable, because the agent may have that key.
    """

    private: paramiko.PKey | Unusable
    certificate: bytes | None = None
    public: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The files of one target by path: its private keys, in order, and its certificates."""

    keys: dict[str, KeyFile]
    certificates: dict[str, bytes | Unusable]


def read_key_files(target: SshTarget, files: FileCache, deadline: Deadline) -> KeyFiles:
    """Reads the target's key files: those that it names, else the default ones of ssh(1).

    Those in `files` were read before. Raises nothing: what cannot be used is an `Unusable`. A slow
    file costs at most the target's `connect_timeout_s`.
    """
    until = deadline.within(target.connect_timeout_s)
    paths = target.private_keys or DEFAULT_KEYS
    return KeyFiles(
        {path: _read_key_file(path, files, until) for path in paths if path != "none"},
        {path: _read_certificate(path, files, until) for path in config_of(target).certificates},
    )


def _read_key_file(path: str, files: FileCache, deadline: Deadline) -> KeyFile:
    """Reads a private key and the files next to it."""

    def read() -> KeyFile:
        file = expand_home(path)
        private = _read_private_key(path, file)
        certificate = _parse_public_line(_text_if_any(file.with_name(f"{file.name}-cert.pub")))
        if isinstance(private, Unusable):
            return KeyFile(private, certificate, _public_key(file))
        return KeyFile(private, certificate)

    try:
        return files.get(("key", path), read, deadline)
    except OSError as e:
        return KeyFile(_unreadable(path, e))


def _read_certificate(path: str, files: FileCache, deadline: Deadline) -> bytes | Unusable:
    """Reads a CertificateFile."""

    def read() -> bytes | None:
        return _parse_public_line(_text(Path(path)))

    try:
        blob = files.get(("certificate", path), read, deadline)
    except OSError as e:
        reason = f"the certificate {path} cannot be read: {os_error_text(e)}"
        return Unusable(reason, shell_join(["ls", "-lL", path]))
    look = shell_join(["ssh-keygen", "-L", "-f", path])
    return blob or Unusable(f"the certificate {path} has no certificate in it", look)


def _read_private_key(path: str, file: Path) -> paramiko.PKey | Unusable:
    """Reads a private key, or returns why it is unusable."""
    try:
        return _load(path, file)
    except FileNotFoundError:
        reason = f"the private key {path} does not exist"
        return Unusable(reason, shell_join(["ls", "-l", path]), missing=True)
    except OSError as e:
        return _unreadable(path, e)


def _load(path: str, file: Path) -> paramiko.PKey | Unusable:
    """Returns the private key in a file; raises `OSError`."""
    try:
        data, status = read_file_and_status(file, _FILE_MAX)
        if _is_too_open(status) and file.suffix != ".pub":
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            return Unusable(permissions_too_open(path, mode), shell_join(["chmod", "600", path]))
        return _parse_private_key(data.decode("ascii", "replace"), file)
    except OSError:
        raise
    except paramiko.PasswordRequiredException:
        reason = f"the private key {path} is encrypted and the agent does not have it"
        return Unusable(reason, shell_join(["ssh-add", path]))
    except Exception as e:  # each of paramiko's parsers raises something else
        # paramiko's own texts quote the file, which may be any: no part of it is for a reason.
        why = str(e) if isinstance(e, _OtherTypeError) else _NOT_A_KEY
        reason = f"the private key {path} cannot be used: {why}"
        return Unusable(reason, shell_join(["ssh-keygen", "-y", "-f", path]))


def _is_too_open(status: os.stat_result) -> bool:
    """Returns whether others may use a file of ours: OpenSSH's sshkey_perm_ok.

    A file of another user's passes, whatever its mode.
    """
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
    return ours and bool(status.st_mode & 0o077)


def _unreadable(path: str, e: OSError) -> Unusable:
    """Returns a private key that the system does not let us read."""
    reason = f"the private key {path} cannot be read: {os_error_text(e)}"
    return Unusable(reason, shell_join(["ls", "-lL", path]))


def _parse_private_key(text: str, file: Path) -> paramiko.PKey:
    """Returns the key in a file's text; raises an exception of paramiko's.

    `PasswordRequiredException` for an encrypted key, `_OtherTypeError` for a key of another type,
    if the public half is there to tell it.
    """
    if _is_encrypted(text):
        raise paramiko.PasswordRequiredException
    for key_class in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return key_class.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise
        except SSHException:
            continue
    key_type = Reader(_public_key(file) or b"").string().decode("ascii", "replace")
    if _KEY_TYPE.fullmatch(key_type):
        raise _OtherTypeError(f"a key of the type {key_type} needs the agent")
    raise SSHException


def _after_magic(text: str) -> Reader | None:
    """Returns a reader after the magic of an OpenSSH private key, None for other text.

    Format: PROTOCOL.key of OpenSSH: the magic, then cipher, key derivation and its options (each a
    string), the number of keys, and their public halves.
    """
    if "BEGIN OPENSSH PRIVATE KEY" not in text:
        return None
    body = "".join(line for line in text.split("\n") if not line.startswith("-")).strip()
    try:
        raw = base64.b64decode(body)
    except ValueError:
        return None
    if not raw.startswith(_MAGIC):
        return None
    return Reader(raw[len(_MAGIC) :])


def _is_encrypted(text: str) -> bool:
    """Returns whether a private key needs a passphrase."""
    reader = _after_magic(text)
    if not reader:  # PEM, in which the line of the cipher or of the type has the word
        return "ENCRYPTED" in text
    cipher = reader.string()
    return cipher not in (b"none", b"")


def _public_key(path: Path) -> bytes | None:
    """Returns the public half of a private key file without opening it: from FILE.pub, or from the
    beginning of the file itself.
    """
    if path.suffix == ".pub":
        return _parse_public_line(_text_if_any(path))
    if blob := _parse_public_line(_text_if_any(path.with_name(path.name + ".pub"))):
        return blob
    reader = _after_magic(_text_if_any(path))
    if not reader:
        return None
    for _ in range(3):  # cipher, key derivation, its options
        reader.string()
    if reader.number() != 1:
        return None
    return reader.string()


def _text(path: Path) -> str:
    """Returns the text of a file; raises `OSError`."""
    return read_file(path, _FILE_MAX).decode("ascii", "replace")


def _text_if_any(path: Path) -> str:
    """Returns the text of a file, "" if it cannot be read."""
    try:
        return _text(path)
    except OSError:
        return ""


def _parse_public_line(text: str) -> bytes | None:
    """Returns the key or certificate in the one line of a .pub file, None for other text."""
    words = text.split(None, 2)
    try:
        return base64.b64decode(words[1], validate=True)
    except (IndexError, ValueError):
        return None
