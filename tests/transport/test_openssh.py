"""The system's ssh as the transport, against sshd and dropbear: the same bytes, stages and reasons
as the other one.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from fleetaudit.connection.ssh_arguments import openssh_arguments
from fleetaudit.errors import TransportError
from fleetaudit.model import Become, Secret, SshTarget
from fleetaudit.probe import protocol
from fleetaudit.transport import (
    Deadline,
    Limits,
    Output,
    become,
)
from fleetaudit.transport.registry import Transports
from tests.support.sshd import (
    Keys,
    Server,
    Start,
    failure_of,
    free_port,
    generate,
    program,
    require,
    running,
)
from tests.support.timing import BUSY_S, patience

pytestmark = [
    pytest.mark.skipif(not shutil.which("ssh") and not os.environ.get("CI"), reason="missing: ssh"),
]


def through_openssh(server: Server, *arguments: str, **changes: object) -> SshTarget:
    """Returns the target for a server, by the system's ssh and without anybody's ssh_config."""
    own = () if "-F" in arguments else ("-F", "none")
    return server.target(client="openssh", arguments=(*own, *arguments), **changes)


def run(
    target: SshTarget,
    command: str = "echo in",
    stdin: bytes = b"",
    seconds: float = 300,
    limits: Limits | None = None,
    accept_file: Path | None = None,
) -> Output:
    transports = Transports(accept_file=accept_file)
    return transports.run(target, command, stdin, Deadline.after(seconds), limits or Limits())


def failure(target: SshTarget, command: str = "true", seconds: float = 300) -> TransportError:
    return failure_of(lambda: run(target, command, seconds=seconds))


@pytest.fixture(params=["sshd", "dropbear"])
def server(request: pytest.FixtureRequest) -> Server:
    """Returns each of the two servers in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


# ---- streams


def test_all_three_streams_and_the_exit_status_come_through_and_nothing_of_sshs_own(
    server: Server,
) -> None:
    output = run(through_openssh(server), "cat; echo problem >&2; exit 3", b"input\n")
    assert output == Output(stdout=b"input\n", stderr=b"problem\n", exit_status=3)


def test_a_command_that_exits_with_255_is_not_a_failure_of_the_connection(sshd: Server) -> None:
    assert run(through_openssh(sshd), "exit 255").exit_status == 255


def test_a_large_transfer_arrives_whole_and_a_flood_is_cut(server: Server) -> None:
    data = os.urandom(3_000_000)
    output = run(through_openssh(server), "cat", data)
    assert hashlib.sha256(output.stdout).digest() == hashlib.sha256(data).digest()
    flood = run(through_openssh(server), "cat /dev/zero", limits=Limits(stdout=100_000))
    assert (len(flood.stdout), flood.cut, flood.exit_status) == (100_000, "stdout", None)


def test_the_probe_answers_through_openssh(server: Server) -> None:
    call = {"protocol": 1, "deadline": 20.0, "isolation": "auto", "sysctls": [], "scenarios": []}
    output = run(through_openssh(server), protocol.COMMAND, protocol.make_script(call), seconds=60)
    assert protocol.parse_reply(output.stdout).kernel.release == os.uname().release


# ---- failures at their stages


def test_silence_ends_at_the_deadline_and_leaves_no_child(sshd: Server) -> None:
    began = time.monotonic()
    e = failure(
        through_openssh(sshd),
        "echo half; exec sleep 610.5",
        seconds=patience(lambda: run(through_openssh(sshd))),
    )
    assert time.monotonic() - began < 12 + BUSY_S
    assert e.stage == "execute"
    assert "did not end in time, after 5 bytes of output" in e.reason
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "comm="],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ssh" not in children.stdout.split()


def test_a_closed_port_and_an_invalid_name_are_reported_at_their_stages(
    sshd: Server, keys: Keys
) -> None:
    dead = failure(through_openssh(sshd, port=free_port()))
    assert (dead.stage, dead.transient) == ("connect", False)
    assert "Connection refused" in dead.reason
    nowhere = failure(through_openssh(sshd, address="no-such-host.invalid"))
    assert nowhere.stage == "resolve"
    assert "no-such-host.invalid" in nowhere.reason


