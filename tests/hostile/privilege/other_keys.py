"""Host keys that no sshd shows: forged and malformed certificates, and other keys at a rekey."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import paramiko

from fleetaudit.transport.ssh_fields import string_of
from tests.hostile.table import Seen
from tests.support.sshd import Server

from .odd_server import Shown, certificate, certified, load, odd_server, plain
from .world import (
    NAME,
    Expected,
    Run,
    World,
    by_fleetaudit,
    by_openssh,
    compared,
    login_lines,
    write_config,
)

CERTIFICATE = "ssh-ed25519-cert-v01@openssh.com"


@dataclass(frozen=True)
class Parts:
    """The keys of a case: the host's, its authority's and a stranger's."""

    host: paramiko.PKey
    authority: paramiko.PKey
    other: paramiko.PKey

    def certificate(self, **changes: object) -> bytes:
        return certificate(self.host, self.authority, **changes)

    def shown(self, **changes: object) -> Shown:
        return certified(self.host, self.certificate(**changes))


Show = Callable[[Parts], Shown]
AUTHORITY_AND_KEY = (("@cert-authority", "authority"), ("", "host"))
KEY = (("", "host"),)
POLICIES = {"yes": "strict", "no": "off"}


@dataclass(frozen=True)
class Odd:
    """One case: what the host shows, at first and at a rekey, and what the clients must do.

    `known` are the markers and keys of known_hosts.
    """

    shows: Show
    expected: Expected
    rekey: Show | None = None
    known: tuple[tuple[str, str], ...] = AUTHORITY_AND_KEY
    policy: str = "yes"


def _line(marker: str, port: int, key: paramiko.PKey) -> str:
    text = base64.b64encode(key.asbytes()).decode()
    return f"{marker} [127.0.0.1]:{port} ssh-ed25519 {text}\n".lstrip()


def _parts(world: World) -> Parts:
    return Parts(*(load(world.authority(name)) for name in ("odd_host", "ca", "other")))


def run_odd(odd: Odd, world: World) -> Seen:
    """Asks both clients about the host."""
    parts, folder = _parts(world), world.make_folder("odd")
    rekey = odd.rekey(parts) if odd.rekey else None
    known = folder / "known_hosts"
    with odd_server(odd.shows(parts), rekey) as port:
        lines = (_line(marker, port, getattr(parts, key)) for marker, key in odd.known)
        known.write_text("".join(lines))
        server = Server(port, 0, world.keys, folder / "log", known)
        config = write_config(folder / "config", (NAME, login_lines(server, known)))
        openssh = by_openssh(config, policy=odd.policy)
        ours = by_fleetaudit(config, policy=POLICIES[odd.policy])
    return compared(openssh, ours, odd.expected)


YES, FORGED = Expected(True), Expected(False, "signature of its authority is wrong")
NOT_VALID = Expected(False, "host certificate that is not valid")
CHANGED = Expected(False, "another host key in the middle of the connection")
STRICTER = dataclasses.replace(CHANGED, openssh=True)
"""OpenSSH checks nothing with StrictHostKeyChecking=no; we refuse another key even then."""


def _plain(parts: Parts) -> Shown:
    return plain(parts.host)


def _other(parts: Parts) -> Shown:
    return plain(parts.other)


def _flipped(blob: bytes, at: int) -> bytes:
    changed = bytearray(blob)
    changed[at] ^= 1
    return bytes(changed)


def _cut(size: int) -> Show:
    return lambda parts: certified(parts.host, parts.certificate()[:size])


