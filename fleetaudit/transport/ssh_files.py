"""Checks the files that the system's ssh would open for a host, because ssh would read some of them
forever.

Rules: ssh itself reports a file that is missing or not readable. A pipe, a device, an endless file,
or one that does not answer in time costs only the host that names it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import SshTarget, Stage
from fleetaudit.text.files import UnsuitableFileError, check_file, expand_home

from . import Deadline
from .file_reader import shared_reader
from .jump_hosts import Hop, blame_jump_host
from .known_hosts import FILE_MAX, USER_FILES
from .ssh_command import shell_join
from .ssh_options import config_file_option
from .ssh_tokens import UnknownTokenError

DEFAULT_KEYS = (
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
)
"""The private keys that ssh(1) tries when none is named, in its order."""

_KINDS: dict[Stage, FailureKind] = {
    "authenticate": "no usable key",
    "host key": "known_hosts not usable",
    "connect": "ssh_config not usable",
}
_KEY_SUFFIXES = (".pub", "-cert", "-cert.pub")
"""What ssh appends to the path of a private key for its public key and its certificate."""


def check_ssh_config(arguments: Iterable[str], deadline: Deadline) -> None:
    """Raises `TransportError` (stage "connect") if ssh would read the file of -F forever."""
    for path in config_file_option(arguments)[1:]:
        if path != "none":  # ssh(1), -F: no file at all
            _check("connect", "the ssh_config", path, deadline)


def check_files(target: SshTarget, hops: Sequence[Hop], deadline: Deadline) -> None:
    """Raises `TransportError` if ssh would read a file of the host, or of a jump host, forever.

    `hops` are the host and its jump hosts, () if ssh_config does not matter. The stage is the one
    at which ssh would stop: "authenticate" for keys and certificates, "host key" for files of host
    keys.
    """
    _check_all(_files_of_target(target, hops), deadline)
    for hop in hops[1:]:
        with blame_jump_host(hop.name):
            _check_all(_files_of(hop), deadline)


class _Files(msgspec.Struct, frozen=True, kw_only=True):
    """The files that ssh opens for one host."""

    keys: Sequence[str]
    known_hosts: Sequence[str]
    certificates: Sequence[str] = ()
    revoked: Sequence[str] = ()


def _files_of_target(target: SshTarget, hops: Sequence[Hop]) -> _Files:
    """Returns the files for the target itself; its own known_hosts files go before ssh_config's."""
    files = _Files(keys=target.private_keys or DEFAULT_KEYS, known_hosts=USER_FILES)
    if hops:
        files = _files_of(hops[0])
    if target.host_key_policy == "off":
        return replace(files, known_hosts=())
    if target.known_hosts:
        return replace(files, known_hosts=target.known_hosts)
    return files


def _files_of(hop: Hop) -> _Files:
    """Returns the files that ssh_config names for a hop."""
    return _Files(
        keys=_expanded(hop, "identityfile"),
        known_hosts=hop.config.paths("userknownhostsfile", "globalknownhostsfile"),
        certificates=_expanded(hop, "certificatefile"),
        revoked=hop.config.paths("revokedhostkeys"),
    )


def own_files(target: SshTarget, hops: Sequence[Hop]) -> frozenset[str]:
    """Returns the private keys and master sockets of the host and its jump hosts.

    Their paths are written as ssh writes them.
    """
    paths = set(map(str, map(expand_home, target.private_keys or DEFAULT_KEYS)))
    for hop in hops:
        paths.add(hop.config.one("controlpath"))
        paths.update(_expanded(hop, "identityfile"))
    return frozenset(paths)


def _expanded(hop: Hop, keyword: str) -> tuple[str, ...]:
    """Returns the paths of a keyword that can be expanded."""
    found = []
    for path in hop.config.all(keyword):
        with contextlib.suppress(UnknownTokenError):  # ssh reports it itself
            found.append(hop.tokens.path(path))
    return tuple(found)


def _check_all(files: _Files, deadline: Deadline) -> None:
    """Checks all files of one host; raises `TransportError`."""
    for key in files.keys:
        _check("authenticate", "the private key", key, deadline)
        for suffix in _KEY_SUFFIXES:
            _check("authenticate", "the file", key + suffix, deadline)
    for path in files.certificates:
        _check("authenticate", "the certificate", path, deadline)
    for path in (*files.known_hosts, *files.revoked):
        _check("host key", "the file of host keys", path, deadline)


def _check(stage: Stage, kind: str, path: str, deadline: Deadline) -> None:
    """Checks one file; raises `TransportError` at `stage`.

    `kind` is what the reason calls it.
    """
    file = expand_home(path)
    try:
        shared_reader.get(("check", str(file)), partial(check_file, file, FILE_MAX), deadline)
    except (UnsuitableFileError, TimeoutError) as e:
        reason = f"{kind} {path} cannot be read: {e.strerror}"
        hint = shell_join(["ls", "-lL", path])
        raise TransportError(stage, reason, hint=hint, kind=_KINDS[stage]) from e
    except OSError:
        return
