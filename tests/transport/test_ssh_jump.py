"""Jump hosts and ProxyCommands: a chain is gone through as ssh goes through it, and whoever fails
is named.
"""

from __future__ import annotations

import getpass
import os
import shlex
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from paramiko import Message, common

from fleetaudit.errors import TransportError
from fleetaudit.model import Secret, SshTarget, Stage
from fleetaudit.probe import protocol
from fleetaudit.transport import (
    Deadline,
    Limits,
    Output,
    StageListener,
    ignore_stage,
)
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh.session import Session, do_nothing
from fleetaudit.transport.ssh.tunnel import TunnelLink
from tests.support import probe_runs
from tests.support.sshd import (
    Keys,
    Server,
    Start,
    failure_of,
    free_port,
    generate,
    require,
)
from tests.support.timing import BUSY_S, patience

ME = getpass.getuser()


@pytest.fixture(autouse=True)
def _ssh() -> None:
    require("ssh")


def host(name: str, server: Server, *more: str, key: str = "ed25519") -> str:
    """Returns what a ssh_config says about a server: where it is, the key for it, its host keys."""
    lines = (
        *more,
        "HostName 127.0.0.1",
        f"Port {server.port}",
        f"User {ME}",
        f"IdentityFile {server.keys.user(key)}",
    )
    lines = (*lines, f"UserKnownHostsFile {server.known_hosts}", "GlobalKnownHostsFile /dev/null")
    return f"Host {name}\n" + "".join(f"  {line}\n" for line in lines)


def config(tmp_path: Path, *texts: str) -> Path:
    path = tmp_path / "ssh_config"
    path.write_text("".join(texts))
    path.chmod(0o600)
    return path


def through(
    file: Path, name: str = "far", client: str = "paramiko", **changes: object
) -> SshTarget:
    fields: dict[str, object] = {"arguments": ("-F", str(file)), "use_agent": False, **changes}
    return SshTarget(address=name, client=client, **fields)  # type: ignore[arg-type]


def run(
    target: SshTarget,
    command: str = "echo in",
    stdin: bytes = b"",
    seconds: float = 300,
    on_stage: StageListener = ignore_stage,
) -> Output:
    return Transports().run(target, command, stdin, Deadline.after(seconds), Limits(), on_stage)


def failure(target: SshTarget, command: str = "true", seconds: float = 300) -> TransportError:
    return failure_of(lambda: run(target, command, seconds=seconds))


def processes(text: str) -> list[str]:
    """Returns the command lines of running processes that have the text in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if text in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


@pytest.fixture(scope="module")
def chain(start_sshd: Start, keys: Keys) -> tuple[Server, Server, Server]:
    """Returns two jump hosts and a host, each with a host key and a user's key of its own."""
    return (
        start_sshd("LogLevel VERBOSE", host_keys=("ed25519",), authorized=(keys.user("ed25519"),)),
        start_sshd("LogLevel VERBOSE", host_keys=("ecdsa",), authorized=(keys.user("ecdsa"),)),
        start_sshd("LogLevel VERBOSE", host_keys=("rsa",), authorized=(keys.user("rsa"),)),
    )


def of_chain(
    tmp_path: Path, chain: tuple[Server, Server, Server], jumps: str = "first,second"
) -> Path:
    first, second, far = chain
    return config(
        tmp_path,
        host("first", first),
        host("second", second, key="ecdsa"),
        host("far", far, *([f"ProxyJump {jumps}"] if jumps else []), key="rsa"),
    )


# ---- chains


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_a_chain_of_two_jump_hosts_uses_the_keys_of_each(
    tmp_path: Path, chain: tuple[Server, Server, Server], client: str
) -> None:
    before = [server.log.read_text().count("Accepted publickey") for server in chain]
    stages: list[tuple[Stage, str]] = []
    target = through(of_chain(tmp_path, chain), client=client)
    output = run(
        target, "cat; exit 3", b"input\n", on_stage=lambda stage, what: stages.append((stage, what))
    )
    assert output == Output(stdout=b"input\n", stderr=b"", exit_status=3)
    assert [server.log.read_text().count("Accepted publickey") for server in chain] == [
        n + 1 for n in before
    ]
    order = ["resolve", "connect", "host key", "authenticate"]
    assert [stage for stage, what in stages if not what.startswith("jump host ")] == order
    if client == "paramiko":
        for name in ("first", "second"):
            assert [
                stage for stage, what in stages if what.startswith(f"jump host {name}: ")
            ] == order


