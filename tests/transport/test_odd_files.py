"""One odd path costs one host: a pipe, a device or a dead mount as a key or a list of host keys,
with either client.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.text import files
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.file_reader import FileReader
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh_config import SshConfigs
from tests.support.sshd import (
    Server,
    failure_of,
    generate,
    require,
)

GOOD = 12
CLIENTS = ("paramiko", "openssh")
ODD = ("fifo", "/dev/zero")


@pytest.fixture(autouse=True)
def _ssh() -> None:
    require("ssh")


def odd_path(tmp_path: Path, kind: str) -> str:
    path = tmp_path / "odd"
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.symlink_to(kind)
    return str(path)


def with_config(server: Server, *lines: str) -> dict[str, object]:
    """Returns the fields of a target that arguments for ssh complete."""
    words = [word for line in lines for word in ("-o", line)]
    own = ("-F", "none", "-o", f"UserKnownHostsFile={server.known_hosts}")
    return {"arguments": (*own, *words), "known_hosts": ()}


def private_key(server: Server, path: str) -> dict[str, object]:
    return {"private_keys": (path,)}


def known_hosts(server: Server, path: str) -> dict[str, object]:
    return {"known_hosts": (path,)}


def revoked(server: Server, path: str) -> dict[str, object]:
    return with_config(server, f"RevokedHostKeys={path}")


def certificate(server: Server, path: str) -> dict[str, object]:
    generate(Path(path).with_name("no-such"), "ed25519")
    key = Path(path).with_name("no-such")
    return with_config(server, f"CertificateFile={path}") | {"private_keys": (str(key),)}


def ssh_config(server: Server, path: str) -> dict[str, object]:
    return {"arguments": ("-F", path)}


def jump_host_key(server: Server, path: str) -> dict[str, object]:
    file = Path(path).with_name("jump_config")
    file.write_text(
        f"Host jump\n  HostName 127.0.0.1\n  Port {server.port}\n  IdentityFile {path}\n"
        f"  UserKnownHostsFile {server.known_hosts}\n"
    )
    return {"arguments": ("-F", str(file), "-J", "jump")}


CASES: dict[str, tuple[Callable[[Server, str], dict[str, object]], str]] = {
    "private key": (private_key, "authenticate"),
    "known_hosts": (known_hosts, "host key"),
    "RevokedHostKeys": (revoked, "host key"),
    "certificate": (certificate, "authenticate"),
    "ssh_config": (ssh_config, "connect"),
}


def fleet(
    server: Server, client: str, odd: list[SshTarget]
) -> tuple[list[bytes], list[TransportError]]:
    """Returns what the good hosts answered, and how the odd ones failed, all at once."""
    transports = Transports(ssh_configs=SshConfigs([]))
    good = server.target(client=client, arguments=("-F", "none"))

    def one(target: SshTarget) -> bytes | TransportError:
        try:
            return transports.run(target, "echo in", b"", Deadline.after(300), Limits()).stdout
        except TransportError as e:
            return e

    with ThreadPoolExecutor(GOOD + len(odd)) as pool:
        results = list(pool.map(one, [*odd, *[good] * GOOD]))
    failures = [result for result in results if isinstance(result, TransportError)]
    return [result for result in results if isinstance(result, bytes)], failures


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", ODD)
def test_a_pipe_or_a_device_fails_only_the_hosts_that_name_it(
    sshd: Server, tmp_path: Path, kind: str, client: str
) -> None:
    path = odd_path(tmp_path, kind)
    usual = {"client": client, "arguments": ("-F", "none")}
    odd = [sshd.target(**{**usual, **fields(sshd, path)}) for fields, _ in CASES.values()]
    answers, failures = fleet(sshd, client, odd)
    assert answers == [b"in\n"] * GOOD
    assert [(e.stage, e.transient) for e in failures] == [
        (stage, False) for _, stage in CASES.values()
    ]
    for e in failures:
        assert path in e.reason
        assert "it is a pipe, a socket or a device" in e.reason
        assert path in e.hint


@pytest.mark.parametrize("client", CLIENTS)
def test_the_reason_for_a_jump_hosts_odd_key_names_the_jump_host(
    sshd: Server, tmp_path: Path, client: str
) -> None:
    path = odd_path(tmp_path, "/dev/urandom")
    target = sshd.target(client=client, **jump_host_key(sshd, path))
    e = failure_of(lambda: Transports().run(target, "true", b"", Deadline.after(60), Limits()))
    assert (e.stage, "jump host jump: " in e.reason, path in e.reason) == (
        "authenticate",
        True,
        True,
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_file_of_more_bytes_than_are_read_is_refused_with_the_reason(
    sshd: Server, tmp_path: Path, client: str
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    large.chmod(0o600)
    for fields, stage in (
        ({"private_keys": (str(large),)}, "authenticate"),
        ({"known_hosts": (str(large),)}, "host key"),
    ):
        target = sshd.target(**{"client": client, "arguments": ("-F", "none"), **fields})
        e = failure_of(partial(Transports().run, target, "true", b"", Deadline.after(60), Limits()))
        assert (e.stage, "bytes" in e.reason, str(large) in e.reason) == (stage, True, True)


@pytest.mark.parametrize("client", CLIENTS)
def test_dev_null_means_no_file(sshd: Server, client: str) -> None:
    target = sshd.target(
        client=client,
        arguments=("-F", "/dev/null"),
        known_hosts=("/dev/null",),
        host_key_policy="accept-new",
    )
    assert Transports().run(target, "echo in", b"", Deadline.after(60), Limits()).stdout == b"in\n"


def test_the_home_of_an_unknown_user_is_a_missing_file(sshd: Server) -> None:
    path = "~nobody-of-that-name/key"
    target = sshd.target(private_keys=(path,), known_hosts=(path, str(sshd.known_hosts)))
    transports = Transports(ssh_configs=SshConfigs([]))
    e = failure_of(lambda: transports.run(target, "true", b"", Deadline.after(60), Limits()))
    assert (e.stage, f"the private key {path} does not exist" in e.reason) == ("authenticate", True)


def test_a_known_hosts_file_that_no_check_needs_is_not_read(sshd: Server, tmp_path: Path) -> None:
    path = odd_path(tmp_path, "fifo")
    target = sshd.target(
        client="openssh", arguments=("-F", "none"), known_hosts=(path,), host_key_policy="off"
    )
    assert Transports().run(target, "echo in", b"", Deadline.after(60), Limits()).stdout == b"in\n"


def test_an_odd_ssh_config_of_the_user_is_refused_with_its_path(
    sshd: Server, tmp_path: Path
) -> None:
    path = odd_path(tmp_path, "fifo")
    transports = Transports(ssh_configs=SshConfigs([path]))
    e = failure_of(lambda: transports.run(sshd.target(), "true", b"", Deadline.after(60), Limits()))
    assert (e.stage, f"{path} cannot be read: it is a pipe" in e.reason) == ("connect", True)


def test_an_include_without_an_end_does_not_take_all_memory(sshd: Server, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Include /dev/zero\n")
    target = sshd.target(arguments=("-F", str(config)))
    measured = subprocess.run(
        [sys.executable, "-c", _MEASURE, msgspec.json.encode(target).decode()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(measured.stdout) < 1.5 * 2**20  # KiB


_MEASURE = """
import resource, sys
import msgspec
from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports
try:
    target = msgspec.json.decode(sys.argv[1], type=SshTarget)
    Transports().run(target, "true", b"", Deadline.after(60), Limits())
