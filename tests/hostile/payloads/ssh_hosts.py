"""Hosts on loopback that say payloads at every stage of a connection, before and after the login.

One sshd answers on many addresses of 127.0.0.0/8: its forced command and its banner are those of
the address. What a host says before the login needs no key, so plain sockets say it.
"""

from __future__ import annotations

import contextlib
import getpass
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import inspect

from fleetaudit.probe.protocol import REPLY_MARK
from fleetaudit.probe.reply import Reply
from fleetaudit.probe.result_line import find_result
from tests import ROOT
from tests.support.sshd import free_port, generate, program, running

from .corpus import Payload
from .fields import Placed, tags
from .runs import SPLIT

PLAYBOOK = """
- name: A quick one
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout, net.ipv4.tcp_rmem]
    expect:
      net.ipv4.tcp_fin_timeout: {equals: "x"}
"""
KEPT = frozenset(("scenario", "fleetaudit", "digest", "protocol", "nonce"))
"""What names something that was asked."""
_FORCED = """#!/bin/sh
set -- $SSH_CONNECTION
cat "{folder}/$3.err" >&2 2>/dev/null
printf '%s\\n' "{mark} $(id -u) $(id -un)"
read -r _; read -r second
nonce=$(printf '%s' "$second" | sed "s/.*NONCE = [^,]*, '\\([0-9a-f]*\\)'.*/\\1/")
LC_ALL=C sed "s/@NONCE@/$nonce/" "{folder}/$3.out" 2>/dev/null
cat >/dev/null
exit 3
"""
"""Reads the nonce of the program, prints what the address has to say, and fails."""


@dataclass
class Hosts:
    """An inventory of hosts that say payloads, and where each payload is, by its tag."""

    folder: Path
    most: int = 200
    placed: dict[str, Placed] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _tags: Iterator[str] = field(default_factory=tags)

    def place(self, path: str, payload: Payload, most: int = sys.maxsize) -> str:
        """Returns the text of one field, with its tag."""
        tag = next(self._tags)
        text = payload.text.encode("utf-8", "replace").decode()[: min(most, self.most) - len(tag)]
        if path in SPLIT:
            text = " ".join(text.split())
        self.placed[tag] = placed = Placed(path, payload.kind, text, tag)
        return placed.text

    def add(self, address: str, port: int, more: str = "") -> str:
        """Adds a host to the inventory, and returns its name."""
        name = f"h{len(self.lines):03}"
        self.lines.append(f"{name} ansible_host={address} ansible_port={port} {more}".rstrip())
        return name

    def write(self) -> Path:
        """Writes the inventory and the playbook."""
        (self.folder / "quick.yml").write_text(PLAYBOOK)
        inventory = self.folder / "hosts"
        user, key = getpass.getuser(), self.folder / "user"
        inventory.write_text(
            "\n".join(
                (
                    *self.lines,
                    "[all:vars]",
                    f"ansible_user={user}",
                    f"ansible_ssh_private_key_file={key}",
                    "",
                )
            )
        )
        return inventory


@contextlib.contextmanager
def hostile_hosts(
    folder: Path, payloads: Sequence[Payload], each: int, *, most: int = 200
) -> Iterator[Hosts]:
    """Starts servers that say the payloads, `each` hosts for each of the ways to say something.

    `most` is how many characters of a payload are used.
    """
    hosts, texts = Hosts(folder, most), itertools.cycle(payloads)
    generate(folder / "host", "ed25519")
    generate(folder / "user", "ed25519")
    (folder / "said").mkdir()
    reply = _real_reply(folder)
    with contextlib.ExitStack() as stack:
        for number, say in enumerate(BEFORE_LOGIN):
            address = f"127.9.{number}.1"
            for _ in range(each):
                bytes_ = say(hosts, next(texts))
                port = stack.enter_context(_saying(address, bytes_))
                hosts.add(address, port)
        port = free_port()
        addresses = (f"127.8.{n // 200}.{n % 200 + 1}" for n in itertools.count())
        banners = list[str]()
        for say_after in AFTER_LOGIN:
            for _ in range(each):
                address = next(addresses)
                banners += say_after(hosts, address, texts, reply)
                hosts.add(address, port)
        stack.enter_context(_sshd(folder, port, banners))
        for _ in range(each):
            said = _say(
                hosts, f"p{len(hosts.lines)}", "err", hosts.place("ProxyCommand", next(texts))
            )
            command = said.with_suffix(".sh")
            command.write_text(f"#!/bin/sh\ncat {said} >&2\nexit 1\n")
            command.chmod(0o755)
            proxy = f"ansible_ssh_common_args='-o ProxyCommand={command}'"
            hosts.add("127.0.0.1", 9, proxy)
        hosts.write()
        yield hosts


# ---- before the login


def _greeting(hosts: Hosts, payload: Payload) -> bytes:
    """Says a payload as the version of the server."""
    return b"SSH-2.0-" + _encode(hosts.place("version", payload)) + b"\r\n"


def _lines_before(hosts: Hosts, payload: Payload) -> bytes:
    """Says a payload before the greeting, and never greets."""
    return _encode(hosts.place("lines before the greeting", payload)) + b"\r\n"


def _disconnect(hosts: Hosts, payload: Payload) -> bytes:
    """Greets, and disconnects with a payload as the reason."""
    text = _encode(hosts.place("disconnect", payload))
    body = b"\x01" + struct.pack(">I", 2) + _string(text) + _string(b"")
    return b"SSH-2.0-x\r\n" + _packet(body)