def test_the_arguments_name_a_jump_host_as_well_and_a_jump_host_may_have_its_own(
    tmp_path: Path, chain: tuple[Server, Server, Server]
) -> None:
    first, second, far = chain
    file = config(
        tmp_path,
        host("first", first),
        host("second", second, "ProxyJump first", key="ecdsa"),
        host("far", far, key="rsa"),
    )
    before = first.log.read_text().count("Accepted publickey")
    assert run(through(file, arguments=("-F", str(file), "-J", "second"))).stdout == b"in\n"
    assert first.log.read_text().count("Accepted publickey") == before + 1


def test_a_jump_host_may_have_user_and_port_or_be_a_uri(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    first, far = start_sshd(), start_sshd()
    everywhere = (
        f"Host *\n  IdentityFile {keys.user()}\n  UserKnownHostsFile {first.known_hosts}"
        f" {far.known_hosts}\n"
    )
    for jump in (
        f"{ME}@127.0.0.1:{first.port}",
        f"ssh://{ME}@127.0.0.1:{first.port}",
        f"[127.0.0.1]:{first.port}",
    ):
        file = config(tmp_path, everywhere)
        target = through(
            file, "127.0.0.1", port=far.port, user=ME, arguments=("-F", str(file), "-J", jump)
        )
        assert run(target).stdout == b"in\n"


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize("jumps", ["%r@first", "%r@fi%nst,second", "%%r@first,second"])
def test_tokens_of_a_jump_host_are_about_the_host_behind_it_as_ssh_expands_them(
    tmp_path: Path, chain: tuple[Server, Server, Server], jumps: str, client: str
) -> None:
    """ssh makes a ProxyCommand of them, in which tokens are expanded: at each jump host once
    more.
    """
    first, second, far = chain
    name = "far" if "%n" not in jumps else "r"
    texts = [host("first", first), host("second", second, key="ecdsa")]
    texts = [text.replace(f"  User {ME}\n", "") for text in texts]
    file = config(tmp_path, *texts, host(name, far, f"ProxyJump {jumps}", key="rsa"))
    assert run(through(file, name, client)).stdout == b"in\n"


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_a_token_that_no_jump_host_may_have_is_an_error(
    sshd: Server, tmp_path: Path, client: str
) -> None:
    file = config(tmp_path, host("far", sshd, "ProxyJump %L-gate"))
    e = failure(through(file, client=client))
    assert e.stage == "connect"
    assert "%L" in e.reason


def test_large_streams_arrive_whole_through_two_jump_hosts_also_during_rekeying(
    start_sshd: Start, tmp_path: Path
) -> None:
    servers = [start_sshd("RekeyLimit 128K", "LogLevel DEBUG") for _ in range(3)]
    first, second, far = servers
    file = config(
        tmp_path,
        host("first", first),
        host("second", second),
        host("far", far, "ProxyJump first,second"),
    )
    data = os.urandom(600_000)
    output = run(through(file), "cat", data, seconds=100)
    assert (len(output.stdout), data.startswith(output.stdout)) == (len(data), True)
    assert all(server.log.read_text().count("SSH2_MSG_NEWKEYS received") > 3 for server in servers)


def test_the_probe_answers_through_a_jump_host(
    tmp_path: Path, chain: tuple[Server, Server, Server]
) -> None:
    call = {"protocol": 1, "deadline": 20.0, "isolation": "auto", "sysctls": [], "scenarios": []}
    output = run(
        through(of_chain(tmp_path, chain, "first")),
        protocol.COMMAND,
        protocol.make_script(call),
        seconds=60,
    )
    assert protocol.parse_reply(output.stdout).kernel.release == os.uname().release


def test_a_flood_and_a_silence_behind_a_jump_host_end_as_they_do_without_one(
    tmp_path: Path, chain: tuple[Server, Server, Server]
) -> None:
    target = through(of_chain(tmp_path, chain, "first"))
    flood = Transports().run(
        target, "cat /dev/zero", b"", Deadline.after(60), Limits(stdout=100_000)
    )
    assert (len(flood.stdout), flood.cut) == (100_000, "stdout")
    began = time.monotonic()
    e = failure(target, "echo half; exec sleep 640.5", seconds=patience(lambda: run(target)))
    assert time.monotonic() - began < 25 + BUSY_S
    assert (e.stage, "after 5 bytes" in e.reason) == ("execute", True)


def test_a_jump_host_that_dies_in_the_middle_is_named(start_sshd: Start, tmp_path: Path) -> None:
    jump, far = start_sshd(), start_sshd()
    file = config(tmp_path, host("first", jump), host("far", far, "ProxyJump first"))
    # The far command ends the processes that serve the jump, as a crash would.
    kill = f"ps --ppid {jump.pid} -o pid= | xargs kill -9"
    e = failure(through(file), f"echo half a line; sleep 0.3; {kill}; sleep 5")
    assert (e.stage, e.transient) == ("execute", True)
    assert "after 12 bytes of output (jump host first: closed by the host)" in e.reason


def test_a_password_is_sent_only_to_the_host_and_never_to_the_jump_host(
    start_sshd: Start, tmp_path: Path, keys: Keys
) -> None:
    jump = start_sshd(
        "LogLevel DEBUG1",
        "PasswordAuthentication yes",
        "KbdInteractiveAuthentication yes",
        authorized=(),
    )
    far = start_sshd()
    file = config(tmp_path, host("first", jump), host("far", far, "ProxyJump first"))
    e = failure(through(file, password=Secret("hunter2")))
    assert (e.stage, e.reason.startswith("jump host first: ")) == ("authenticate", True)
    assert "method password" not in jump.log.read_text()
    assert "method keyboard-interactive" not in jump.log.read_text()


# ---- who fails, where


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize("broken", ["key", "host key", "port"])
def test_a_failure_of_a_jump_host_is_reported_at_its_stage_with_its_name(
    tmp_path: Path, start_sshd: Start, keys: Keys, client: str, broken: str
) -> None:
    first, second, far = (start_sshd("LogLevel VERBOSE") for _ in range(3))
    text = host("second", second)
    if broken == "key":
        text = text.replace(
            str(keys.user()),
            str(generate(tmp_path / "stranger", "ed25519")) + "\n  IdentitiesOnly yes",
        )
    elif broken == "host key":
        text = text.replace(str(second.known_hosts), str(first.known_hosts))
    else:
        text = text.replace(f"Port {second.port}", f"Port {free_port()}")
    file = config(tmp_path, host("first", first), text, host("far", far, "ProxyJump first,second"))
    e = failure(through(file, client=client))
    stage = {"key": "authenticate", "host key": "host key", "port": "connect"}[broken]
    assert e.stage == stage
    assert "Accepted" not in second.log.read_text()
    assert "publickey" not in far.log.read_text()
    if client == "paramiko":
        assert (e.reason.startswith("jump host "), e.transient) == (True, False)
        assert "second" in e.hint or broken == "host key"


def test_a_failure_of_a_host_behind_a_jump_host_is_not_blamed_on_the_jump_host(
    tmp_path: Path, chain: tuple[Server, Server, Server]
) -> None:
    file = of_chain(tmp_path, chain, "first")
    file.write_text(file.read_text().replace(str(chain[2].known_hosts), "/dev/null"))
    e = failure(through(file))
    assert e.stage == "host key"
    assert e.reason.startswith("unknown host key: [127.0.0.1]")


def test_a_jump_host_that_refuses_to_forward_or_cannot_reach_the_host_is_reported(
    start_sshd: Start, tmp_path: Path
) -> None:
    closed, good, far = start_sshd("AllowTcpForwarding no"), start_sshd(), start_sshd()
    file = config(tmp_path, host("closed", closed), host("good", good), host("far", far))
    refused = failure(through(file, arguments=("-F", str(file), "-J", "closed")))
    assert (refused.stage, refused.transient) == ("connect", False)
    assert refused.reason.startswith(
        f"jump host closed: it refuses to forward to 127.0.0.1 port {far.port}"
    )
    away = failure(through(file, port=free_port(), arguments=("-F", str(file), "-J", "good")))
    assert (
        away.stage,
        away.reason.startswith("jump host good: it cannot reach 127.0.0.1 port"),
    ) == ("connect", True)
    assert "Connection refused" in away.reason


@pytest.mark.parametrize(
    "text",
    [
        "Host far\n  ProxyJump one\nHost one\n  ProxyJump two\nHost two\n  ProxyJump one\n",
        "Host *\n  ProxyJump far\n",
        "Host far\n  ProxyJump " + ",".join(f"h{n}" for n in range(12)) + "\n",
    ],
)
def test_jump_hosts_in_a_circle_and_too_many_of_them_end_in_an_error(
    tmp_path: Path, text: str
) -> None:
    e = failure(through(config(tmp_path, text)))
    assert e.stage == "connect"
    assert "circle" in e.reason or "loop" in e.reason


# ---- ProxyCommand


def proxied(
    tmp_path: Path, server: Server, command: str, connect_timeout_s: float = 10.0
) -> SshTarget:
    file = config(tmp_path, host("far", server, f"ProxyCommand {command}"))
    return through(file, connect_timeout_s=connect_timeout_s)


RELAY = """import os, select, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for r in select.select([0, s], [], [])[0]:
        data = os.read(0, 65536) if r == 0 else s.recv(65536)
        if not data: sys.exit(0)
        s.sendall(data) if r == 0 else os.write(1, data)
"""


def test_a_proxy_command_is_used_and_ended_with_all_its_children(
    sshd: Server, tmp_path: Path
) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    target = proxied(tmp_path, sshd, f"sleep 650.25 & exec python3 {relay} %h %p")
    before = len(list(Path("/proc/self/fd").iterdir()))
    data = os.urandom(500_000)
    assert run(target, "cat", data).stdout == data
    # Killed by then; on a busy machine the kernel may still be taking them away.
    assert probe_runs.comes_true(lambda: processes(str(relay)) == processes("sleep 650.25") == [])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_proxy_command_that_fails_is_reported_and_leaves_nothing(
    sshd: Server, tmp_path: Path
) -> None:
    garbage = failure(proxied(tmp_path, sshd, "yes nonsense"))
    assert (garbage.stage, "does not speak SSH" in garbage.reason) == ("connect", True)
    began = time.monotonic()
    mute = failure(proxied(tmp_path, sshd, "sleep 660.25", connect_timeout_s=1.0))
    assert time.monotonic() - began < 5 + BUSY_S
    assert (mute.stage, mute.transient) == ("connect", False)
    loud = failure(proxied(tmp_path, sshd, "yes flood >&2", connect_timeout_s=1.0))
    assert (loud.stage, len(loud.reason) < 2000) == ("connect", True)
    dead = failure(proxied(tmp_path, sshd, "sh -c 'echo no way there >&2; exit 7'"))
    assert dead.stage == "connect"
    assert "the ProxyCommand ended with status 7 and printed “no way there”" in dead.reason
    slow = failure(proxied(tmp_path, sshd, "sh -c 'exec <&- >&- 2>&-; sleep 0.2; exit 8'"))
    assert "the ProxyCommand ended with status 8" in slow.reason
    for left in ("yes nonsense", "sleep 660.25", "yes flood"):
        assert processes(left) == []


def test_a_secret_in_a_proxy_command_is_not_repeated(sshd: Server, tmp_path: Path) -> None:
    target = sshd.target(arguments=("-F", "none", "-o", "ProxyCommand=false --token=hunter2"))
    e = failure(target)
    assert "hunter2" not in e.reason + e.hint


def test_extended_data_of_a_jump_host_counts_for_the_window_and_is_dropped() -> None:
    """No real server says anything there, and one that does must not stall the way."""

    class Jump:
        negotiating, beside, stream = False, None, SimpleNamespace(until=None)

        def __init__(self) -> None:
            noise = Message().add_int(0).add_int(1).add_string(b"x" * 32768).asbytes()
            self.says = [(common.MSG_CHANNEL_EXTENDED_DATA, noise)] * 40
            self.says.append(
                (common.MSG_CHANNEL_DATA, Message().add_int(0).add_string(b"data").asbytes())
            )
            self.heard = list[Message]()

        def count_content(self, size: int) -> None:
            pass

        def receive(self) -> tuple[int, Message]:
            ptype, fields = self.says.pop(0)
            return ptype, Message(fields)

        def send(self, message: Message) -> None:
            self.heard.append(Message(message.asbytes()))

    jump = Jump()
    link = TunnelLink(cast(Session, jump), 0, "jump")
    assert link.exchange(bytearray(), Deadline.after(5), do_nothing) == b"data"
    (adjusted,) = jump.heard
    assert adjusted.get_byte() == bytes([common.MSG_CHANNEL_WINDOW_ADJUST])
    assert (adjusted.get_int(), adjusted.get_int()) == (
        0,
        33 * 32768,
    )  # more than half of the window was used up


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize(
    ("command", "ended", "printed"),
    [
        ("sh -c 'echo no way there >&2; exit 3'", "with status 3", "“no way there”"),
        ("sh -c 'echo no way there >&2; exit 0'", "with status 0", "“no way there”"),
        ("/no/such/program %h", "with status 127", "/no/such/program"),
        ("sh -c 'echo killed >&2; kill -9 $$'", "by signal 9", "“killed”"),
    ],
)
def test_a_proxy_command_that_ends_is_reported_with_what_it_printed_and_not_tried_again(
    tmp_path: Path, sshd: Server, command: str, ended: str, printed: str, client: str
) -> None:
    file = config(tmp_path, host("far", sshd, f"ProxyCommand {command}"))
    e = failure(through(file, client=client))
    assert (e.stage, e.kind, e.transient) == ("connect", "ProxyCommand failed", False)
    assert printed in e.reason
    assert "too many connections" not in e.reason
    # OpenSSH does not report how its ProxyCommand ended.
    assert client == "openssh" or f"the ProxyCommand ended {ended}" in e.reason


def test_a_proxy_command_that_ends_without_a_word_may_have_been_dropped_and_is_tried_again(
    tmp_path: Path, sshd: Server
) -> None:
    file = config(tmp_path, host("far", sshd, "ProxyCommand true"))
    e = failure(through(file))
    assert (e.stage, e.kind, e.transient) == ("connect", "hung up", True)
    assert "no SSH greeting came: the ProxyCommand ended with status 0" in e.reason


# ---- many


def test_thirty_hosts_at_once_behind_a_jump_host_that_drops_connections_are_all_reached(
    start_sshd: Start, tmp_path: Path
) -> None:
    jump, far = start_sshd("MaxStartups 3:50:10"), start_sshd()
    file = config(tmp_path, host("jump", jump), host("far", far, "ProxyJump jump"))
    transports = Transports()

    def one(number: int) -> bytes:
        return transports.run(
            through(file), f"echo {number}", b"", Deadline.after(100), Limits()
        ).stdout

    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(one, range(30))) == [f"{n}\n".encode() for n in range(30)]


