"""The contents of known_hosts files: which lines are for which host.

Rules: lines are found in a dict by name. Each hashed line has a salt of its own, so that a name
costs one HMAC a line: 10 ms among 10,000. Therefore lines are found by key as well: of a key that a
host showed, only its own lines are hashed, and a host whose key is known costs one HMAC. All lines
are hashed for hosts whose key is not known, once a name. Format: sshd(8), SSH_KNOWN_HOSTS FILE
FORMAT.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress, repeat

from fleetaudit.text.wildcards import wildcard_regex

from .ssh_fields import string_of

USER_FILES = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
"""Where OpenSSH looks if no file is named."""

FILE_MAX = 64 * 1024 * 1024
"""Maximum size of a file with host keys, in bytes."""

_MARKERS = ("", "@revoked", "@cert-authority")
_PATTERN_SIGNS = frozenset("*?!")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line for one host.

    `marker` is "", "@revoked" or "@cert-authority"; `text` is the key in base64; `source` and
    `line` are the file and the number of the line in it, from 1.
    """

    marker: str
    key_type: str
    text: str
    source: str
    line: int

    @property
    def location(self) -> str:
        """The file and line, as file:line."""
        return f"{self.source}:{self.line}"

    @property
    def has_whole_key(self) -> bool:
        """Whether the key is a sequence of SSH strings to its last byte, the first of them the type
        of the line.

        Half a line after a crash is not; ssh ignores a line whose type is not that of its key.
        """
        blob, at = decode_key(self.text), 0
        if not blob.startswith(string_of(self.key_type.encode())):
            return False
        while at < len(blob):
            at += 4 + int.from_bytes(blob[at : at + 4], "big")  # RFC 4251, section 5: string
        return at == len(blob)

    @property
    def is_host_key(self) -> bool:
        """Whether the line has a key of the host itself, whole: no marker, no half a line."""
        return not self.marker and self.has_whole_key

    @property
    def is_authority(self) -> bool:
        """Whether the line has the key of a certificate authority, whole."""
        return self.marker == "@cert-authority" and self.has_whole_key

    def trusts(self, text: str) -> bool:
        """Returns whether the line trusts the key `text`, in base64, as the host's own."""
        return self.text == text and self.is_host_key

    def revokes(self, text: str) -> bool:
        """Returns whether the line revokes the key `text`, in base64, for every host."""
        return self.marker == "@revoked" and self.text == text


@dataclass(slots=True)
class HashedLines:
    """The lines whose name is hashed: the salts, the digests and the entries, in the same order."""

    salts: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def add(self, names: str, entry: Entry) -> bool:
        """Adds an entry for one hashed name, |1|SALT|DIGEST; returns False for an invalid one."""
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in names[3:].split("|"))
        except ValueError:  # binascii.Error is a child of it
            return False
        self.salts.append(salt)
        self.digests.append(digest)
        self.entries.append(entry)
        return True

    def of(self, name: bytes) -> Iterator[Entry]:
        """Returns the entries whose hashed name is `name`: HMAC-SHA1 with the salt as the key."""
        computed = map(hmac.digest, self.salts, repeat(name), repeat("sha1"))
        return compress(self.entries, map(operator.eq, computed, self.digests))