def _algorithms(hosts: Hosts, payload: Payload) -> bytes:
    """Greets, and offers payloads as algorithms."""
    name = _encode(hosts.place("algorithms", payload)).replace(b",", b".")
    lists = b"".join(_string(name) for _ in range(8)) + _string(b"") * 2
    return b"SSH-2.0-x\r\n" + _packet(b"\x14" + os.urandom(16) + lists + bytes(5))


BEFORE_LOGIN: tuple[Callable[[Hosts, Payload], bytes], ...] = (
    _greeting,
    _lines_before,
    _disconnect,
    _algorithms,
)


def _encode(text: str) -> bytes:
    """Returns a text as bytes; C1 controls are sent as the single bytes that a terminal obeys."""
    return text.encode("utf-8", "replace")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _packet(body: bytes) -> bytes:
    """Returns an SSH packet that is not encrypted (RFC 4253, section 6)."""
    padding = 4 + -(len(body) + 9) % 8
    return struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)


@contextlib.contextmanager
def _saying(address: str, data: bytes) -> Iterator[int]:
    """Yields the port of a server that says something to everybody, and hangs up."""
    with socket.create_server((address, 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.sendall(data)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


# ---- after the login


def _stderr(hosts: Hosts, address: str, texts: Iterator[Payload], _: Any) -> list[str]:
    """Says a payload on standard error of the command."""
    _say(hosts, address, "err", hosts.place("stderr", next(texts)) + "\n")
    return []


def _stdout(hosts: Hosts, address: str, texts: Iterator[Payload], _: Any) -> list[str]:
    """Says a payload in place of a reply."""
    _say(hosts, address, "out", hosts.place("stdout", next(texts)) + "\n")
    return []


def _banner(hosts: Hosts, address: str, texts: Iterator[Payload], _: Any) -> list[str]:
    """Says a payload as the banner, and takes no key."""
    file = _say(hosts, address, "banner", hosts.place("banner", next(texts)) + "\n")
    return [f"Match LocalAddress {address}", f"Banner {file}", "AuthorizedKeysFile none"]


def _reply(hosts: Hosts, address: str, texts: Iterator[Payload], reply: Any) -> list[str]:
    """Sends a reply whose every text is a payload, except what was asked."""

    def place(path: str, most: int) -> str:
        return hosts.place(path, next(texts), most)

    body = _replaced(inspect.type_info(Reply), {**reply, "nonce": "@NONCE@"}, "", place)
    _say(hosts, address, "out", REPLY_MARK.decode() + json.dumps(body) + "\n")
    return []


AFTER_LOGIN = (_stderr, _stdout, _banner, _reply, _reply)


def _say(hosts: Hosts, address: str, name: str, text: str) -> Path:
    """Writes what an address has to say."""
    file = hosts.folder / f"said/{address}.{name}"
    file.write_bytes(_encode(text))
    return file


def _replaced(kind: Any, value: Any, path: str, place: Callable[[str, int], str]) -> Any:
    """Returns a reply with its texts replaced; keys of mappings and names that were asked stay."""
    if isinstance(kind, inspect.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.StrType) and isinstance(value, str):
        keeps = kind.pattern or path.rpartition(".")[2] in KEPT or (kind.max_length or 99) < 30
        return value if keeps else place(path, kind.max_length or 200)
    if isinstance(value, dict) and isinstance(kind, inspect.StructType):
        types = {one.encode_name: one.type for one in kind.fields}
        return {
            name: _replaced(types[name], inner, f"{path}.{name}".lstrip("."), place)
            if name in types
            else inner
            for name, inner in value.items()
        }
    if isinstance(value, dict) and isinstance(kind, inspect.DictType):
        return {key: _replaced(kind.value_type, inner, path, place) for key, inner in value.items()}
    if isinstance(value, list) and hasattr(kind, "item_type"):
        return [_replaced(kind.item_type, inner, path, place) for inner in value]
    return value


def _real_reply(folder: Path) -> Any:
    """Returns what the probe answers here to the call of `PLAYBOOK`."""
    (folder / "quick.yml").write_text(PLAYBOOK)
    program_ = subprocess.run(
        [sys.executable, "-m", "fleetaudit", "probe", "-p", "quick.yml"],
        cwd=folder, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-"], input=program_.stdout, capture_output=True, timeout=300
    )
    return json.loads(find_result(done.stdout) or b"{}")


@contextlib.contextmanager
def _sshd(folder: Path, port: int, banners: Sequence[str]) -> Iterator[None]:
    """Runs an sshd whose command and banner depend on the address that it is asked at."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    forced = folder / "forced"
    forced.write_text(_FORCED.format(folder=folder / "said", mark="fleetaudit-shell/1"))
    forced.chmod(0o755)
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    lines = (
        f"Port {port}", "ListenAddress 0.0.0.0", f"HostKey {folder}/host", "PidFile none",
        f"AuthorizedKeysFile {folder}/authorized_keys", "StrictModes no", "UsePAM no",
        "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
        "MaxStartups 500", f"ForceCommand {forced}", *banners,
    )  # fmt: skip
    config, log = folder / "sshd_config", folder / "sshd.log"
    config.write_text("".join(f"{line}\n" for line in lines))
    argv: list[str | Path] = [program("sshd"), "-D", "-e", "-f", config]
    with running(argv, log, lambda: "Server listening on" in log.read_text("utf-8", "replace")):
        yield
