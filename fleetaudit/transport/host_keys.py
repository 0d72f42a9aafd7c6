"""Decides whether the key that a host showed is trusted.

Rules: no SSH library here; a key is its type and its raw blob. Files of the user are never written;
each is read once per run, under the deadline of a host that uses it, and without holding the lock.
Keys accepted under `accept-new` are appended to one file of our own, under a file lock, so that
many processes and a SIGKILL leave it valid.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.text.files import check_regular, expand_home, read_file

from . import Deadline, os_error_text
from .file_reader import shared_reader
from .host_certificates import CA_ALGORITHMS, CERTIFICATE_ALGORITHMS, HostCertificate, why_refused
from .host_key_errors import ShownKey, changed_key, known_hosts_files, revoked_key, unknown_key
from .known_hosts import FILE_MAX, Entry, KnownHosts, fingerprint
from .revoked_keys import RevokedKeys, parse_revoked_keys
from .ssh_command import known_hosts_name, shell_join
from .ssh_fields import MalformedFieldsError
from .ssh_options import config_of

# One key type of known_hosts stands for these signature algorithms of a host key (RFC 8332), most
# preferred first.
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class HostKeys:
    """The host keys that one run trusts; safe to use from many threads, and its file from many
    processes.

    `accept_file` is where `accept-new` appends; without one, this process remembers the keys. Files
    of the user are never written.
    """

    def __init__(self, accept_file: Path | None = None) -> None:
        self.accept_file = accept_file
        self._lock = threading.RLock()
        self._files: dict[str, KnownHosts] = {}
        self._accepted = KnownHosts()
        self._revoked: dict[str, RevokedKeys] = {}
        self._offset = 0
        self._lines = 0

    def read(self, target: SshTarget, deadline: Deadline) -> None:
        """Reads the files that say which keys of this host are trusted.

        A file is read once per run. A slow one costs at most the target's `connect_timeout_s`.
        Raises `TransportError` (stage "host key").
        """
        until = deadline.within(target.connect_timeout_s)
        for path in known_hosts_files(target):
            self._known_hosts(path, until)
        for path in _revoked_files(target):
            self._revoked_keys(path, until)

    def algorithms(self, target: SshTarget) -> tuple[str, ...]:
        """Returns the host key algorithms to ask for first: those of certificates if an authority
        is known for a host, then those of its known keys.

        Most preferred first, () if no key is known. Otherwise a host with several keys may show one
        that is not known (ssh_config(5), HostKeyAlgorithms).
        """
        plain = self._plain_algorithms(target)
        return _with_certificates(plain, self._authorities(target))

    def _plain_algorithms(self, target: SshTarget) -> tuple[str, ...]:
        """Returns the algorithms of the known keys of a host."""
        entries = self._entries(target, _name(target)) or self._entries_without_port(target)
        return _signatures(_types(entries))

    def _authorities(self, target: SshTarget) -> list[Entry]:
        """Returns the lines with the authorities for a host, with its port and without."""
        entries = *self._entries(target, _name(target)), *self._entries_without_port(target)
        return _authorities_in(entries)

    def _entries_without_port(self, target: SshTarget) -> tuple[Entry, ...]:
        """Returns the lines for a host on port 22, () if that is its port, or it has an alias.

        As ssh, which looks there for what it does not find for another port.
        """
        if target.port == 22 or _alias(target):
            return ()
        return self._entries(target, target.address)

    def likely_algorithms(self, target: SshTarget) -> tuple[str, ...]:
        """Returns what `algorithms` does if no name must be hashed for it, otherwise a guess.

        The guess are the types of the lines that are not hashed, then those that most hashed lines
        have. See `needs_other_key`.
        """
        files = self._files_of(target)
        if not _any_hashed(files) or any(known.hashed_authorities for known in files):
            return self.algorithms(target)
        hashed = sum((known.hashed_types for known in files), Counter[str]())
        here, without_port = _in_clear(files, _name(target)), _in_clear(files, target.address)
        plain = _signatures((*_types(here), *(name for name, _ in hashed.most_common())))
        return _with_certificates(plain, _authorities_in((*here, *without_port)))

    def needs_other_key(self, target: SshTarget, key_type: str, blob: bytes) -> bool:
        """Returns whether a host that was asked for `likely_algorithms` must be asked again.

        That is so if the key that it showed is not known, and one of another type is.
        """
        if target.host_key_policy == "off" or not _any_hashed(self._files_of(target)):
            return False
        if _trusts(self._entries_with(ShownKey(target, _name(target), key_type, blob))):
            return False
        best = self._plain_algorithms(target)[:1]
        return bool(best) and best[0] not in _signature_algorithms(key_type)

    def check(
        self,
        target: SshTarget,
        key_type: str,
        blob: bytes,
        certificate: HostCertificate | None = None,
    ) -> str:
        """Returns "" for a known key, or a note that says why another one is trusted.

        `key_type` is the type in the blob ("ssh-rsa", "ssh-ed25519", …), both of the plain key if
        the host showed a certificate. As with ssh, a certificate that does not count leaves the
        plain key to be known. Raises `TransportError` (stage "host key").
        """
        key = ShownKey(target, _name(target), key_type, blob, certificate)
        self._refuse_revoked(key)
        if target.host_key_policy == "off":
            return f"host key of {key.name} not checked: {key}"
        if certificate:
            refused = self._why_not_certified(key, certificate)
            if not refused:
                return ""
            key = replace(key, refused=refused)
        return self._check_plain(key)

    def _check_plain(self, key: ShownKey) -> str:
        """Does what `check` does, for a plain key."""
        target, entries = key.target, self._entries_with(key)
        if not _trusts(entries):  # only all lines tell a changed key from an unknown one
            entries = self._entries(target, key.name)
        if self._is_known(key, entries):
            return ""
        if target.host_key_policy == "accept-new":
            return self._accept(key)
        raise unknown_key(key, (*entries, *self._authorities(target)))

    def _why_not_certified(self, key: ShownKey, certificate: HostCertificate) -> str:
        """Returns why a certificate does not count, "" if it does.

        Raises `TransportError` if the key or the authority is revoked.
        """
        target = key.target
        authority = base64.b64encode(certificate.authority).decode()
        here, without_port = self._entries(target, key.name), self._entries_without_port(target)
        _refuse_marked(key, here, authority)
        if not _certifies(here, authority):
            if marked := _revoking(without_port, key.text, authority):
                return f"{marked.location} revokes it"
            if not _certifies(without_port, authority):
                signer = fingerprint(certificate.authority)
                return f"{signer} signed it, which is no known authority"
        asked = (_alias(target) or target.address).lower()  # as ssh, which lowers an alias, too
        allowed = config_of(target).ca_algorithms or CA_ALGORITHMS
        return why_refused(certificate, asked, time.time(), allowed)

    def _is_known(self, key: ShownKey, entries: Sequence[Entry]) -> bool:
        """Returns whether the key is known.

        Raises `TransportError` for a revoked key, and if another key is known.
        """
        _refuse_marked(key, entries)
        known = [entry for entry in entries if entry.is_host_key]
        if key.text in (entry.text for entry in known):
            return True
        if not known:
            return self._is_known_without_port(key)
        same_type = (entry for entry in known if entry.key_type == key.key_type)
        raise changed_key(key, next(same_type, known[0]))

    def _is_known_without_port(self, key: ShownKey) -> bool:
        """Returns whether the host is known on port 22 with this key.

        OpenSSH trusts it on other ports as well. Raises `TransportError` if it is revoked there.
        """
        entries = self._entries_without_port(key.target)
        _refuse_marked(key, entries)
        return any(entry.trusts(key.text) for entry in entries)

    def _refuse_revoked(self, key: ShownKey) -> None:
        """Raises `TransportError` if RevokedHostKeys of ssh_config has the key.

        It also does if that cannot be read: as ssh, it then trusts no key.
        """
        for path in _revoked_files(key.target):
            deadline = Deadline.after(key.target.connect_timeout_s)
            if self._revoked_keys(path, deadline).revokes(key.blob, key.certificate):
                raise revoked_key(key, path)

    # -- files

    def _known_hosts(self, path: str, deadline: Deadline) -> KnownHosts:
        """Returns the contents of a known_hosts file, read once."""
        if path not in self._files:
            with _usable(path):
                self._files[path] = shared_reader.get(
                    ("known_hosts", path), lambda: _load_known_hosts(path), deadline
                )
        return self._files[path]

    def _revoked_keys(self, path: str, deadline: Deadline) -> RevokedKeys:
        """Returns the keys of a RevokedHostKeys file, read once."""
        if path not in self._revoked:
            with _usable(path):
                self._revoked[path] = shared_reader.get(
                    ("revoked", path), lambda: _load_revoked_keys(path), deadline
                )
        return self._revoked[path]

    def _entries(self, target: SshTarget, name: str) -> tuple[Entry, ...]:
        """Returns what the files and the accepted keys have for a name."""
        found = [known.of(name) for known in self._files_of(target)]
        with self._lock:
            return (*chain.from_iterable(found), *self._accepted_keys(target).of(name))

    def _entries_with(self, key: ShownKey) -> tuple[Entry, ...]:
        """Returns those entries for the name of a key that have this key."""
        name, text = key.name, key.text
        found = [known.of_key(name, text) for known in self._files_of(key.target)]
        with self._lock:
            accepted = self._accepted_keys(key.target).of_key(name, text)
        return (*chain.from_iterable(found), *accepted)

    def _files_of(self, target: SshTarget) -> list[KnownHosts]:
        """Returns the contents of the known_hosts files for a target."""
        until = Deadline.after(target.connect_timeout_s)
        return [self._known_hosts(path, until) for path in known_hosts_files(target)]

    def _accepted_keys(self, target: SshTarget) -> KnownHosts:
        """Returns the accepted keys, which count for every target. The caller holds the lock."""
        if target.host_key_policy == "accept-new":
            self._read_accepted_once()
        return self._accepted

    def _read_accepted_once(self) -> None:
        """Reads our file if that was not done yet. The caller holds the lock."""
        if self.accept_file and not self._offset:
            with _usable(self.accept_file):
                self._read_accepted()

    def _read_accepted(self) -> None:
        """Reads what was appended to our file since the last time. The caller holds the lock.

        Does nothing if the file does not exist yet. Raises `OSError`, also if it is not a regular
        file.
        """
        if self.accept_file is None or not self.accept_file.exists():
            return
        check_regular(self.accept_file.stat())
        with self.accept_file.open("rb") as f:
            f.seek(self._offset)
            # Only up to the last whole line: another process may be writing the rest.
            text, newline, _ = f.read(FILE_MAX).rpartition(b"\n")
        self._accepted.add(
            text.decode("utf-8", "replace"),
            source=str(self.accept_file),
            first_line=self._lines + 1,
        )
        self._offset += len(text) + len(newline)
        self._lines += text.count(b"\n") + len(newline)

    def _accept(self, key: ShownKey) -> str:
        """Remembers a new key and returns a note, "" if another process has accepted it already."""
        with self._lock:
            if self.accept_file is None:
                self._remember(key)
            elif not self._append(key, self.accept_file):
                return ""
        return f"new host key of {key.name} accepted: {key}"

    def _remember(self, key: ShownKey) -> None:
        """Remembers a key in this process only. The caller holds the lock."""
        if not self._is_known(key, self._accepted.of(key.name)):
            self._accepted.add(key.line, source="this run")

    def _append(self, key: ShownKey, path: Path) -> bool:
        """Appends a key to our file; returns whether it was new. The caller holds the lock."""
        with _usable(path), _locked(path) as fd:
            self._read_accepted()  # another process may have met the host in the meantime
            if self._is_known(key, self._accepted.of(key.name)):
                return False
            # One write, so that a SIGKILL leaves all of it or a part without a newline; after
            # such a part, begin a new line.
            torn = os.fstat(fd).st_size > self._offset
            os.write(fd, ("\n" * torn + key.line + "\n").encode())
            self._read_accepted()
        return True


def _any_hashed(files: Iterable[KnownHosts]) -> bool:
    """Returns whether any of these files has a hashed name."""
    return any(known.hashed_types for known in files)


def _types(entries: Iterable[Entry]) -> dict[str, None]:
    """Returns the key types of entries, each once and in their order; markers do not count."""
    return dict.fromkeys(entry.key_type for entry in entries if not entry.marker)


def _in_clear(files: Iterable[KnownHosts], name: str) -> list[Entry]:
    """Returns the entries for a name that are not hashed."""
    return [*chain.from_iterable(known.in_clear(name) for known in files)]


def _revoking(entries: Iterable[Entry], *keys: str) -> Entry | None:
    """Returns the first entry that revokes one of these keys, in base64, None if none does."""
    return next((entry for entry in entries if any(map(entry.revokes, keys))), None)


def _refuse_marked(key: ShownKey, entries: Iterable[Entry], *others: str) -> None:
    """Raises `TransportError` if one of these entries revokes a key, or one of `others`."""
    if marked := _revoking(entries, key.text, *others):
        raise revoked_key(key, marked.location)


def _authorities_in(entries: Iterable[Entry]) -> list[Entry]:
    """Returns those entries that have an authority."""
    return [entry for entry in entries if entry.is_authority]


def _with_certificates(plain: tuple[str, ...], authorities: Sequence[Entry]) -> tuple[str, ...]:
    """Returns algorithms after those of certificates, which need an authority."""
    return (*CERTIFICATE_ALGORITHMS, *plain) if authorities else plain


def _certifies(entries: Iterable[Entry], authority: str) -> bool:
    """Returns whether one of these entries trusts an authority, its key in base64."""
    return any(entry.is_authority and entry.text == authority for entry in entries)


def _trusts(entries: Iterable[Entry]) -> bool:
    """Returns whether any of these entries has a key of the host itself."""
    return any(entry.is_host_key for entry in entries)


def _signatures(types: Iterable[str]) -> tuple[str, ...]:
    """Returns the signature algorithms of key types, each once."""
    return tuple(dict.fromkeys(chain.from_iterable(map(_signature_algorithms, types))))


def _signature_algorithms(key_type: str) -> tuple[str, ...]:
    """Returns the signature algorithms of a key type of known_hosts.

    Those of RFC 8332 for ssh-rsa; for any other type, the type itself.
    """
    return _ALGORITHMS.get(key_type, (key_type,))


def _revoked_files(target: SshTarget) -> tuple[str, ...]:
    """Returns the RevokedHostKeys files for a target."""
    return config_of(target).revoked_host_keys


def _alias(target: SshTarget) -> str:
    """Returns the HostKeyAlias of a target, "" for none."""
    return config_of(target).host_key_alias


def _name(target: SshTarget) -> str:
    """Returns the name of a target in known_hosts files; an alias of ssh_config is for every
    port.
    """
    return _alias(target) or known_hosts_name(target.address, target.port)


def _load_known_hosts(path: str) -> KnownHosts:
    """Reads a known_hosts file; one that is missing is empty."""
    known = KnownHosts()
    with contextlib.suppress(FileNotFoundError):
        known.add(read_file(expand_home(path), FILE_MAX).decode("utf-8", "replace"), source=path)
    return known


def _load_revoked_keys(path: str) -> RevokedKeys:
    """Returns what a RevokedHostKeys file revokes; raises `TransportError` if it cannot be read."""
    data = read_file(expand_home(path), FILE_MAX)
    try:
        return parse_revoked_keys(data)
    except MalformedFieldsError as e:
        raise TransportError(
            "host key",
            f"{path} (RevokedHostKeys) cannot be used: {e}",
            hint=shell_join(["ssh-keygen", "-lf", path]),
            kind="known_hosts not usable",
        ) from e


@contextlib.contextmanager
def _usable(path: str | Path) -> Iterator[None]:
    """Turns an error of the operating system about a file into a reason."""
    try:
        yield
    except OSError as e:
        reason = f"{path} cannot be used: {os_error_text(e)}"
        hint = shell_join(["ls", "-ldL", str(path)])
        raise TransportError("host key", reason, hint=hint, kind="known_hosts not usable") from e


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Yields a descriptor for appending to `path` while no other process has one."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        check_regular(os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_EX)  # released by close, and by the kernel when the process ends
        yield fd
    finally:
        os.close(fd)
