"""Host keys: what known_hosts says of a host, by OpenSSH's own reading of the same files where it
can be asked.
"""

from __future__ import annotations

import base64
import hmac
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import HostKeyPolicy, SshTarget
from fleetaudit.transport import Deadline, Limits, known_hosts
from fleetaudit.transport.host_keys import HostKeys
from fleetaudit.transport.known_hosts import KnownHosts, fingerprint
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh_config import SshConfigs
from tests import ROOT
from tests.support.sshd import Keys, Start, require, wait_for


def blob_of(number: int, kind: bytes = b"ssh-ed25519") -> bytes:
    """Returns a well-formed public key, a different one for each number."""
    key = number.to_bytes(32, "big")
    return len(kind).to_bytes(4, "big") + kind + len(key).to_bytes(4, "big") + key


def text_of(number: int, kind: str = "ssh-ed25519") -> str:
    return f"{kind} {base64.b64encode(blob_of(number, kind.encode())).decode()}"


def target(
    *files: Path,
    address: str = "web1.example.com",
    port: int = 22,
    policy: HostKeyPolicy = "strict",
) -> SshTarget:
    return SshTarget(
        address=address,
        port=port,
        known_hosts=tuple(str(f) for f in files),
        host_key_policy=policy,
        user="u",
    )


def write(folder: Path, *lines: str) -> Path:
    path = folder / "known_hosts"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def check(
    t: SshTarget, number: int = 1, kind: str = "ssh-ed25519", keys: HostKeys | None = None
) -> str:
    return (keys or HostKeys()).check(t, kind, blob_of(number, kind.encode()))


@pytest.mark.parametrize(
    "line",
    [
        f"web1.example.com {text_of(1)} a comment",
        f"WEB1.example.com {text_of(1)}",
        f"other,web1.example.com,10.0.0.1 {text_of(1)}",
        f"*.example.com {text_of(1)}",
        f"web?.example.com,!web2.example.com {text_of(1)}",
        f"web1.example.com {text_of(2, 'ssh-rsa')}\nweb1.example.com {text_of(1)}",
        (
            f"\n# {text_of(3)}\nnonsense\nweb1.example.com ssh-ed25519 %%%\nweb1.example.com"
            f" {text_of(1)}"
        ),
    ],
)
def test_a_known_key_is_trusted_without_a_note(tmp_path: Path, line: str) -> None:
    assert check(target(write(tmp_path, line))) == ""


@pytest.mark.parametrize(
    "line",
    [
        f"web2.example.com {text_of(1)}",
        f"*.example.com,!web1.* {text_of(1)}",
        f"[web1.example.com]:2222 {text_of(1)}",
        f"web1xexample.com {text_of(1)}",
        f"# web1.example.com {text_of(1)}",
        f"@unknown-marker web1.example.com {text_of(1)}",
        f"web1.example.com ssh-ed25519 {text_of(1)[12:40]}",
    ],
)
def test_a_key_without_a_line_for_the_host_is_unknown(tmp_path: Path, line: str) -> None:
    with pytest.raises(TransportError) as e:
        check(target(write(tmp_path, line)))
    assert e.value.stage == "host key"
    assert "unknown host key" in e.value.reason
    assert fingerprint(blob_of(1)) in e.value.reason
    assert "ssh-keyscan -p 22 web1.example.com" in e.value.hint
    assert "accept-new" in e.value.hint
    assert not e.value.transient


def test_a_fingerprint_is_what_ssh_keygen_prints(keys: Keys) -> None:
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(keys.host("ed25519")) + ".pub"],
        check=True,
        capture_output=True,
        text=True,
    )
    blob = base64.b64decode(keys.public(keys.host("ed25519")).split()[1])
    assert fingerprint(blob) == printed.stdout.split()[1]


def test_a_changed_key_is_reported_with_both_fingerprints_and_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "# first line", f"[web1.example.com]:2222 {text_of(1)}")
    with pytest.raises(TransportError) as e:
        check(target(path, port=2222), 2)
    assert "changed host key" in e.value.reason
    assert fingerprint(blob_of(1)) in e.value.reason
    assert fingerprint(blob_of(2)) in e.value.reason
    assert f"{path}:2" in e.value.reason
    assert (
        e.value.hint
        == f"ssh-keygen -R '[web1.example.com]:2222' -f {path}  # only once you know why it has"
        " changed"
    )