def test_no_thread_and_no_descriptor_is_left_behind_by_chains_that_work_and_that_fail(
    start_sshd: Start, tmp_path: Path
) -> None:
    first, far = start_sshd(), start_sshd()
    file = config(
        tmp_path, host("first", first), host("far", far, "ProxyJump first"), host("gone", far)
    )
    run(through(file))
    before = (threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))
    for _ in range(5):
        run(through(file), "head -c 300000 /dev/zero")
        failure(through(file, "gone", port=free_port(), arguments=("-F", str(file), "-J", "first")))
        failure(through(file, user="nobody-at-all"))
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_a_silent_connection_ends_by_the_server_alive_interval_of_ssh_config(
    sshd: Server, tmp_path: Path
) -> None:
    relay = tmp_path / "relay.py"
    # It forwards nothing any more once the file is there, as a firewall that forgot the connection.
    stop = tmp_path / "stop"
    relay.write_text(
        RELAY.replace(
            "        if not data",
            f"        if os.path.exists({str(stop)!r}): continue\n        if not data",
        )
    )
    proxy = f"ProxyCommand python3 {relay} %h %p"
    file = config(
        tmp_path, host("far", sshd, proxy, "ServerAliveInterval 1", "ServerAliveCountMax 2")
    )
    began = time.monotonic()
    e = failure(through(file), f"touch {shlex.quote(str(stop))}; exec sleep 670.25", seconds=300)
    assert time.monotonic() - began < 20 + BUSY_S
    assert (e.stage, "keepalives went unanswered" in e.reason) == ("execute", True)