def test_a_host_that_hangs_up_before_its_greeting_is_transient_and_one_that_is_silent_is_late(
    sshd: Server,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        answered = pool.submit(lambda: listener.accept()[0].close())
        gone = failure(through_openssh(sshd, port=listener.getsockname()[1]))
        answered.result()
        assert (gone.stage, gone.transient) == ("connect", True)
        began = time.monotonic()
        mute = failure(through_openssh(sshd, port=listener.getsockname()[1], connect_timeout_s=1.0))
        assert (mute.stage, mute.transient) == ("connect", False)
        assert "banner" in mute.reason
        assert time.monotonic() - began < 10 + BUSY_S


def test_a_refused_key_is_reported_at_authenticate_and_never_retried(
    start_sshd: Start, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE")
    stranger = generate(tmp_path / "a stranger", "ed25519")
    e = failure(through_openssh(server, private_keys=(str(stranger),)))
    assert (e.stage, e.transient) == ("authenticate", False)
    assert "Permission denied (publickey)" in e.reason
    assert server.log.read_text().count("Failed publickey") == 1


def test_a_missing_program_and_invalid_options_are_reported(sshd: Server) -> None:
    missing = failure(through_openssh(sshd, program="/nonexistent/ssh"))
    assert (missing.stage, "cannot be started" in missing.reason) == ("connect", True)
    nonsense = failure(through_openssh(sshd, "-o", "NoSuchOption=1"))
    assert nonsense.stage == "connect"
    assert "Bad configuration option" in nonsense.reason


def test_a_name_that_looks_like_an_option_stays_a_name(sshd: Server, tmp_path: Path) -> None:
    failure(through_openssh(sshd, address=f"-oProxyCommand=touch {tmp_path}/pwned"))
    assert not (tmp_path / "pwned").exists()


def test_a_connection_that_breaks_off_reports_how_much_came(start_sshd: Start) -> None:
    e = failure(
        through_openssh(start_sshd()), "echo half a line; sleep 0.3; kill -9 $PPID; sleep 5"
    )
    assert (e.stage, e.transient) == ("execute", True)
    assert "broke off after 12 bytes of output" in e.reason


# ---- host keys


def test_an_unknown_host_is_refused_and_a_changed_key_is_reported_with_both_fingerprints(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE", host_keys=("ed25519",))
    unknown = failure(through_openssh(server, known_hosts=(str(tmp_path / "none"),)))
    assert unknown.stage == "host key"
    assert "unknown host key" in unknown.reason
    changed = tmp_path / "changed"
    changed.write_text(f"[127.0.0.1]:{server.port} {keys.public(keys.user())}\n")
    e = failure(through_openssh(server, known_hosts=(str(changed),)))
    assert (e.stage, e.transient) == ("host key", False)
    for path in (keys.user(), keys.host("ed25519")):
        shown = subprocess.run(
            ["ssh-keygen", "-lf", f"{path}.pub"], capture_output=True, text=True, check=True
        )
        assert shown.stdout.split()[1] in e.reason
    assert f"{changed}:1" in e.reason
    assert "publickey" not in server.log.read_text()


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_key_is_checked_on_loopback_too_whatever_ssh_config_says(
    sshd: Server, tmp_path: Path, client: str
) -> None:
    (tmp_path / "nobodys").touch()
    target = through_openssh(
        sshd, "-o", "NoHostAuthenticationForLocalhost=yes", known_hosts=(str(tmp_path / "nobodys"),)
    )
    assert failure(msgspec.structs.replace(target, client=client)).stage == "host key"


def test_the_inventory_cannot_loosen_the_policy(sshd: Server, tmp_path: Path) -> None:
    loose = ("-o", "StrictHostKeyChecking=no", "-o", "BatchMode=no")
    assert (
        failure(through_openssh(sshd, *loose, known_hosts=(str(tmp_path / "none"),))).stage
        == "host key"
    )


def test_accept_new_writes_only_to_our_file_and_off_to_none(sshd: Server, tmp_path: Path) -> None:
    ours, users = tmp_path / "accepted", tmp_path / "users"
    users.write_text("")
    target = through_openssh(sshd, known_hosts=(str(users),), host_key_policy="accept-new")
    for _ in range(2):
        assert run(target, accept_file=ours).stdout == b"in\n"
    assert len(ours.read_text().splitlines()) == 1
    assert users.read_text() == ""
    off = through_openssh(sshd, known_hosts=(str(users),), host_key_policy="off")
    assert run(off).stdout == b"in\n"
    assert users.read_text() == ""


def test_known_hosts_files_with_blanks_in_their_names_are_read_besides_the_accepted_keys(
    sshd: Server, tmp_path: Path
) -> None:
    (tmp_path / "my keys").mkdir()
    known = tmp_path / "my keys" / "known hosts"
    known.write_text(sshd.known_hosts.read_text())
    config = tmp_path / "ssh_config"
    config.write_text(f'Host *\n  UserKnownHostsFile "{known}"\n  GlobalKnownHostsFile /dev/null\n')
    target = through_openssh(sshd, "-F", str(config), known_hosts=(), host_key_policy="accept-new")
    run(target, accept_file=tmp_path / "accepted")
    assert not (tmp_path / "accepted").exists()  # nothing was new


def test_a_certificate_of_a_host_is_trusted_where_its_authority_is(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    ca, host = generate(tmp_path / "ca", "ed25519"), tmp_path / "host"
    generate(host, "ed25519")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", ca, "-I", "h", "-h", "-n", "127.0.0.1", f"{host}.pub"],
        check=True,
    )
    server = start_sshd(f"HostKey {host}", f"HostCertificate {host}-cert.pub")
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority [127.0.0.1]:{server.port} {keys.public(ca)}\n")
    assert run(through_openssh(server, known_hosts=(str(known),))).stdout == b"in\n"
    known.write_text(f"@cert-authority [127.0.0.1]:{server.port} {keys.public(keys.user())}\n")
    assert failure(through_openssh(server, known_hosts=(str(known),))).stage == "host key"


# ---- what is the user's own


def config(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_ssh_config_gives_port_user_and_key_if_the_inventory_does_not(
    sshd: Server, keys: Keys, tmp_path: Path
) -> None:
    file = config(
        tmp_path / "config",
        f"Host web\n HostName 127.0.0.1\n Port {sshd.port}\n User {getpass.getuser()}\n"
        f" IdentityFile {keys.user()}\n",
    )
    target = through_openssh(
        sshd, "-F", str(file), address="web", port=22, user=None, private_keys=()
    )
    assert run(target).stdout == b"in\n"
    named = through_openssh(sshd, "-F", str(file), address="web", port=22, port_is_explicit=True)
    assert "port 22: Connection refused" in failure(named).reason


def test_a_jump_host_has_its_own_settings_and_its_own_host_key_check(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    jump, far = start_sshd("LogLevel VERBOSE"), start_sshd()
    text = (
        f"Host jump\n HostName 127.0.0.1\n Port {jump.port}\n User {getpass.getuser()}\n"
        f" IdentityFile {keys.user()}\n UserKnownHostsFile {{known}}\n GlobalKnownHostsFile"
        f" /dev/null\nHost far\n HostName 127.0.0.1\n Port {far.port}\n ProxyJump jump\n"
    )
    good = config(tmp_path / "good", text.format(known=jump.known_hosts))
    target = through_openssh(far, "-F", str(good), address="far", port=22)
    assert run(target).stdout == b"in\n"
    assert "Accepted publickey" in jump.log.read_text()
    bad = config(tmp_path / "bad", text.format(known="/dev/null"))
    e = failure(through_openssh(far, "-F", str(bad), address="far", port=22))
    assert (e.stage, e.transient) == ("host key", False)


def test_a_proxy_command_is_used(sshd: Server) -> None:
    require("dbclient")
    proxy = (
        f"ProxyCommand=ssh -F none -o UserKnownHostsFile={sshd.known_hosts} -i {sshd.keys.user()}"
        " -W %h:%p"
    )
    target = through_openssh(sshd, "-o", f"{proxy} -p {sshd.port} 127.0.0.1")
    assert run(target).stdout == b"in\n"


@contextlib.contextmanager
def master(server: Server, path: Path) -> Iterator[tuple[str, str]]:
    """Yields the words that name a master connection of somebody's, which was there before."""
    own = (
        "-F",
        "none",
        "-i",
        str(server.keys.user()),
        "-o",
        f"UserKnownHostsFile={server.known_hosts}",
    )
    log = path.with_name("master.log")
    with running(
        ["ssh", *own, "-p", str(server.port), "-M", "-S", path, "-N", "127.0.0.1"], log, path.exists
    ):
        yield ("-S", str(path))


def test_a_master_connection_of_the_user_is_used_and_none_is_made(
    start_sshd: Start, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE")
    asked = ("-M", "-o", "ControlMaster=auto", "-o", "ControlPersist=20")
    words = openssh_arguments(shlex.join(asked))
    with master(server, tmp_path / "m") as named:
        for _ in range(2):
            output = run(through_openssh(server, *words, *named), "echo in; exit 4")
            assert output == Output(stdout=b"in\n", stderr=b"", exit_status=4)
    assert server.log.read_text().count("Accepted publickey") == 1
    assert run(through_openssh(server, *words, "-S", f"{tmp_path}/none")).stdout == b"in\n"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("folder", ["missing", "read-only"])
def test_the_command_runs_even_if_no_master_connection_can_be_made(
    sshd: Server, tmp_path: Path, folder: str
) -> None:
    path = tmp_path / "missing" if folder == "missing" else Path("/proc/self")
    file = config(
        tmp_path / "config", f"ControlMaster auto\nControlPersist 30\nControlPath {path}/x\n"
    )
    assert run(through_openssh(sshd, "-F", str(file))).stdout == b"in\n"


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize(
    "line", ["SessionType none", "StdinNull yes", "ForkAfterAuthentication yes"]
)
def test_a_command_runs_although_ssh_config_disables_it(
    sshd: Server, tmp_path: Path, line: str, client: str
) -> None:
    target = through_openssh(sshd, "-F", str(config(tmp_path / "config", f"{line}\n")))
    assert run(msgspec.structs.replace(target, client=client), "cat", b"in\n").stdout == b"in\n"


def test_a_jump_hosts_ssh_that_cannot_make_a_master_connection_has_that_reason(
    sshd: Server, tmp_path: Path
) -> None:
    file = config(
        tmp_path / "config",
        f"Host jump\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile {sshd.keys.user()}\n"
        f" UserKnownHostsFile {sshd.known_hosts}\n ControlMaster auto\n ControlPath"
        f" {tmp_path}/missing/x\n",
    )
    e = failure(through_openssh(sshd, "-F", str(file), "-J", "jump"))
    assert (e.stage, e.kind, e.transient) == ("connect", "ssh_config not usable", False)
    assert f"cannot create {tmp_path}/missing/" in e.reason
    assert "no such file or directory" in e.reason
    assert e.hint == f"mkdir -p -m 700 {tmp_path}/missing"


def test_an_ssh_that_ends_by_itself_after_the_login_is_quoted(sshd: Server, tmp_path: Path) -> None:
    """As ssh does for what no option of ours prevents: it logs one line and ends with 255."""
    fake = tmp_path / "ssh"
    fake.write_text(
        f'#!/bin/sh\n[ "$1" = -E ] || exec {program("ssh")} "$@"\nlog=$2\n'
        'printf "Authenticated to 127.0.0.1 ([127.0.0.1]:22) using \\"publickey\\".\\n" > $log\n'
        'printf "debug1: something\\nmuxserver_listen: cannot do it\\n" >> $log\nexit 255\n'
    )
    fake.chmod(0o755)
    e = failure(through_openssh(sshd, program=str(fake)))
    assert (e.stage, e.transient) == ("execute", False)
    assert "ssh ended by itself after 0 bytes of output: muxserver_listen: cannot do it" in e.reason


def test_the_banner_of_a_host_is_not_taken_for_messages_of_ssh(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    banner = tmp_path / "banner"
    banner.write_text(
        "Host key verification failed.\nConnection closed by 192.0.2.1\nPermissions 0644 for"
        " '/etc/passwd' are too open.\nunix_listener: cannot bind to path"
        " /etc/chosen/x.0123456789abcdef: No such file or directory\n"
    )
    server = start_sshd(f"Banner {banner}")
    e = failure(
        through_openssh(server, private_keys=(str(generate(tmp_path / "stranger", "ed25519")),))
    )
    assert (e.stage, e.kind) == ("authenticate", "permission denied")
    assert "/etc" not in e.hint
    assert e.hint.startswith("ssh ")


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize("hop", ["host", "jump host"])
def test_a_private_key_that_others_may_read_is_refused_with_the_command_that_fixes_it(
    sshd: Server, keys: Keys, tmp_path: Path, hop: str, client: str
) -> None:
    key = tmp_path / "a key"
    shutil.copy(keys.user(), key)
    key.chmod(0o644)
    jump = (
        f'Host jump\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile "{key}"\n IdentityAgent'
        f" none\n UserKnownHostsFile {sshd.known_hosts}\n"
    )
    file = config(tmp_path / "config", jump)
    if hop == "host":
        target = through_openssh(sshd, private_keys=(str(key),))
    else:
        target = through_openssh(sshd, "-F", str(file), "-J", "jump")
    target = msgspec.structs.replace(target, client=client)
    e = failure(target)
    assert (e.stage, e.transient, e.kind) == ("authenticate", False, "no usable key")
    assert (
        f"the private key {key} is not used, as ssh does not: permissions 0644 are too open"
        in e.reason
    )
    assert e.hint == f"chmod 600 '{key}'"
    subprocess.run(["/bin/sh", "-c", e.hint], check=True)
    assert run(target).stdout == b"in\n"


def test_a_command_over_a_master_connection_is_reported_as_one_that_ran(
    start_sshd: Start, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE")
    with master(server, tmp_path / "m") as words:
        target = through_openssh(server, *words)
        late = failure(
            target, "echo why >&2; exec sleep 610.5", seconds=patience(lambda: run(target))
        )
        assert (late.stage, "did not end in time" in late.reason, "why" in late.reason) == (
            "execute",
            True,
            True,
        )
        assert run(target, "exit 255") == Output(stdout=b"", stderr=b"", exit_status=255)
        broke = failure(target, "kill -9 $PPID; sleep 5")
        assert (broke.stage, broke.transient) == ("execute", True)
        assert (
            "broke off after 0 bytes of output (Control master terminated unexpectedly)"
            in broke.reason
        )
    assert server.log.read_text().count("Accepted publickey") == 1


@pytest.mark.parametrize(("password", "logins"), [(None, 1), (Secret("sesame"), 2)])
def test_a_silent_sudo_is_reported_and_its_password_uses_no_master_connection(
    start_sshd: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: Secret | None,
    logins: int,
) -> None:
    monkeypatch.setattr(become, "STEP_TIMEOUT_S", 1.0)
    server, silent = start_sshd("LogLevel VERBOSE"), tmp_path / "sudo"
    silent.write_text("#!/bin/sh\nexec sleep 610.5\n")
    silent.chmod(0o755)
    with master(server, tmp_path / "m") as words:
        as_root = Become(program=str(silent), password=password)
        e = failure(through_openssh(server, *words, become=as_root, connect_timeout_s=1.0))
    assert (e.stage, "nor ran the command in time" in e.reason) == ("become", True)
    assert server.log.read_text().count("Accepted publickey") == logins


def test_forty_hosts_behind_one_server_that_drops_connections_are_all_reached(
    start_sshd: Start,
) -> None:
    server, transports = start_sshd("MaxStartups 3:50:10"), Transports()

    def one(number: int) -> bytes:
        target = through_openssh(server)
        return transports.run(target, f"echo {number}", b"", Deadline.after(90), Limits()).stdout

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(40))) == [f"{n}\n".encode() for n in range(40)]


def test_many_hosts_behind_one_jump_host_that_drops_connections_are_all_reached(
    start_sshd: Start, keys: Keys, tmp_path: Path
) -> None:
    jump = start_sshd("MaxStartups 3:50:10")
    addresses = [f"127.0.0.{n}" for n in range(1, 9)]
    far = start_sshd(*(f"ListenAddress {address}:PORT" for address in addresses))
    file = config(
        tmp_path / "config",
        f"Host jump\n HostName 127.0.0.1\n Port {jump.port}\n User {getpass.getuser()}\n"
        f" IdentityFile {keys.user()}\n UserKnownHostsFile {jump.known_hosts}\n",
    )
    transports = Transports()

    def one(address: str) -> bytes:
        target = through_openssh(
            far, "-F", str(file), "-J", "jump", address=address, host_key_policy="off"
        )
        return transports.run(target, f"echo {address}", b"", Deadline.after(90), Limits()).stdout

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, addresses * 2)) == [
            f"{address}\n".encode() for address in addresses * 2
        ]