def test_the_hint_of_a_changed_key_removes_exactly_that_key(tmp_path: Path) -> None:
    require("ssh-keygen")
    # ssh-keygen checks keys, so these lines need real ones; the point is which line goes.
    path = write(tmp_path, f"[web1.example.com]:2222 {text_of(1)}", f"web2 {text_of(3)}")
    with pytest.raises(TransportError) as e:
        check(target(path, port=2222), 2)
    subprocess.run(["/bin/sh", "-c", e.value.hint], check=True, capture_output=True)
    assert path.read_text() == f"web2 {text_of(3)}\n"


def test_a_host_known_only_by_another_type_of_key_counts_as_changed_also_under_accept_new(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, f"web1.example.com {text_of(1, 'ecdsa-sha2-nistp256')}")
    with pytest.raises(TransportError, match="changed host key"):
        check(target(path, policy="accept-new"))


def test_a_revoked_key_is_refused_although_another_line_knows_it(tmp_path: Path) -> None:
    path = write(tmp_path, f"web1.example.com {text_of(1)}", f"@revoked * {text_of(1)}")
    with pytest.raises(TransportError, match=f"revoked host key.*{path}:2"):
        check(target(path))
    with pytest.raises(TransportError, match="revoked"):
        check(target(path, policy="accept-new"))


def test_a_revoked_key_of_the_host_leaves_its_other_key_trusted(tmp_path: Path) -> None:
    path = write(
        tmp_path, f"web1.example.com {text_of(1)}", f"@revoked web1.example.com {text_of(2)}"
    )
    assert check(target(path)) == ""


def test_a_host_of_an_authority_that_shows_no_certificate_is_refused_with_that_reason(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, f"@cert-authority *.example.com {text_of(9)}")
    with pytest.raises(
        TransportError, match=f"{path}:1 trusts a certificate authority.*shows no certificate"
    ) as e:
        check(target(path))
    assert e.value.hint == (
        "ssh-keyscan -c -p 22 web1.example.com | cut -d ' ' -f 2- | ssh-keygen -Lf -"
    )


def test_a_certificate_authority_does_not_hide_the_hosts_own_line(tmp_path: Path) -> None:
    path = write(
        tmp_path, f"@cert-authority *.example.com {text_of(9)}", f"web1.example.com {text_of(1)}"
    )
    assert check(target(path)) == ""


def test_hashed_names_are_found_as_ssh_keygen_hashes_them(tmp_path: Path) -> None:
    require("ssh-keygen")
    path = write(
        tmp_path, f"web1.example.com {text_of(1)}", f"[web1.example.com]:2222 {text_of(2)}"
    )
    subprocess.run(["ssh-keygen", "-H", "-f", path], check=True, capture_output=True)
    assert "web1" not in path.read_text()
    keys = HostKeys()
    assert check(target(path), 1, keys=keys) == ""
    assert check(target(path, port=2222), 2, keys=keys) == ""
    with pytest.raises(TransportError, match=f"changed host key.*{path}:2"):
        check(target(path, port=2222), 3, keys=keys)


def test_a_host_known_without_a_port_is_trusted_on_another_port_with_the_same_key_only(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, f"web1.example.com {text_of(1)}")
    assert check(target(path, port=2222)) == ""
    with pytest.raises(TransportError, match="unknown host key"):
        check(target(path, port=2222), 2)


def test_several_files_are_read_and_missing_ones_are_empty(tmp_path: Path) -> None:
    path = write(tmp_path, f"web1.example.com {text_of(1)}")
    assert check(target(tmp_path / "missing", path)) == ""


def test_a_file_that_cannot_be_read_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=f"{tmp_path} cannot be used: is a directory"):
        check(target(tmp_path))


def test_an_accept_file_that_cannot_be_written_is_the_reason(tmp_path: Path) -> None:
    t = target(tmp_path / "none", policy="accept-new")
    with pytest.raises(TransportError, match="no such file or directory"):
        check(t, keys=HostKeys(tmp_path / "no folder/accepted"))
    with pytest.raises(TransportError, match="is a directory"):
        check(t, keys=HostKeys(tmp_path))


