"""Checks the files that the system's ssh would open for a host, because ssh would read some of them
for ever.

Rules: ssh itself reports a file that is missing or not readable. A pipe, a device, an endless file,
or one that does not answer in time costs the host that names it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import SshTarget, Stage
from fleetaudit.text.files import UnsuitableFileError, check_file, expand_home

from . import Deadline
from .file_reader import shared_reader
from .jump_hosts import Hop, blame_jump_host
from .known_hosts import FILE_MAX, USER_FILES
from .ssh_command import shell_join
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
_BESIDE_A_KEY = ("", ".pub", "-cert", "-cert.pub")


def check_ssh_config(words: Iterable[str], deadline: Deadline) -> None:
    """Raises `TransportError` if ssh would read the file of -F for ever."""
    given = iter(words)
    for word in given:
        if word == "-F" and (path := next(given, "none")) != "none":
            _check("connect", "the ssh_config", path, deadline)


def check_files(target: SshTarget, hops: list[Hop], deadline: Deadline) -> None:
    """Raises `TransportError` if ssh would read a file of the host, or of one of its jump hosts,
    for ever.

    `hops` are the host and its jump hosts, () if ssh_config does not matter.
    """
    if not hops:
        keys = target.private_keys or DEFAULT_KEYS
        known = target.known_hosts or USER_FILES if target.host_key_policy != "off" else ()
        _check_all(keys, (), known, deadline)
    for number, hop in enumerate(hops):
        with blame_jump_host(hop.name) if number else contextlib.nullcontext():
            known = hop.answer.paths("userknownhostsfile", "globalknownhostsfile")
            if number == 0:
                known = target.known_hosts or known if target.host_key_policy != "off" else ()
            keys, certificates = _expanded(hop, "identityfile"), _expanded(hop, "certificatefile")
            _check_all(keys, certificates, (*known, *hop.answer.paths("revokedhostkeys")), deadline)


def own_files(target: SshTarget, hops: list[Hop]) -> frozenset[str]:
    """Returns the private keys and master sockets of the host and its jump hosts, as ssh names
    them.
    """
    keys = [str(expand_home(path)) for path in target.private_keys or DEFAULT_KEYS]
    sockets = [hop.answer.one("controlpath") for hop in hops]
    return frozenset(
        (*keys, *sockets, *(path for hop in hops for path in _expanded(hop, "identityfile")))
    )


def _expanded(hop: Hop, keyword: str) -> tuple[str, ...]:
    found = []
    for path in hop.answer.all(keyword):
        with contextlib.suppress(UnknownTokenError):  # ssh reports it itself
            found.append(hop.tokens.path(path))
    return tuple(found)


def _check_all(
    keys: Iterable[str], certificates: Iterable[str], hosts: Iterable[str], deadline: Deadline
) -> None:
    for path, what in _of_authentication(keys, certificates):
        _check("authenticate", what, path, deadline)
    for path in hosts:
        _check("host key", "the file of host keys", path, deadline)


def _of_authentication(
    keys: Iterable[str], certificates: Iterable[str]
) -> Iterator[tuple[str, str]]:
    for key in keys:
        yield from (
            (key + end, "the private key" if not end else "the file") for end in _BESIDE_A_KEY
        )
    yield from ((path, "the certificate") for path in certificates)


def _check(stage: Stage, what: str, path: str, deadline: Deadline) -> None:
    file = expand_home(path)
    try:
        shared_reader.get(("check", str(file)), partial(check_file, file, FILE_MAX), deadline)
    except (UnsuitableFileError, TimeoutError) as e:
        reason = f"{what} {path} cannot be read: {e.strerror}"
        raise TransportError(
            stage, reason, hint=shell_join(["ls", "-lL", path]), kind=_KINDS[stage]
        ) from e
    except OSError:
        return