@dataclass(slots=True)
class KnownHosts:
    """The lines of some known_hosts files, by the name they are for.

    `plain` is by name in lower case; `hashed` are the lines with a hashed name, `hashed_by_key` the
    same by their key in base64, `hashed_types` how many of them have each key type; `patterns` has
    a test for names. `hashed_authorities` is whether any hashed line has a certificate authority.
    """

    plain: dict[str, list[Entry]] = field(default_factory=dict)
    hashed: HashedLines = field(default_factory=HashedLines)
    hashed_by_key: dict[str, HashedLines] = field(default_factory=dict)
    hashed_types: Counter[str] = field(default_factory=Counter)
    hashed_authorities: bool = False
    patterns: list[tuple[Callable[[str], bool], Entry]] = field(default_factory=list)
    _by_name: dict[str, tuple[Entry, ...]] = field(default_factory=dict)

    def add(self, text: str, *, source: str, first_line: int = 1) -> None:
        """Adds the lines of `text`.

        `source` names the file for reasons, `first_line` is the number of the first line of `text`
        in it. Ignores what is not an entry: comments, half a line, an unknown marker.
        """
        for number, line in enumerate(text.split("\n"), first_line):
            fields = _split_line(line)
            if fields:
                marker, names, key_type, key = fields
                self._add(names, Entry(marker, key_type, key, source, number))
        self._by_name.clear()

    def _add(self, names: str, entry: Entry) -> None:
        """Adds an entry for its names."""
        if names.startswith("|1|"):
            self._add_hashed(names, entry)
        elif not _PATTERN_SIGNS.isdisjoint(names):
            self.patterns.append((_name_matcher(names), entry))
        else:
            for name in names.lower().split(","):
                self.plain.setdefault(name, []).append(entry)

    def _add_hashed(self, names: str, entry: Entry) -> None:
        """Adds an entry for one hashed name."""
        if self.hashed.add(names, entry):
            self.hashed_by_key.setdefault(entry.text, HashedLines()).add(names, entry)
            self.hashed_types[entry.key_type] += not entry.marker
            self.hashed_authorities |= entry.is_authority

    def of(self, name: str) -> tuple[Entry, ...]:
        """Returns the entries for a name: plain names, then hashed ones, then patterns.

        `name` is a host, or [host]:port.
        """
        name = name.lower()
        if name not in self._by_name:
            self._by_name[name] = self._of(name, self.hashed)
        return self._by_name[name]

    def of_key(self, name: str, key: str) -> tuple[Entry, ...]:
        """Returns the entries for a name that have this key, in base64, in the order of `of`.

        Only the names of lines with this key are hashed.
        """
        name = name.lower()
        entries = self._by_name.get(name)
        if entries is None:
            entries = self._of(name, self.hashed_by_key.get(key, _NO_LINES))
        return tuple(entry for entry in entries if entry.text == key)

    def in_clear(self, name: str) -> tuple[Entry, ...]:
        """Returns the entries for a name that are not hashed."""
        return self._of(name.lower(), _NO_LINES)

    def _of(self, name: str, hashed: HashedLines) -> tuple[Entry, ...]:
        """Returns the entries for a name in lower case, `hashed` being the hashed lines."""
        return (
            *self.plain.get(name, ()),
            *hashed.of(name.encode()),
            *(entry for matches, entry in self.patterns if matches(name)),
        )


_NO_LINES = HashedLines()


def _split_line(line: str) -> tuple[str, str, str, str] | None:
    """Returns marker ("" for none), names, key type and key of a line, None if it has no entry.

    "@revoked h ssh-rsa AAAA comment" is ("@revoked", "h", "ssh-rsa", "AAAA"). A line with an
    unknown marker, or without a key ("h ssh-rsa"), has no entry.
    """
    words = line.split(None, 4)
    if not words or words[0].startswith("#"):
        return None
    if not words[0].startswith("@"):
        words.insert(0, "")
    if len(words) < 4 or words[0] not in _MARKERS:
        return None
    marker, names, key_type, key = words[:4]
    return marker, names, key_type, key


def _name_matcher(names: str) -> Callable[[str], bool]:
    """Returns the test for a list with *, ? and ! (ssh_config(5), PATTERNS).

    One negated match refuses the whole line: "*.a,!b.a" is for c.a and not for b.a. A list of
    negated patterns alone, such as "!b", is for no name.
    """
    accepted, refused = list[str](), list[str]()
    for pattern in names.lower().split(","):
        if pattern.startswith("!"):
            refused.append(pattern[1:])
        else:
            accepted.append(pattern)
    accept, refuse = _any_of(accepted), _any_of(refused)

    def matches(name: str) -> bool:
        return accept.fullmatch(name) is not None and refuse.fullmatch(name) is None

    return matches


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Returns the regular expression for names that match one of the patterns.

    For no patterns, it matches nothing.
    """
    regexes = "|".join(map(wildcard_regex, patterns))
    return re.compile(regexes or "(?!)")


def fingerprint(blob: bytes) -> str:
    """Returns the SHA256 fingerprint of a raw public key, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def decode_key(text: str) -> bytes:
    """Returns the bytes of a key in base64, b"" if it is not base64.

    The bytes are the key's blob of RFC 4253, section 6.6: its type, then its fields.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, and for characters beyond ASCII its parent
        return b""