def test_the_requested_algorithms_are_those_of_the_known_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path, f"web1.example.com {text_of(1, 'ssh-rsa')}", f"web1.example.com {text_of(1)}"
    )
    assert HostKeys().algorithms(target(path)) == ("rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519")
    assert HostKeys().algorithms(target(path, port=2222)) == (
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ssh-ed25519",
    )
    assert HostKeys().algorithms(target(path, address="other")) == ()


def test_off_trusts_even_a_changed_key_and_notes_it(tmp_path: Path) -> None:
    path = write(tmp_path, f"web1.example.com {text_of(1)}")
    note = check(target(path, policy="off"), 2)
    assert "not checked" in note
    assert fingerprint(blob_of(2)) in note


def test_accept_new_writes_to_our_file_only_and_notices_a_change_afterwards(tmp_path: Path) -> None:
    path, ours = write(tmp_path, f"other {text_of(5)}"), tmp_path / "accepted"
    before = path.read_bytes()
    t = target(path, port=2222, policy="accept-new")
    assert "accepted" in check(t, 1, keys=HostKeys(ours))
    assert ours.read_text() == f"[web1.example.com]:2222 {text_of(1)}\n"
    assert ours.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == before
    again = HostKeys(ours)
    assert check(t, 1, keys=again) == ""
    with pytest.raises(TransportError, match=f"changed host key.*{ours}:1"):
        check(t, 2, keys=again)


def test_accept_new_without_a_file_remembers_within_the_process(tmp_path: Path) -> None:
    keys, t = HostKeys(), target(tmp_path / "none", policy="accept-new")
    assert "accepted" in check(t, 1, keys=keys)
    assert check(t, 1, keys=keys) == ""
    with pytest.raises(TransportError, match="changed host key"):
        check(t, 2, keys=keys)


def test_a_key_that_another_process_accepted_meanwhile_is_not_accepted_twice(
    tmp_path: Path,
) -> None:
    ours = tmp_path / "accepted"
    t = target(tmp_path / "none", policy="accept-new")
    here, there = HostKeys(ours), HostKeys(ours)
    check(target(tmp_path / "none", address="first", policy="accept-new"), 7, keys=here)
    check(t, 1, keys=there)
    assert check(t, 1, keys=here) == ""
    with pytest.raises(TransportError, match=f"changed host key.*{ours}:2"):
        check(t, 2, keys=here)
    assert ours.read_text().count("web1") == 1


def accept(ours: str, first: int, count: int) -> None:
    keys = HostKeys(Path(ours))
    for n in range(first, first + count):
        t = SshTarget(
            address=f"host{n}",
            known_hosts=(f"{ours}.none",),
            host_key_policy="accept-new",
            user="u",
        )
        keys.check(t, "ssh-ed25519", blob_of(n))


def test_fifty_writers_at_once_leave_every_line_whole(tmp_path: Path) -> None:
    ours = tmp_path / "accepted"
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=accept, args=(str(ours), n * 20, 20)) for n in range(50)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(60)
    assert [w.exitcode for w in writers] == [0] * 50
    assert sorted(ours.read_text().split("\n")) == sorted(
        [f"host{n} {text_of(n)}" for n in range(1000)] + [""]
    )


def test_writers_that_are_killed_leave_a_file_that_the_next_one_can_use(tmp_path: Path) -> None:
    ours = tmp_path / "accepted"
    program = (
        "import sys; from tests.transport.test_known_hosts import accept; accept(sys.argv[1],"
        " int(sys.argv[2]), 10**6)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(ours), str(n * 10**6)], cwd=ROOT)
        for n in range(3)
    ]
    try:
        wait_for(lambda: ours.exists() and ours.stat().st_size > 50_000, "the writers to be at it")
    finally:
        for w in writers:
            w.send_signal(signal.SIGKILL)
            w.wait()
    accept(str(ours), 9 * 10**6, 1)
    lines = ours.read_text().split("\n")
    assert lines[-2:] == [f"host9000000 {text_of(9 * 10**6)}", ""]
    whole = [line for line in lines if line]
    assert all(line == f"{line.split()[0]} {text_of(int(line.split()[0][4:]))}" for line in whole)