ODD: dict[str, Odd] = {
    "right, by this server": Odd(lambda p: p.shown(), YES, known=AUTHORITY_AND_KEY[:1]),
    "a critical option": Odd(
        lambda p: p.shown(critical=string_of(b"force-command") + string_of(string_of(b"true"))),
        Expected(False, "critical option"),
        known=AUTHORITY_AND_KEY[:1],
    ),
    "a critical option, plain key known": Odd(
        lambda p: p.shown(critical=string_of(b"x@y") + string_of(b"")), YES
    ),
    "names with control characters and without end": Odd(
        lambda p: p.shown(principals=(b"\x1b]0;x\x07\n\xff", b"x" * 60_000) * 2),
        Expected(False, "only for "),
        known=AUTHORITY_AND_KEY[:1],
    ),
    "forged: the last bit": Odd(lambda p: certified(p.host, _flipped(p.certificate(), -1)), FORGED),
    "forged: another name": Odd(
        lambda p: certified(p.host, p.certificate().replace(b"127.0.0.1", b"127.0.0.2")), FORGED
    ),
    "forged: another authority's signature": Odd(
        lambda p: certified(p.host, certificate(p.host, p.other, authority=p.authority.asbytes())),
        FORGED,
    ),
    "an authority that is a certificate": Odd(lambda p: p.shown(authority=p.certificate()), FORGED),
    "an authority that is no key": Odd(lambda p: p.shown(authority=b"\xff"), NOT_VALID),
    "cut in the middle": Odd(_cut(200), NOT_VALID),
    "cut before the last byte": Odd(_cut(-1), NOT_VALID),
    "more bytes than fields": Odd(lambda p: p.shown(after=b"x"), NOT_VALID),
    "neither for users nor for hosts": Odd(lambda p: p.shown(kind=3), NOT_VALID),
    "257 names": Odd(lambda p: p.shown(principals=(b"127.0.0.1",) * 257), NOT_VALID),
    "256 names": Odd(lambda p: p.shown(principals=(b"127.0.0.1",) * 256), YES),
    "another host's certificate": Odd(
        lambda p: certified(p.other, p.certificate()), Expected(False, "", "connect")
    ),
    "a certificate where a plain key was agreed on": Odd(
        lambda p: Shown(p.host, p.certificate(), "ssh-ed25519"),
        Expected(False, "", "connect"),
        known=KEY,
    ),
    "a plain key where a certificate was agreed on": Odd(
        lambda p: Shown(p.host, p.host.asbytes(), CERTIFICATE), Expected(False, "", "connect")
    ),
    # -- rekey
    "rekey: the same key": Odd(_plain, YES, _plain, KEY),
    "rekey: the same certificate": Odd(lambda p: p.shown(), YES, lambda p: p.shown()),
    "rekey: another key": Odd(_plain, CHANGED, _other, KEY),
    "rekey: the plain key after the certificate": Odd(lambda p: p.shown(), CHANGED, _plain),
    "rekey: another certificate of the same key": Odd(
        lambda p: p.shown(), CHANGED, lambda p: p.shown(principals=())
    ),
    "rekey: a certificate of another authority": Odd(
        lambda p: p.shown(),
        CHANGED,
        lambda p: certified(p.other, certificate(p.other, p.other)),
        AUTHORITY_AND_KEY[:1],
    ),
    "rekey: another key that is known": Odd(_plain, CHANGED, _other, (*KEY, ("", "other"))),
    "rekey: another key, nothing is checked": Odd(_plain, STRICTER, _other, (), "no"),
}


def run_jump(world: World) -> Seen:
    """Asks about a host behind a jump host that shows another key at a rekey."""
    parts, folder = _parts(world), world.make_folder("jump")
    inner = world.start_sshd()
    known = folder / "known_hosts"
    with odd_server(_plain(parts), _other(parts)) as port:
        known.write_text(_line("", port, parts.host) + inner.known_hosts.read_text())
        jump = Server(port, 0, world.keys, folder / "log", known)
        config = write_config(
            folder / "config",
            ("gate", login_lines(jump, known)),
            (NAME, login_lines(inner, known, "ProxyJump gate")),
        )
        openssh, ours = by_openssh(config), by_fleetaudit(config)
    return compared(openssh, ours, Expected(False, "jump host gate: 127.0.0.1 shows another"))


CASES: dict[str, Run] = {name: partial(run_odd, odd) for name, odd in ODD.items()}
CASES["rekey: another key of a jump host"] = run_jump
