"""Is the key that a host showed the one we know? known_hosts files, read once, into a dict of our
own.

Rules: no SSH library here; a key is its type and its raw blob. Files of the user are never written;
only regular files of a bounded size are read, each under the deadline of a host that uses it, and
off the lock. Keys accepted under `accept-new` are appended to one file of our own, under a lock, so
that many processes and a SIGKILL leave it valid. Hashed names cost one HMAC a line, so they are
computed once a host. Format: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import SshTarget
from fleetaudit.text.files import check_regular, expand_home, read_file

from . import Deadline
from .file_reader import shared_reader
from .ssh_command import known_hosts_name, shell_join

USER_FILES = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
"""Where OpenSSH looks when no file is named."""

FILE_MAX = 64 * 1024 * 1024
"""Bytes that a file with keys of hosts may have."""

# One known_hosts key type stands for these signature algorithms of a host key (RFC 8332), most
# preferred first.
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line for one host: `marker` is "", "@revoked" or "@cert-authority", `text` the key in
    base64.
    """

    marker: str
    key_type: str
    text: str
    source: str
    line: int

    @property
    def where(self) -> str:
        """Returns file:line."""
        return f"{self.source}:{self.line}"


@dataclass(slots=True)
class KnownHosts:
    """The lines of some known_hosts files, by the name they are for."""

    plain: dict[str, list[Entry]] = field(default_factory=dict)
    hashed: list[tuple[bytes, bytes, Entry]] = field(default_factory=list)
    patterns: list[tuple[Callable[[str], bool], Entry]] = field(default_factory=list)
    _found: dict[str, tuple[Entry, ...]] = field(default_factory=dict)

    def add(self, text: str, *, source: str, first_line: int = 1) -> None:
        """Adds the lines of `text`; what is no entry (comments, half a line, an unknown marker) is
        passed over.
        """
        for number, line in enumerate(text.split("\n"), first_line):
            words = line.split(None, 4)
            marker = words.pop(0) if words and words[0].startswith("@") else ""
            if (
                len(words) < 3
                or words[0].startswith("#")
                or marker not in ("", "@revoked", "@cert-authority")
            ):
                continue
            self._add(words[0], Entry(marker, words[1], words[2], source, number))
        self._found.clear()

    def _add(self, names: str, entry: Entry) -> None:
        if names.startswith("|1|"):
            try:
                salt, digest = (
                    base64.b64decode(part, validate=True) for part in names[3:].split("|")
                )
            except ValueError:  # binascii.Error is a child of it
                return
            self.hashed.append((salt, digest, entry))
        elif any(c in names for c in "*?!"):
            self.patterns.append((_matcher(names), entry))
        else:
            for name in names.lower().split(","):
                self.plain.setdefault(name, []).append(entry)

    def of(self, name: str) -> tuple[Entry, ...]:
        """Returns the entries for `name` (a host, or [host]:port), in the order: named, hashed,
        patterns.
        """
        name = name.lower()
        if name not in self._found:
            raw = name.encode()
            self._found[name] = (
                *self.plain.get(name, ()),
                *(e for salt, digest, e in self.hashed if hmac.digest(salt, raw, "sha1") == digest),
                *(e for matches, e in self.patterns if matches(name)),
            )
        return self._found[name]


def _matcher(names: str) -> Callable[[str], bool]:
    """Returns the test for a list with * ? and !; one negated match refuses the whole line, as in
    OpenSSH.
    """
    wanted, refused = list[str](), list[str]()
    for name in names.lower().split(","):
        (refused if name.startswith("!") else wanted).append(
            "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in name.removeprefix("!"))
        )
    want, refuse = re.compile("|".join(wanted) or "(?!)"), re.compile("|".join(refused) or "(?!)")
    return lambda name: bool(want.fullmatch(name)) and not refuse.fullmatch(name)