def test_killed_writers_among_fifty_never_lose_a_line_of_another(
    tmp_path: Path,
) -> None:
    ours, each = tmp_path / "accepted", 40
    moments = random.Random(20160)
    fork = multiprocessing.get_context("fork")
    numbers = range(50)
    chosen = moments.sample(numbers, 25)
    # Those who are killed have more to write than there is time for: none of them ends before.
    amounts = [10**9 if n in chosen else each for n in numbers]
    writers = [
        fork.Process(target=accept, args=(str(ours), n * 10**9, amount))
        for n, amount in enumerate(amounts)
    ]
    doomed = [writers[n] for n in chosen]
    sizes = sorted(moments.randrange(1, 60_000) for _ in doomed)

    def grown(size: int) -> bool:
        return ours.exists() and ours.stat().st_size >= size

    for w in writers:
        w.start()
    try:
        for w, size in zip(doomed, sizes, strict=True):
            wait_for(partial(grown, size), "the writers to be at it")
            w.kill()
        for w in writers:
            w.join(300)
    finally:
        for w in writers:
            w.kill()
    assert all(w.exitcode == 0 for w in writers if w not in doomed)
    assert all(w.exitcode == -signal.SIGKILL for w in doomed)
    lines = ours.read_text().split("\n")
    assert lines.pop() == ""
    assert all(line == f"{line.split()[0]} {text_of(int(line.split()[0][4:]))}" for line in lines)
    written = Counter(line.split()[0] for line in lines)
    kept = [
        f"host{n * 10**9 + i}"
        for n, w in enumerate(writers)
        if w not in doomed
        for i in range(each)
    ]
    assert [written[name] for name in kept] == [1] * len(kept)
    assert max(written.values()) == 1


def test_half_a_line_is_ignored_and_the_next_one_begins_a_new_line(tmp_path: Path) -> None:
    ours = tmp_path / "accepted"
    ours.write_text(f"a {text_of(1)}\nb {text_of(2)[:40]}")
    t = target(tmp_path / "none", address="b", policy="accept-new")
    assert "accepted" in check(t, 3, keys=HostKeys(ours))
    assert ours.read_text() == f"a {text_of(1)}\nb {text_of(2)[:40]}\nb {text_of(3)}\n"
    assert check(t, 3, keys=HostKeys(ours)) == ""


def test_a_lookup_among_fifty_thousand_names_does_not_scan_them() -> None:
    known = KnownHosts()
    known.add(
        "".join(
            f"host{n},10.{n >> 16}.{n >> 8 & 255}.{n & 255} {text_of(n)}\n" for n in range(50_000)
        ),
        source="k",
    )
    # A host in each hundred, so that a scan would look at 25 million lines: minutes, not
    # milliseconds.
    began = time.process_time()
    assert all(known.of(f"host{n}")[0].line == n + 1 for n in range(0, 50_000, 50))
    assert time.process_time() - began < 1


def test_hashed_names_are_computed_once_a_host() -> None:
    known = KnownHosts()
    salt = base64.b64encode(os.urandom(20)).decode()
    known.add("".join(f"|1|{salt}|{salt} {text_of(n)}\n" for n in range(20_000)), source="k")
    began = time.process_time()
    known.of("host")
    once = time.process_time() - began
    began = time.process_time()
    for _ in range(1000):
        known.of("host")
    assert time.process_time() - began < max(once * 10, 0.05)