except TransportError:
    pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


# ---- a file system that does not answer

_DEAD_MOUNT = """
import ctypes, os, sys
folder, *argv = sys.argv[1:]
fuse = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(fuse, True)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"dead", folder.encode(), b"fuse", 0, options):
    sys.exit(77)
os.execv(argv[0], argv)
"""
_FLEET = """
import sys
from concurrent.futures import ThreadPoolExecutor
import msgspec
from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh_config import SshConfigs
transports = Transports(ssh_configs=SshConfigs([]))
def one(target):
    try:
        output = transports.run(target, "echo in", b"", Deadline.after(90), Limits())
        return output.stdout.decode().strip()
    except TransportError as e:
        return f"{e.stage}: {e.reason}"
targets = msgspec.json.decode(sys.argv[1], type=list[SshTarget])
with ThreadPoolExecutor(len(targets)) as pool:
    print("\\n".join(pool.map(one, targets)), flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize("client", CLIENTS)
def test_a_dead_mount_fails_only_the_hosts_with_a_key_on_it(
    sshd: Server, tmp_path: Path, client: str
) -> None:
    if os.getuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("missing: root and /dev/fuse")
    mount = tmp_path / "mount"
    mount.mkdir()
    good = sshd.target(client=client, arguments=("-F", "none"), connect_timeout_s=10.0)
    dead = msgspec.structs.replace(good, private_keys=(str(mount / "key"),))
    targets = msgspec.json.encode([dead, dead, *[good] * GOOD]).decode()
    command = [sys.executable, "-c", _FLEET, targets]
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", _DEAD_MOUNT, mount, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    if done.returncode == 77:
        pytest.skip("missing: the right to mount FUSE")
    (*failed,) = done.stdout.splitlines()[:2]
    assert done.stdout.splitlines()[2:] == ["in"] * GOOD, done.stderr
    for line in failed:
        assert line.startswith("authenticate: ")
        assert f"{mount}/key cannot be read: it was not read in time" in line


# ---- the parts


def test_a_pending_read_is_shared_and_each_waiter_has_its_own_deadline() -> None:
    reading, answered, calls = FileReader(), threading.Event(), list[int]()

    def slow() -> str:
        calls.append(1)
        answered.wait()
        return "read"

    for _ in range(3):
        with pytest.raises(TimeoutError, match="not read in time"):
            reading.get("key", slow, Deadline.after(0.05))
    assert len(calls) == 1
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(reading.get, "key", slow, Deadline.after(60)) for _ in range(4)]
        answered.set()
        assert {each.result() for each in waiting} == {"read"}
    assert reading.get("other", lambda: 5, Deadline.after(60)) == 5


def test_all_waiters_get_the_error_of_a_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileReader().get(
            "x", lambda: files.read_first_bytes(tmp_path / "none", 5), Deadline.after(60)
        )


def test_a_file_that_blocks_until_an_event_is_not_waited_for() -> None:
    if os.getuid() != 0:
        pytest.skip("missing: root")
    done: list[object] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # there is no news
            files.read_first_bytes(Path("/proc/kmsg"), 1 << 30)
        done.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(60)
    assert done