def fingerprint(blob: bytes) -> str:
    """Returns the SHA256 fingerprint of a raw public key, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _whole(blob: bytes) -> bool:
    """Tells whether the blob is a sequence of SSH strings to its last byte: half a line after a
    crash is not.
    """
    at = 0
    while at < len(blob):
        at += 4 + int.from_bytes(blob[at : at + 4], "big")
    return bool(blob) and at == len(blob)


class HostKeys:
    """The host keys that one run trusts; safe to use from many threads, and its file from many
    processes.

    `accept_file` is where `accept-new` appends; without one an accepted key is only remembered by
    this process.
    """

    def __init__(self, accept_file: Path | None = None) -> None:
        self.accept_file = accept_file
        self._lock = threading.RLock()
        self._files: dict[str, KnownHosts] = {}
        self._accepted = KnownHosts()
        self._revoked: dict[str, frozenset[bytes]] = {}
        self._offset = 0
        self._lines = 0

    def read(self, target: SshTarget, deadline: Deadline) -> None:
        """Reads the files that say which keys of this host are trusted; raises `TransportError`
        (stage "host key").

        A file is read once per run. A slow one costs at most the target's `connect_timeout_s`.
        """
        until = deadline.within(target.connect_timeout_s)
        for path in self._paths(target):
            self._known_hosts(path, until)
        for path in _revoked_files(target):
            self._revoked_keys(path, until)

    def algorithms(self, target: SshTarget) -> tuple[str, ...]:
        """Returns the host key algorithms to ask for first: those of the keys that are known for
        this host.
        """
        entries = self._entries(target)
        if not entries and not _alias(target):
            entries = self._entries(target, target.address)
        types = dict.fromkeys(e.key_type for e in entries if not e.marker)
        return tuple(a for t in types for a in _ALGORITHMS.get(t, (t,)))

    def check(self, target: SshTarget, key_type: str, blob: bytes) -> str:
        """Returns "" for a known key, else a note about why it is trusted; raises `TransportError`
        (stage "host key").

        `key_type` is the type in the blob ("ssh-rsa", "ssh-ed25519", …).
        """
        name, shown = _name(target), f"{key_type} {fingerprint(blob)}"
        self._refuse_revoked(target, shown, blob)
        if target.host_key_policy == "off":
            return f"host key of {name} not checked: {shown}"
        entries = self._entries(target)
        if self._known(name, target, entries, key_type, blob):
            return ""
        files = self._paths(target)
        if target.host_key_policy == "accept-new":
            return self._accept(target, name, key_type, blob)
        authority = next((e for e in entries if e.marker == "@cert-authority"), None)
        if authority:
            raise TransportError(
                "host key",
                f"{authority.where} trusts a certificate authority for {name}, and host"
                " certificates are not supported by the built-in client: the host's own key"
                f" ({shown}) is not known",
                hint=rerun_hint("--transport", "openssh"),
                kind="host key not trusted",
            )
        raise TransportError(
            "host key",
            f"unknown host key: {name} shows {shown}, and no key of it is in {', '.join(files)}",
            hint=(
                f"{_learn(target, files)}  # after comparing the fingerprint; or --host-key-policy"
                " accept-new"
            ),
            kind="host key unknown",
        )

    def _known(
        self, name: str, target: SshTarget, entries: Sequence[Entry], key_type: str, blob: bytes
    ) -> bool:
        """Tells known (True) from unknown (False); raises where the key is revoked, or is not the
        one that is known.
        """
        text, shown = base64.b64encode(blob).decode(), f"{key_type} {fingerprint(blob)}"
        for e in entries:
            if e.marker == "@revoked" and e.text == text:
                raise _refused(target, shown, e.where)
        plain = [e for e in entries if not e.marker and _whole(_decoded(e.text))]
        if any(e.text == text for e in plain):
            return True
        # As OpenSSH does: a host known without its port is trusted on another port with the same
        # key.
        if (
            target.port != 22
            and not _alias(target)
            and any(
                e.text == text and not e.marker
                for e in self._entries(target, target.address)
                if not plain
            )
        ):
            return True
        if not plain:
            return False
        e = next((e for e in plain if e.key_type == key_type), plain[0])
        known = f"{e.key_type} {fingerprint(_decoded(e.text))}"
        raise TransportError(
            "host key",
            f"changed host key: {name} shows {shown}, but {e.where} says {known};"
            " someone may be in between, or the host was installed anew",
            hint=forget_command(name, e.source),
            kind="host key changed",
            changed_key=(f"{known} ({e.where})", f"{shown} of {name}"),
        )

    def _refuse_revoked(self, target: SshTarget, shown: str, blob: bytes) -> None:
        """Raises where ssh_config's RevokedHostKeys has the key, or cannot be read: as ssh, it then
        trusts none.
        """
        for path in _revoked_files(target):
            if blob in self._revoked_keys(path, Deadline.after(target.connect_timeout_s)):
                raise _refused(target, shown, path)

    # -- files
    # -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _paths(target: SshTarget) -> tuple[str, ...]:
        return target.known_hosts or USER_FILES

    def _known_hosts(self, path: str, deadline: Deadline) -> KnownHosts:
        if path not in self._files:
            with _usable(path):
                self._files[path] = shared_reader.get(
                    ("known_hosts", path), lambda: _load(path), deadline
                )
        return self._files[path]

    def _revoked_keys(self, path: str, deadline: Deadline) -> frozenset[bytes]:
        if path not in self._revoked:
            with _usable(path):
                self._revoked[path] = shared_reader.get(
                    ("revoked", path), lambda: _revoked(path), deadline
                )
        return self._revoked[path]

    def _entries(self, target: SshTarget, name: str | None = None) -> tuple[Entry, ...]:
        name = name or _name(target)
        until = Deadline.after(target.connect_timeout_s)
        files = [self._known_hosts(path, until) for path in self._paths(target)]
        with self._lock:
            if target.host_key_policy == "accept-new" and self.accept_file and not self._offset:
                with _usable(self.accept_file):
                    self._read_accepted()
            return tuple(entry for known in (*files, self._accepted) for entry in known.of(name))

    def _read_accepted(self) -> None:
        """Takes in what was appended to the file of ours since the last look. The caller holds the
        lock.
        """
        if self.accept_file is None or not self.accept_file.exists():
            return
        check_regular(self.accept_file.stat())
        with self.accept_file.open("rb") as f:
            f.seek(self._offset)
            # Up to the last whole line only: what follows may still be under way.
            text, newline, _ = f.read(FILE_MAX).rpartition(b"\n")
        self._accepted.add(
            text.decode("utf-8", "replace"),
            source=str(self.accept_file),
            first_line=self._lines + 1,
        )
        self._offset += len(text) + len(newline)
        self._lines += text.count(b"\n") + len(newline)

    def _accept(self, target: SshTarget, name: str, key_type: str, blob: bytes) -> str:
        line = f"{name} {key_type} {base64.b64encode(blob).decode()}"
        note = f"new host key of {name} accepted: {key_type} {fingerprint(blob)}"
        with self._lock:
            if self.accept_file is None:
                if not self._known(name, target, self._accepted.of(name), key_type, blob):
                    self._accepted.add(line, source="this run")
                return note
            with _usable(self.accept_file), _locked(self.accept_file) as stream:
                self._read_accepted()  # another process may have met the host in the meantime
                if self._known(name, target, self._accepted.of(name), key_type, blob):
                    return ""
                # One write, so that a SIGKILL leaves all of it or a part that ends in no newline;
                # then begin a new one.
                torn = os.fstat(stream).st_size > self._offset
                os.write(stream, ("\n" * torn + line + "\n").encode())
                self._read_accepted()
        return note


def _load(path: str) -> KnownHosts:
    known = KnownHosts()
    with contextlib.suppress(FileNotFoundError):
        known.add(read_file(expand_home(path), FILE_MAX).decode("utf-8", "replace"), source=path)
    return known


def _revoked_files(target: SshTarget) -> tuple[str, ...]:
    return target.ssh_config.revoked_host_keys if target.ssh_config else ()


def _alias(target: SshTarget) -> str:
    return target.ssh_config.host_key_alias if target.ssh_config else ""


def _name(target: SshTarget) -> str:
    """Returns the name that known_hosts files have for a target; an alias of ssh_config is for
    every port.
    """
    return _alias(target) or known_hosts_name(target.address, target.port)


def _refused(target: SshTarget, shown: str, where: str) -> TransportError:
    reason = f"revoked host key: {_name(target)} shows {shown}, which {where} revokes"
    return TransportError("host key", reason, hint=_show(target), kind="host key revoked")


def _revoked(path: str) -> frozenset[bytes]:
    """Returns the keys in a file of public keys; raises where it is a list in OpenSSH's own binary
    form.
    """
    data = read_file(expand_home(path), FILE_MAX)
    if data.startswith(b"SSHKRL\n\0"):
        raise TransportError(
            "host key",
            f"{path} (RevokedHostKeys) is a binary list, which the built-in client cannot read",
            hint=rerun_hint("--transport", "openssh"),
            kind="known_hosts not usable",
        )
    words = (line.split() for line in data.decode("utf-8", "replace").split("\n"))
    return frozenset(_decoded(word) for line in words for word in line if word.startswith("AAAA"))


@contextlib.contextmanager
def _usable(path: str | Path) -> Iterator[None]:
    """Turns what the operating system has against a file into a reason."""
    try:
        yield
    except OSError as e:
        reason = f"{path} cannot be used: {(e.strerror or str(e)).lower()}"
        raise TransportError(
            "host key",
            reason,
            hint=shell_join(["ls", "-ldL", str(path)]),
            kind="known_hosts not usable",
        ) from e


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Yields once a descriptor for appending to `path` while no other process has one."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        check_regular(os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_EX)  # released by close, and by the kernel when the process dies
        yield fd
    finally:
        os.close(fd)


def _scan(target: SshTarget) -> str:
    dashes = (
        ["--"] if target.address.startswith("-") else []
    )  # a name that looks like an option must stay a name
    return shell_join(["ssh-keyscan", "-p", str(target.port), *dashes, target.address])


def forget_command(name: str, file: str) -> str:
    """Returns the command that makes a host's key unknown again, with a word of warning."""
    return f"{shell_join(['ssh-keygen', '-R', name, '-f', file])}  # only once you know why it has changed"


def _show(target: SshTarget) -> str:
    return f"{_scan(target)} | ssh-keygen -lf -"


def _learn(target: SshTarget, files: Sequence[str]) -> str:
    return f"{_scan(target)} >> {shell_join([files[0]])}"