def hashed(name: str, key: str) -> str:
    """Returns a line with a hashed name, as ssh-keygen -H writes it."""
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), "sha1")
    encoded = "|".join(base64.b64encode(part).decode() for part in (salt, digest))
    return f"|1|{encoded} {key}"


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the names that are hashed from now on, once for each salt."""
    names: list[str] = []

    class Counting:
        @staticmethod
        def digest(key: bytes, name: bytes, kind: str) -> bytes:
            names.append(name.decode())
            return hmac.digest(key, name, kind)

    monkeypatch.setattr(known_hosts, "hmac", Counting)
    return names


def test_a_known_key_among_a_thousand_hashed_names_costs_one_hash(
    tmp_path: Path, hashes: list[str]
) -> None:
    lines = [hashed(f"host{n}", text_of(n)) for n in range(1000)]
    path, keys = write(tmp_path, *lines), HostKeys()
    for n in range(0, 1000, 100):
        t = target(path, address=f"host{n}")
        assert keys.likely_algorithms(t) == ("ssh-ed25519",)
        blob = blob_of(n)
        assert not keys.needs_other_key(t, "ssh-ed25519", blob)
        assert keys.check(t, "ssh-ed25519", blob) == ""
        assert keys.check(t, "ssh-ed25519", blob) == ""
    assert Counter(hashes) == {f"host{n}": 3 for n in range(0, 1000, 100)}


def test_an_unknown_key_among_hashed_names_is_looked_for_in_every_line_once(
    tmp_path: Path, hashes: list[str]
) -> None:
    lines = [hashed(f"host{n}", text_of(n)) for n in range(100)]
    path, keys = write(tmp_path, *lines), HostKeys()
    for _ in range(3):
        with pytest.raises(TransportError, match=f"changed host key.*{path}:8"):
            keys.check(target(path, address="host7"), "ssh-ed25519", blob_of(1007))
        with pytest.raises(TransportError, match="unknown host key"):
            keys.check(target(path, address="other"), "ssh-ed25519", blob_of(1007))
    assert Counter(hashes) == {"host7": 100, "other": 100}


def test_a_hashed_line_that_revokes_a_key_goes_before_one_that_trusts_it(tmp_path: Path) -> None:
    name = "web1.example.com"
    path = write(tmp_path, hashed(name, text_of(1)), f"@revoked {hashed(name, text_of(1))}")
    with pytest.raises(TransportError, match=f"revoked host key.*{path}:2"):
        check(target(path))


def test_the_same_key_of_two_hosts_is_known_for_both_and_for_no_third(tmp_path: Path) -> None:
    path = write(tmp_path, *(hashed(name, text_of(1)) for name in ("a", "b")))
    keys = HostKeys()
    assert check(target(path, address="b"), keys=keys) == ""
    assert check(target(path, address="A"), keys=keys) == ""
    with pytest.raises(TransportError, match="unknown host key"):
        check(target(path, address="c"), keys=keys)


def test_a_host_is_asked_again_only_if_a_key_of_another_type_is_known(tmp_path: Path) -> None:
    rsa = [hashed(f"host{n}", text_of(n, "ssh-rsa")) for n in range(5)]
    path = write(tmp_path, *rsa, hashed("web1.example.com", text_of(1)), f"plain {text_of(2)}")
    keys, t = HostKeys(), target(path)
    signatures = ("rsa-sha2-512", "rsa-sha2-256")
    assert keys.likely_algorithms(t) == (*signatures, "ssh-ed25519")
    assert keys.likely_algorithms(target(path, address="plain"))[0] == "ssh-ed25519"
    shown = blob_of(9, b"ssh-rsa")
    assert keys.needs_other_key(t, "ssh-rsa", shown)
    assert keys.algorithms(t) == ("ssh-ed25519",)
    assert not keys.needs_other_key(t, "ssh-ed25519", blob_of(1))
    assert not keys.needs_other_key(t, "ssh-ed25519", blob_of(9)), "it is a changed key"
    assert not keys.needs_other_key(target(path, address="new"), "ssh-rsa", shown)
    assert not keys.needs_other_key(target(path, policy="off"), "ssh-rsa", shown)
    with pytest.raises(TransportError, match=f"changed host key.*{path}:6"):
        keys.check(t, "ssh-ed25519", blob_of(9))


def test_hashed_names_of_another_type_lead_to_a_second_connection_and_the_known_key(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE")
    decoys = [hashed(f"host{n}", text_of(n, "ssh-rsa")) for n in range(3)]
    name = f"[127.0.0.1]:{server.port}"
    path = write(tmp_path, *decoys, hashed(name, keys.public(keys.host("ed25519"))))
    transports = Transports(ssh_configs=SshConfigs([]))
    t = server.target(known_hosts=(str(path),))
    for connections in (2, 4):
        output = transports.run(
            t, "echo 'fleetaudit-shell/1 0 root'", b"", Deadline.after(60), Limits()
        )
        assert output.exit_status == 0
        assert server.log.read_text().count("Connection from") == connections


@pytest.mark.parametrize("kind", ["ssh-rsa", "SSH-ED25519"])
@pytest.mark.parametrize("port", [22, 2222])
def test_a_line_whose_type_is_not_that_of_its_key_trusts_nothing(
    tmp_path: Path, kind: str, port: int
) -> None:
    key = text_of(1).split()[1]
    path = write(tmp_path, f"web1.example.com {kind} {key}")
    with pytest.raises(TransportError, match="unknown host key"):
        check(target(path, port=port))
    path = write(tmp_path, f"web1.example.com {kind} {key}", f"web1.example.com {text_of(1)}")
    assert check(target(path, port=port)) == ""
