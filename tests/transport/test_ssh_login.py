"""Logging in: which key is offered, in which order, how often, and how a refusal is reported."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from tests.support.sshd import (
    KEY_TYPES,
    Keys,
    Server,
    Start,
    failure_of,
    generate,
    require,
)
from tests.support.timing import BUSY_S

AddKeys = Callable[..., None]


def run(target: SshTarget, seconds: float = 300, accept_file: Path | None = None) -> Output:
    return Transports(accept_file=accept_file).run(
        target, "echo in", b"", Deadline.after(seconds), Limits()
    )


def failure(target: SshTarget, seconds: float = 300) -> TransportError:
    return failure_of(lambda: run(target, seconds))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives the test a home of its own, so that no key and no agent of the user's is offered."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


def attempts(server: Server) -> int:
    """Returns how many keys sshd has refused so far, by its own log."""
    return len(re.findall(r"Failed publickey", server.log.read_text()))


# ---- keys from files


@pytest.mark.parametrize("server", ["sshd", "dropbear"])
@pytest.mark.parametrize("kind", KEY_TYPES)
def test_every_type_of_key_logs_in(request: pytest.FixtureRequest, server: str, kind: str) -> None:
    found: Server = request.getfixturevalue(server)
    assert run(found.target(private_keys=(str(found.keys.user(kind)),))).stdout == b"in\n"


@pytest.mark.parametrize("algorithm", ["rsa-sha2-256", "rsa-sha2-512"])
def test_an_rsa_key_signs_by_an_algorithm_that_the_server_accepts(
    start_sshd: Start, keys: Keys, algorithm: str
) -> None:
    # sshd's own list of what it accepts is not what it announces, so only the better of the two can
    # be forced here.
    accepted = "PubkeyAcceptedAlgorithms rsa-sha2-512"
    server = start_sshd(accepted, f"HostKeyAlgorithms {algorithm}", host_keys=("rsa",))
    assert run(server.target(private_keys=(str(keys.user("rsa")),))).stdout == b"in\n"


def test_an_older_key_file_in_pem_logs_in(sshd: Server, keys: Keys, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copy(keys.user("rsa"), old)
    subprocess.run(
        ["ssh-keygen", "-p", "-q", "-m", "PEM", "-N", "", "-f", old],
        check=True,
        capture_output=True,
    )
    assert "BEGIN RSA PRIVATE KEY" in old.read_text()
    assert run(sshd.target(private_keys=(str(old),))).stdout == b"in\n"


def test_a_user_certificate_logs_in_if_only_its_authority_is_known(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    ca, user = generate(tmp_path / "ca", "ed25519"), tmp_path / "user"
    for kind in ("ed25519", "rsa"):
        generate(user.with_name(kind), kind)
        command = ["ssh-keygen", "-q", "-s", str(ca), "-I", "me", "-n", getpass.getuser()]
        subprocess.run([*command, f"{user.with_name(kind)}.pub"], check=True)
    server = start_sshd(f"TrustedUserCAKeys {ca}.pub", authorized=())
    for kind in ("ed25519", "rsa"):
        assert run(server.target(private_keys=(str(user.with_name(kind)),))).stdout == b"in\n"


def test_the_default_keys_are_tried_if_none_is_named(sshd: Server, keys: Keys, home: Path) -> None:
    shutil.copy(keys.user("ecdsa"), home / ".ssh/id_ecdsa")
    assert run(sshd.target(private_keys=())).stdout == b"in\n"


def test_a_refused_key_is_reported_with_its_file_and_is_never_tried_twice(
    start_sshd: Start, tmp_path: Path
) -> None:
    server, stranger = start_sshd("LogLevel VERBOSE"), generate(tmp_path / "stranger", "ed25519")
    e = failure(server.target(private_keys=(str(stranger),)))
    assert (e.stage, e.transient) == ("authenticate", False)
    assert str(stranger) in e.reason
    assert "it accepts publickey" in e.reason
    assert f"-i {stranger}" in e.hint
    assert "BatchMode=yes" in e.hint
    assert attempts(server) == 1


def test_the_hint_of_a_refused_key_is_refused_for_the_same_reason(
    sshd: Server, tmp_path: Path
) -> None:
    require("ssh")
    e = failure(sshd.target(private_keys=(str(generate(tmp_path / "strange key", "ed25519")),)))
    done = subprocess.run(
        ["/bin/sh", "-c", e.hint], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_the_hint_of_a_host_that_works_works(sshd: Server) -> None:
    require("ssh")
    e = failure(sshd.target(), seconds=0)
    assert e.hint
    done = subprocess.run(
        ["/bin/sh", "-c", e.hint], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_user_that_does_not_exist_is_refused_like_a_key(sshd: Server) -> None:
    e = failure(sshd.target(user="nobody-of-that-name"))
    assert e.stage == "authenticate"
    assert "nobody-of-that-name" in e.reason


def test_a_missing_key_file_is_reported_before_anything_is_offered(start_sshd: Start) -> None:
    server = start_sshd("LogLevel VERBOSE")
    e = failure(server.target(private_keys=("/nonexistent/key",)))
    assert e.stage == "authenticate"
    assert "/nonexistent/key does not exist" in e.reason
    assert e.hint == "ls -l /nonexistent/key"
    assert attempts(server) == 0


@pytest.mark.parametrize(
    "content", ["", "garbage", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n"]
)
def test_a_file_that_is_not_a_key_is_reported_with_its_name(
    sshd: Server, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "no key"
    path.write_text(content)
    path.chmod(0o600)
    e = failure(sshd.target(private_keys=(str(path),)))
    assert e.stage == "authenticate"
    assert f"the private key {path} cannot be used" in e.reason


def test_an_encrypted_key_without_its_passphrase_is_reported_with_the_command_that_helps(
    sshd: Server, tmp_path: Path
) -> None:
    path = generate(tmp_path / "locked", "ed25519", "secret")
    e = failure(sshd.target(private_keys=(str(path),)))
    assert e.stage == "authenticate"
    assert "is encrypted" in e.reason
    assert e.hint == f"ssh-add {path}"


def test_the_absence_of_any_key_is_reported(sshd: Server) -> None:
    e = failure(sshd.target(private_keys=()))
    assert e.stage == "authenticate"
    assert "there is no key to log in with" in e.reason
    assert "it accepts publickey" in e.reason


def test_a_server_that_requires_more_than_the_key_is_reported(start_sshd: Start) -> None:
    server = start_sshd("PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    e = failure(server.target())
    assert "the key is right, but the host also requires password" in e.reason


def test_the_banner_of_a_host_is_quoted_sanitized(start_sshd: Start, tmp_path: Path) -> None:
    banner = tmp_path / "banner"
    banner.write_text("\033]0;owned\007Call the \u202edesk\n" + "x" * 100_000)
    e = failure(start_sshd(f"Banner {banner}", authorized=()).target())
    assert "Call the" in e.reason
    assert len(e.reason) < 1500


# ---- the agent


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_key_of_the_agent_logs_in(sshd: Server, keys: Keys, agent: AddKeys, kind: str) -> None:
    agent(keys.user(kind))
    assert run(sshd.target(private_keys=(), use_agent=True)).stdout == b"in\n"


def test_a_key_of_the_agent_logs_in_to_dropbear(
    dropbear: Server, keys: Keys, agent: AddKeys
) -> None:
    agent(keys.user("rsa"))
    assert run(dropbear.target(private_keys=(), use_agent=True)).stdout == b"in\n"


def test_an_encrypted_key_logs_in_through_the_agent(
    start_sshd: Start, tmp_path: Path, agent: AddKeys
) -> None:
    path = generate(tmp_path / "locked", "ed25519", "secret")
    agent(path, passphrase="secret")
    server = start_sshd(authorized=(path,))
    assert run(server.target(private_keys=(str(path),), use_agent=True)).stdout == b"in\n"
    path.with_name("locked.pub").unlink()  # its public half is in the file itself, unencrypted
    assert run(server.target(private_keys=(str(path),), use_agent=True)).stdout == b"in\n"


def test_a_named_key_is_the_only_one_offered_however_many_the_agent_has(
    start_sshd: Start, keys: Keys, tmp_path: Path, agent: AddKeys
) -> None:
    agent(*(generate(tmp_path / f"other{n}", "ed25519") for n in range(8)))
    server = start_sshd("LogLevel VERBOSE")
    assert run(server.target(use_agent=True)).stdout == b"in\n"
    assert attempts(server) == 0


def test_the_right_key_among_a_few_of_the_agent_is_found_without_a_signature_by_the_others(
    start_sshd: Start, keys: Keys, tmp_path: Path, agent: AddKeys
) -> None:
    agent(*(generate(tmp_path / f"other{n}", "ed25519") for n in range(3)), keys.user("ecdsa"))
    server = start_sshd("LogLevel VERBOSE")
    assert run(server.target(private_keys=(), use_agent=True)).stdout == b"in\n"


def test_a_default_key_goes_before_the_others_of_an_agent_with_many(
    start_sshd: Start, keys: Keys, tmp_path: Path, home: Path, agent: AddKeys
) -> None:
    agent(*(generate(tmp_path / f"other{n}", "ed25519") for n in range(8)), keys.user())
    shutil.copy(keys.user(), home / ".ssh/id_ed25519")
    server = start_sshd("MaxAuthTries 2")
    assert run(server.target(private_keys=(), use_agent=True)).stdout == b"in\n"


def test_too_many_keys_in_the_agent_are_a_reason_of_their_own(
    start_sshd: Start, keys: Keys, tmp_path: Path, agent: AddKeys
) -> None:
    agent(*(generate(tmp_path / f"other{n}", "ed25519") for n in range(8)), keys.user())
    e = failure(start_sshd("MaxAuthTries 3").target(private_keys=(), use_agent=True))
    assert (e.stage, e.transient) == ("authenticate", False)
    assert "Too many authentication failures" in e.reason
    assert "other0" in e.reason
    assert "--private-key" in e.reason


def test_an_unreachable_agent_is_reported_if_there_is_no_other_key(
    sshd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent/agent")
    e = failure(sshd.target(private_keys=(), use_agent=True))
    assert "/nonexistent/agent cannot be reached" in e.reason
    assert e.hint == "ssh-add -l"


def test_an_agent_that_never_answers_does_not_outlast_the_deadline(
    sshd: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mute"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        began = time.monotonic()
        assert (
            failure(sshd.target(private_keys=(), use_agent=True), seconds=1).stage == "authenticate"
        )
        assert time.monotonic() - began < 3 + BUSY_S
        assert (
            run(sshd.target(use_agent=True), seconds=300).stdout == b"in\n"
        )  # its named key needs no agent


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01\x05", b"\0\0\0\x05\x0c\xff\xff\xff\xff"],
)
def test_an_agent_with_invalid_answers_counts_as_none(
    sshd: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    path = tmp_path / "mad"
    with socket.socket(socket.AF_UNIX) as mad:
        mad.bind(str(path))
        mad.listen()

        def dialogue() -> None:
            connection, _ = mad.accept()
            with connection:
                connection.recv(5)
                connection.sendall(answer)

        thread = threading.Thread(target=dialogue)
        thread.start()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        assert failure(sshd.target(private_keys=(), use_agent=True)).stage == "authenticate"
        thread.join()


# ---- host keys, on the wire


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_the_known_type_of_host_key_is_the_one_requested(
    sshd: Server, keys: Keys, kind: str
) -> None:
    known = sshd.known_hosts.with_name(f"only_{kind}")
    known.write_text(f"[127.0.0.1]:{sshd.port} {keys.public(keys.host(kind))}\n")
    assert run(sshd.target(known_hosts=(str(known),))).stdout == b"in\n"


def test_a_changed_host_key_is_reported_before_any_key_of_ours_is_offered(
    start_sshd: Start, keys: Keys
) -> None:
    server = start_sshd("LogLevel VERBOSE", host_keys=("ed25519",))
    known = server.known_hosts.with_name("changed")
    known.write_text(f"[127.0.0.1]:{server.port} {keys.public(keys.user())}\n")
    e = failure(server.target(known_hosts=(str(known),)))
    assert (e.stage, e.transient) == ("host key", False)
    assert f"{known}:1" in e.reason
    assert "publickey" not in server.log.read_text()


def test_a_hashed_host_is_known_and_an_empty_file_knows_none(sshd: Server, tmp_path: Path) -> None:
    hashed = tmp_path / "hashed"
    shutil.copy(sshd.known_hosts, hashed)
    subprocess.run(["ssh-keygen", "-H", "-f", hashed], check=True, capture_output=True)
    assert run(sshd.target(known_hosts=(str(hashed),))).stdout == b"in\n"
    assert "unknown host key" in failure(sshd.target(known_hosts=(os.devnull,))).reason


def test_the_hint_for_an_unknown_host_makes_it_known(sshd: Server, tmp_path: Path) -> None:
    require("ssh-keyscan")
    target = sshd.target(known_hosts=(str(tmp_path / "my hosts"),))
    e = failure(target)
    subprocess.run(["/bin/sh", "-c", e.hint], check=True, capture_output=True, timeout=300)
    assert run(target).stdout == b"in\n"


def test_the_users_own_known_hosts_is_read_if_no_file_is_named(sshd: Server, home: Path) -> None:
    target = sshd.target(known_hosts=())
    assert "unknown host key" in failure(target).reason
    shutil.copy(sshd.known_hosts, home / ".ssh/known_hosts")
    assert run(target).stdout == b"in\n"


def test_accept_new_accepts_once_and_ssh_can_use_the_file(sshd: Server, tmp_path: Path) -> None:
    require("ssh")
    ours = tmp_path / "accepted"
    target = sshd.target(known_hosts=(str(tmp_path / "none"),), host_key_policy="accept-new")
    for _ in range(2):
        assert run(target, accept_file=ours).stdout == b"in\n"
    assert len(ours.read_text().splitlines()) == 1
    assert run(sshd.target(known_hosts=(str(ours),))).stdout == b"in\n"
    command = [
        "ssh",
        "-F",
        "none",
        "-p",
        str(sshd.port),
        "-o",
        f"UserKnownHostsFile={ours}",
        "-o",
        "BatchMode=yes",
    ]
    command += ["-o", "IdentityAgent=none", "-i", str(sshd.keys.user()), "127.0.0.1", "true"]
    subprocess.run(command, check=True, timeout=300, capture_output=True)


def test_off_connects_to_a_host_whose_key_changed(sshd: Server, keys: Keys, tmp_path: Path) -> None:
    known = tmp_path / "changed"
    known.write_text(f"[127.0.0.1]:{sshd.port} {keys.public(keys.user())}\n")
    assert run(sshd.target(known_hosts=(str(known),), host_key_policy="off")).stdout == b"in\n"


def test_a_host_with_only_old_algorithms_is_reported_with_what_it_offers(start_sshd: Start) -> None:
    e = failure(start_sshd("KexAlgorithms diffie-hellman-group14-sha1").target())
    assert e.stage == "connect"
    assert "diffie-hellman-group14-sha1" in e.reason
    e = failure(start_sshd("HostKeyAlgorithms ssh-rsa", host_keys=("rsa",)).target())
    assert e.stage == "connect"
    assert "the host keys ssh-rsa" in e.reason


@pytest.mark.parametrize(
    "line",
    [
        "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org",
        "KexAlgorithms ecdh-sha2-nistp521",
        "KexAlgorithms diffie-hellman-group14-sha256",
        "KexAlgorithms diffie-hellman-group-exchange-sha256",
        "Ciphers aes256-gcm@openssh.com",
        "MACs hmac-sha2-256-etm@openssh.com",
    ],
)
def test_a_host_with_few_algorithms_can_be_reached(start_sshd: Start, line: str) -> None:
    assert run(start_sshd(line).target(), seconds=60).stdout == b"in\n"
