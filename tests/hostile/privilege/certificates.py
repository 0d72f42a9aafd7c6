"""Host certificates, revoked keys and their mistakes, each by a real sshd, by the
system's own ssh and by the built-in client.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.hostile.table import Seen
from tests.support.sshd import Server, generate

from .world import (
    ADDRESS,
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

Lines = Callable[["Host"], list[str]]


@dataclass(frozen=True)
class Host:
    """A server with a certificate, and what the case may write into files."""

    world: World
    server: Server
    key: Path
    authority: Path
    folder: Path

    @property
    def place(self) -> str:
        """The name with its port, as known_hosts has it."""
        return f"[{ADDRESS}]:{self.server.port}"

    def public(self, path: Path) -> str:
        return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])

    def line(self, marker: str, name: str, key: Path) -> str:
        """Returns a line of known_hosts."""
        return f"{marker} {name} {self.public(key)}".strip()

    def ca(self, name: str = "", key: Path | None = None) -> str:
        return self.line("@cert-authority", name or self.place, key or self.authority)

    def plain(self, name: str = "", key: Path | None = None) -> str:
        return self.line("", name or self.place, key or self.key)

    def revoked(self, key: Path, name: str = "*") -> str:
        return self.line("@revoked", name, key)

    def other(self, kind: str = "ed25519") -> Path:
        return self.world.authority("other", kind)


@dataclass(frozen=True)
class Certificate:
    """One case: how the host's certificate is made, what known_hosts and ssh_config have, and
    whether the host is trusted then.

    `sign` are arguments of ssh-keygen after those for a host certificate with `principals`.
    """

    known: Lines
    trusted: bool
    says: str = ""
    principals: str = ADDRESS
    sign: tuple[str, ...] = ("-V", "-1d:+1d")
    kind: str = "ed25519"
    authority: str = "ed25519"
    host: bool = True
    config: Lines = field(default=lambda _: [])
    policy: str = "yes"


POLICIES = {"yes": "strict", "accept-new": "accept-new"}


def _sign(host: Path, authority: Path, case: Certificate) -> Path:
    """Signs the key of a host, and returns the certificate."""
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "web1", *case.sign]
    if case.host:
        command.append("-h")
    if case.principals:
        command += ["-n", case.principals]
    subprocess.run([*command, f"{host}.pub"], check=True, capture_output=True)
    return host.with_name(host.name + "-cert.pub")


def _server(case: Certificate, world: World) -> tuple[Server, Path]:
    """Returns a server with such a certificate, started once, and its key."""
    made = (case.principals, case.sign, case.kind, case.authority, case.host)
    if made not in world.certified:
        key = world.make_folder("certified") / "host"
        generate(key, case.kind)
        certificate = _sign(key, world.authority("ca", case.authority), case)
        server = world.start_sshd(f"HostKey {key}", f"HostCertificate {certificate}")
        world.certified[made] = server, key
    return world.certified[made]


def run_certificate(case: Certificate, world: World) -> Seen:
    """Asks both clients about the host."""
    server, key = _server(case, world)
    folder = world.make_folder("case")
    host = Host(world, server, key, world.authority("ca", case.authority), folder)
    known = folder / "known_hosts"
    known.write_text("".join(f"{line}\n" for line in case.known(host)))
    config = write_config(folder / "config", (NAME, login_lines(server, known, *case.config(host))))
    ours = by_fleetaudit(config, policy=POLICIES[case.policy])
    openssh = by_openssh(config, policy=case.policy)  # last: under accept-new it writes the file
    return compared(openssh, ours, Expected(case.trusted, case.says))


def _hashed(host: Host) -> list[str]:
    """Returns the line of the authority with its name hashed by ssh-keygen."""
    path = host.folder / "to_hash"
    path.write_text(host.ca() + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    return path.read_text().splitlines()


def _list(*keys: str) -> Lines:
    """Returns the RevokedHostKeys line for a list of public keys."""

    def lines(host: Host) -> list[str]:
        files = {"key": host.key, "ca": host.authority, "other": host.other()}
        path = host.folder / "revoked"
        texts = (host.public(files[key]) if key in files else key for key in keys)
        path.write_text("".join(f"{text}\n" for text in ("# revoked", "", *texts)))
        return [f"RevokedHostKeys {path}"]

    return lines


def _krl(specification: str, *options: str) -> Lines:
    """Returns the RevokedHostKeys line for a KRL by ssh-keygen; KEY, CA and OTHER are files."""

    def lines(host: Host) -> list[str]:
        path, what = host.folder / "krl", host.folder / "specification"
        files = {"KEY": host.key, "CA": host.authority, "OTHER": host.other()}
        text = specification
        for word, file in files.items():
            text = text.replace(word, host.public(file))
        what.write_text(text + "\n")
        given = [str(host.authority) if word == "CA" else word for word in options]
        command = ["ssh-keygen", "-q", "-k", "-f", str(path), *given, str(what)]
        subprocess.run(command, check=True, capture_output=True)
        return [f"RevokedHostKeys {path}"]

    return lines


def _damaged_krl(host: Host) -> list[str]:
    """Returns the RevokedHostKeys line for the first half of a KRL."""
    lines = _krl("serial: 1-1000\nid: nobody\nkey: OTHER", "-s", "CA")(host)
    path = host.folder / "krl"
    path.write_bytes(path.read_bytes()[:-9])
    return lines


EXPIRED, EARLY = ("-V", "-2d:-1d"), ("-V", "+1d:+2d")
SERIAL = ("-z", "7", "-V", "-1d:+1d")


def _ca(host: Host) -> list[str]:
    return [host.ca()]


def _ca_and_key(host: Host) -> list[str]:
    return [host.ca(), host.plain()]


def _ca_and_other_key(host: Host) -> list[str]:
    return [host.ca(), host.plain(key=host.other())]


SHA1 = ("-t", "ssh-rsa")
EVERY = ("-V", "always:forever")

CERTIFICATES: dict[str, Certificate] = {
    "a certificate by a known authority": Certificate(_ca, True),
    "ECDSA: host and authority": Certificate(_ca, True, kind="ecdsa", authority="ecdsa"),
    "RSA: host and authority": Certificate(_ca, True, kind="rsa", authority="rsa"),
    "RSA authority that signs with SHA-256": Certificate(
        _ca, True, authority="rsa", sign=("-t", "rsa-sha2-256")
    ),
    "valid forever": Certificate(_ca, True, sign=EVERY),
    "for every name": Certificate(_ca, True, principals=""),
    "several names": Certificate(_ca, True, principals=f"a,{ADDRESS},b"),
    "another name": Certificate(_ca, False, "only for web2", principals="web2"),
    "another name, plain key known": Certificate(_ca_and_key, True, principals="web2"),
    "another name, other plain key known": Certificate(
        _ca_and_other_key, False, "changed host key", principals="web2"
    ),
    "a pattern is no name": Certificate(_ca, False, "only for *", principals="*"),
    "expired": Certificate(_ca, False, "expired on", sign=EXPIRED),
    "expired, plain key known": Certificate(_ca_and_key, True, sign=EXPIRED),
    "expired, other plain key known": Certificate(
        _ca_and_other_key, False, "expired on", sign=EXPIRED
    ),
    "not valid yet": Certificate(_ca, False, "not valid before", sign=EARLY),
    "a user's certificate": Certificate(_ca, False, "for users", host=False),
    "a user's certificate, plain key known": Certificate(_ca_and_key, True, host=False),
    "unknown authority": Certificate(lambda h: [h.ca(key=h.other())], False, "no known authority"),
    "unknown authority, plain key known": Certificate(
        lambda h: [h.ca(key=h.other()), h.plain()], True
    ),
    "two authorities, the second signed": Certificate(
        lambda h: [h.ca(key=h.other()), h.ca()], True
    ),
    "no authority, plain key known": Certificate(lambda h: [h.plain()], True),
    "no authority, no key": Certificate(lambda h: [], False, "unknown host key"),
    "authority of another host": Certificate(
        lambda h: [h.ca("*.example.org")], False, "unknown host key"
    ),
    "authority by a pattern": Certificate(lambda h: [h.ca("[127.0.0.?]:*,!x")], True),
    "authority by a negated pattern": Certificate(
        lambda h: [h.ca(f"*,!{h.place},!{ADDRESS}")], False, "unknown host key"
    ),
    "authority by a pattern negated for the port only": Certificate(
        lambda h: [h.ca(f"*,!{h.place}")], True
    ),
    "authority with a hashed name": Certificate(_hashed, True),
    "authority for the name without a port": Certificate(lambda h: [h.ca(ADDRESS)], True),
    "authority without a port, expired": Certificate(
        lambda h: [h.ca(ADDRESS)], False, "expired on", sign=EXPIRED
    ),
    "authority without a port, another with it": Certificate(
        lambda h: [h.ca(ADDRESS), h.ca(key=h.other())], True
    ),
    "authority without a port, revoked without it": Certificate(
        lambda h: [h.ca(ADDRESS), h.revoked(h.authority, ADDRESS)], False, "revokes it"
    ),
    "authority without a port, revoked without it, plain key known": Certificate(
        lambda h: [h.ca(ADDRESS), h.revoked(h.authority, ADDRESS), h.plain()], True
    ),
    "authority with a port, revoked without it": Certificate(
        lambda h: [h.ca(), h.revoked(h.authority, ADDRESS)], True
    ),
    "authority without a port, other plain key with it": Certificate(
        lambda h: [h.ca(ADDRESS), h.plain(key=h.other())], True
    ),
    "the authority's key as a plain line": Certificate(
        lambda h: [h.plain(key=h.authority)], False, "changed host key"
    ),
    "the host's plain key as an authority": Certificate(
        lambda h: [h.ca(key=h.key)], False, "no known authority"
    ),
    "HostKeyAlias is the name": Certificate(
        lambda h: [h.ca("*.example.com")],
        True,
        principals=NAME,
        config=lambda _: [f"HostKeyAlias {NAME}"],
    ),
    "HostKeyAlias, certificate for the address": Certificate(
        lambda h: [h.ca("*.example.com")],
        False,
        f"not for {NAME}",
        config=lambda _: [f"HostKeyAlias {NAME}"],
    ),
    "a name in capitals is asked for in small letters": Certificate(
        lambda h: [h.ca("*")],
        True,
        principals="localhost",
        config=lambda _: ["HostName LOCALHOST"],
    ),
    "a name in capitals in the certificate": Certificate(
        lambda h: [h.ca("*")],
        False,
        "only for LOCALHOST",
        principals="LOCALHOST",
        config=lambda _: ["HostName localhost"],
    ),
    "HostKeyAlias in capitals, certificate in small letters": Certificate(
        lambda h: [h.ca("*.example.com")],
        True,
        principals=NAME,
        config=lambda _: [f"HostKeyAlias {NAME.upper()}"],
    ),
    "HostKeyAlias in capitals, certificate in capitals": Certificate(
        lambda h: [h.ca("*.example.com")],
        False,
        f"not for {NAME}, only for {NAME.upper()}",
        principals=NAME.upper(),
        config=lambda _: [f"HostKeyAlias {NAME.upper()}"],
    ),
    "accept-new: expired": Certificate(_ca, True, sign=EXPIRED, policy="accept-new"),
    "accept-new: expired, other plain key known": Certificate(
        _ca_and_other_key, False, "changed host key", sign=EXPIRED, policy="accept-new"
    ),
    "accept-new: revoked authority": Certificate(
        lambda h: [h.ca(), h.revoked(h.authority)], False, "revoked", policy="accept-new"
    ),
    # -- algorithms
    "SHA-1 signature": Certificate(_ca, False, "ssh-rsa", authority="rsa", sign=SHA1),
    "SHA-1 signature, plain key known": Certificate(_ca_and_key, True, authority="rsa", sign=SHA1),
    "CASignatureAlgorithms without the authority's": Certificate(
        _ca, False, "not allowed", config=lambda _: ["CASignatureAlgorithms rsa-sha2-512"]
    ),
    "CASignatureAlgorithms with the authority's": Certificate(
        _ca,
        True,
        authority="rsa",
        config=lambda _: ["CASignatureAlgorithms rsa-sha2-512,ssh-ed25519"],
    ),
    "HostKeyAlgorithms without certificates": Certificate(
        _ca, False, "shows no certificate", config=lambda _: ["HostKeyAlgorithms ssh-ed25519"]
    ),
    "HostKeyAlgorithms without certificates, plain key known": Certificate(
        _ca_and_key, True, config=lambda _: ["HostKeyAlgorithms ssh-ed25519"]
    ),
    "HostKeyAlgorithms with only certificates": Certificate(
        _ca, True, config=lambda _: ["HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com"]
    ),
    "HostKeyAlgorithms with only certificates, plain key known": Certificate(
        lambda h: [h.plain()],
        True,
        config=lambda _: ["HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com"],
    ),
    # -- @revoked
    "revoked authority": Certificate(lambda h: [h.ca(), h.revoked(h.authority)], False, "revoked"),
    "revoked authority, plain key known": Certificate(
        lambda h: [*_ca_and_key(h), h.revoked(h.authority)], False, "revoked"
    ),
    "revoked authority, without certificates asked for": Certificate(
        lambda h: [*_ca_and_key(h), h.revoked(h.authority)],
        True,
        config=lambda _: ["HostKeyAlgorithms ssh-ed25519"],
    ),
    "revoked plain key, valid certificate": Certificate(
        lambda h: [h.ca(), h.revoked(h.key)], False, "revoked"
    ),
    "revoked plain key, also known": Certificate(
        lambda h: [h.plain(), h.revoked(h.key, h.place)], False, "revoked"
    ),
    "revoked key of another host": Certificate(
        lambda h: [h.ca(), h.revoked(h.key, "*.example.org")], True
    ),
    "revoked key without a port, known without a port": Certificate(
        lambda h: [h.plain(ADDRESS), h.revoked(h.key, ADDRESS)], False, "revoked"
    ),
    "another revoked key": Certificate(lambda h: [h.ca(), h.revoked(h.other())], True),
    # -- RevokedHostKeys: a list
    "list: the plain key": Certificate(_ca, False, "revoked", config=_list("other", "key")),
    "list: the authority": Certificate(_ca_and_key, False, "revoked", config=_list("ca")),
    "list: another key": Certificate(_ca, True, config=_list("other")),
    "list: empty": Certificate(_ca, True, config=_list()),
    "list: a line that is no key": Certificate(
        _ca, False, "is not a public key", config=_list("other", "no key at all")
    ),
    "list: a line of known_hosts": Certificate(
        _ca, False, "is not a public key", config=lambda h: _list(h.plain(key=h.other()))(h)
    ),
    "list: missing": Certificate(
        _ca, False, "no such file", config=lambda h: [f"RevokedHostKeys {h.folder}/none"]
    ),
    # -- RevokedHostKeys: a key revocation list
    "KRL: the plain key": Certificate(_ca, False, "revoked", config=_krl("key: KEY")),
    "KRL: the plain key by SHA-1": Certificate(_ca, False, "revoked", config=_krl("sha1: KEY")),
    "KRL: the plain key by SHA-256": Certificate(
        _ca_and_key, False, "revoked", config=_krl("sha256: KEY")
    ),
    "KRL: the authority": Certificate(_ca_and_key, False, "revoked", config=_krl("key: CA")),
    "KRL: the authority by SHA-256": Certificate(_ca, False, "revoked", config=_krl("sha256: CA")),
    "KRL: the certificate's number": Certificate(
        _ca_and_key, False, "revoked", sign=SERIAL, config=_krl("serial: 7", "-s", "CA")
    ),
    "KRL: a range with the number": Certificate(
        _ca, False, "revoked", sign=SERIAL, config=_krl("serial: 5-900000", "-s", "CA")
    ),
    "KRL: a bitmap with the number": Certificate(
        _ca,
        False,
        "revoked",
        sign=SERIAL,
        config=_krl("\n".join(f"serial: {n}" for n in (1, 3, 5, 7, 9, 12)), "-s", "CA"),
    ),
    "KRL: a bitmap without the number": Certificate(
        _ca,
        True,
        sign=SERIAL,
        config=_krl("\n".join(f"serial: {n}" for n in (1, 3, 5, 8, 9, 12)), "-s", "CA"),
    ),
    "KRL: other numbers": Certificate(
        _ca, True, sign=SERIAL, config=_krl("serial: 8-900000\nserial: 2", "-s", "CA")
    ),
    "KRL: no number is no match": Certificate(
        _ca, True, config=_krl("serial: 1-900000", "-s", "CA")
    ),
    "KRL: the certificate's identity": Certificate(
        _ca, False, "revoked", config=_krl("id: web1", "-s", "CA")
    ),
    "KRL: the identity, whatever authority": Certificate(
        _ca, False, "revoked", config=_krl("id: web1", "-s", "none")
    ),
    "KRL: another identity": Certificate(_ca, True, config=_krl("id: web10", "-s", "CA")),
    "KRL: another key": Certificate(_ca, True, config=_krl("key: OTHER\nsha256: OTHER")),
    "KRL: empty": Certificate(_ca, True, config=_krl("# nothing")),
    "KRL: damaged": Certificate(_ca, False, "cannot be used", config=_damaged_krl),
}


CASES: dict[str, Run] = {
    name: partial(run_certificate, certificate) for name, certificate in CERTIFICATES.items()
}
