"""One command over SSH, against OpenSSH's sshd and dropbear: what goes, what comes, how a failure
is reported.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh.tcp_connect import _resolve
from fleetaudit.transport.ssh_command import describe_exit
from tests.support.probe_runs import VERSIONS, interpreter
from tests.support.sshd import (
    Keys,
    Server,
    Start,
    failure_of,
    free_port,
    generate,
    wait_for,
)
from tests.support.timing import BUSY_S, patience

NOISE = "echo 'Welcome, today is Tuesday'; printf 'fleetaudit' ; echo 'motd on stderr' >&2; "


def run(
    target: SshTarget,
    command: str = "true",
    stdin: bytes = b"",
    seconds: float = 300,
    limits: Limits | None = None,
) -> Output:
    return Transports().run(target, command, stdin, Deadline.after(seconds), limits or Limits())


def failure(
    target: SshTarget, command: str = "true", seconds: float = 300, stdin: bytes = b""
) -> TransportError:
    return failure_of(lambda: run(target, command, stdin, seconds))


@pytest.fixture(params=["sshd", "dropbear"])
def server(request: pytest.FixtureRequest) -> Server:
    """Returns each of the two servers in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


# ---- streams


def test_all_three_streams_and_the_exit_status_come_through(server: Server) -> None:
    output = run(server.target(), "cat; echo problem >&2; exit 3", b"input\n")
    assert output == Output(stdout=b"input\n", stderr=b"problem\n", exit_status=3)


def test_streams_larger_than_any_window_do_not_block_one_another(server: Server) -> None:
    data = os.urandom(5_000_000)
    output = run(
        server.target(), "tee /dev/stderr", data, limits=Limits(stdout=6_000_000, stderr=6_000_000)
    )
    assert hashlib.sha256(output.stdout).digest() == hashlib.sha256(data).digest()
    assert hashlib.sha256(output.stderr).digest() == hashlib.sha256(data).digest()


def test_stderr_first_and_far_more_than_a_window_of_it_does_not_block_stdout(
    server: Server,
) -> None:
    command = "head -c 3000000 /dev/zero >&2; echo end"
    output = run(server.target(), command, limits=Limits(stderr=4_000_000))
    assert (output.stdout, len(output.stderr), output.exit_status) == (b"end\n", 3_000_000, 0)


@pytest.mark.parametrize(
    ("stream", "command"),
    [("stdout", "head -c 100000000 /dev/zero"), ("stderr", "head -c 100000000 /dev/zero >&2")],
)
def test_a_flood_is_cut_at_its_limit(server: Server, stream: str, command: str) -> None:
    output = run(server.target(), command, limits=Limits(stdout=1_000_000, stderr=1_000_000))
    assert output.cut == stream
    assert len(getattr(output, stream)) == 1_000_000
    assert output.exit_status is None


def test_output_of_exactly_the_limit_is_not_cut(server: Server) -> None:
    output = run(server.target(), "head -c 100000 /dev/zero", limits=Limits(stdout=100_000))
    assert (len(output.stdout), output.cut, output.exit_status) == (100_000, "", 0)


def test_a_command_that_reads_nothing_of_a_large_stdin_just_ends(server: Server) -> None:
    assert run(server.target(), "exit 7", b"x" * 5_000_000).exit_status == 7


def test_a_signal_gives_the_exit_status_of_a_shell(server: Server) -> None:
    assert run(server.target(), "kill -TERM $$").exit_status == 128 + 15


def test_a_new_key_exchange_during_the_transfer_changes_nothing(start_sshd: Start) -> None:
    server = start_sshd("RekeyLimit 64K", "LogLevel DEBUG")
    data = os.urandom(2_000_000)
    output = run(server.target(), "cat", data, seconds=60)
    assert output.stdout == data
    assert output.exit_status == 0
    assert server.log.read_text().count("SSH2_MSG_NEWKEYS received") > 5


def test_a_background_process_that_holds_the_streams_costs_only_a_short_wait(
    server: Server,
) -> None:
    began = time.monotonic()
    output = run(server.target(), "sleep 600 & echo $!; exit 4")
    os.kill(int(output.stdout), signal.SIGKILL)
    assert output.exit_status == 4
    assert time.monotonic() - began < 12 + BUSY_S


# ---- deadlines


def test_a_silent_command_ends_at_the_deadline_with_its_output_in_the_reason(
    server: Server,
) -> None:
    began = time.monotonic()
    e = failure(
        server.target(),
        "echo half; printf 'something \\033[31mred' >&2; sleep 600",
        seconds=patience(lambda: run(server.target())),
    )
    assert time.monotonic() - began < 7 + BUSY_S
    assert e.stage == "execute"
    assert "did not end in time, after 5 bytes of output" in e.reason
    assert "“something \ufffd[31mred”" in e.reason
    assert not e.transient


def test_a_command_that_trickles_forever_ends_at_the_deadline(sshd: Server) -> None:
    began = time.monotonic()
    e = failure(
        sshd.target(),
        "while sleep 0.01; do echo x; done",
        seconds=patience(lambda: run(sshd.target())),
    )
    assert time.monotonic() - began < 3 + BUSY_S
    assert e.stage == "execute"


def test_a_stdin_that_is_never_read_ends_at_the_deadline(server: Server) -> None:
    e = failure(
        server.target(),
        "exec sleep 600 </dev/null",
        seconds=patience(lambda: run(server.target())),
        stdin=b"x" * 20_000_000,
    )
    assert e.stage == "execute"


# ---- what a host may do instead of running it


def test_output_around_the_command_comes_through_unchanged(
    start_sshd: Start, tmp_path: Path
) -> None:
    banner = tmp_path / "banner"
    banner.write_text("Authorized users only\n")
    server = start_sshd(f"Banner {banner}", f'ForceCommand {NOISE}eval "$SSH_ORIGINAL_COMMAND"')
    output = run(server.target(), "echo the answer")
    assert output.stdout == b"Welcome, today is Tuesday\nfleetauditthe answer\n"
    assert output.stderr == b"motd on stderr\n"


def test_a_host_without_python_is_known_by_the_exit_status_of_the_command(
    start_sshd: Start,
) -> None:
    server = start_sshd(
        "SetEnv PATH=/nonexistent",
        f"ForceCommand echo 'fleetaudit-shell/1 0 root'; exit {protocol.NO_PYTHON}",
    )
    assert run(server.target(), protocol.COMMAND, b"ignored").exit_status == protocol.NO_PYTHON


def test_a_nologin_shell_is_reported_with_its_own_message(start_sshd: Start) -> None:
    server = start_sshd("ForceCommand echo 'This account is currently not available.'; exit 1")
    output = run(server.target())
    assert (
        describe_exit(output)
        == "the command ended with status 1; it printed “This account is currently not available.”"
    )


def test_a_host_that_opens_no_session_fails_at_execute(start_sshd: Start) -> None:
    e = failure(start_sshd("MaxSessions 0").target())
    assert e.stage == "execute"
    assert "opens no session" in e.reason


def test_a_transfer_that_breaks_off_reports_how_much_came(
    start_sshd: Start, tmp_path: Path
) -> None:
    # The command ends the very process that serves its connection, as a crash or a firewall would.
    e = failure(
        start_sshd().target(), "echo half a line; sleep 0.3; kill -9 $PPID; sleep 5", seconds=10
    )
    assert e.stage == "execute"
    assert "broke off after 12 bytes of output" in e.reason
    assert e.transient


# ---- the way there


def test_a_dead_port_is_refused_at_the_stage_connect(keys: Keys) -> None:
    e = failure(
        SshTarget(address="127.0.0.1", port=free_port(), user="u", private_keys=(str(keys.user()),))
    )
    assert e.stage == "connect"
    assert "connection refused" in e.reason
    assert e.hint.startswith("ssh -p ")
    assert e.hint.endswith(" u@127.0.0.1 true")
    assert not e.transient


def test_every_address_of_a_name_is_tried(sshd: Server) -> None:
    # localhost is ::1 first on most machines, and this server listens on 127.0.0.1 only.
    known = sshd.known_hosts.with_name("localhost")
    known.write_text(sshd.known_hosts.read_text().replace("127.0.0.1", "localhost"))
    assert run(sshd.target(address="localhost", known_hosts=(str(known),))).exit_status == 0


def test_a_name_that_does_not_exist_is_reported_at_the_stage_resolve() -> None:
    e = failure(SshTarget(address="no-such-host.invalid", user="u"), seconds=10)
    assert e.stage == "resolve"
    assert "no-such-host.invalid" in e.reason
    assert e.hint == "getent ahosts no-such-host.invalid"


@pytest.mark.parametrize("name", ["a" * 300, "..", "ho st", "x\ny"])
def test_an_invalid_name_is_reported_at_the_stage_resolve(name: str) -> None:
    assert failure(SshTarget(address=name, user="u"), seconds=10).stage == "resolve"


def test_an_ipv6_address_keeps_its_scope() -> None:
    [(family, address)] = _resolve(SshTarget(address="fe80::1%lo", port=2222), Deadline.after(5))
    assert (family, address) == (socket.AF_INET6, ("fe80::1", 2222, 0, socket.if_nametoindex("lo")))


def test_a_process_without_a_user_name_needs_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        os, "getuid", lambda: 2**31 - 7
    )  # as a container's user without a line in /etc/passwd
    e = failure(SshTarget(address="127.0.0.1", port=free_port()))
    assert (e.stage, e.hint) == ("authenticate", "fleetaudit run -u USER")


def test_an_ipv6_address_works(start_sshd: Start) -> None:
    if "0" * 31 + "1 " not in Path("/proc/net/if_inet6").read_text():
        pytest.skip("missing: ::1 on this machine")
    server = start_sshd("ListenAddress [::1]:PORT")
    target = server.target(address="::1", host_key_policy="off")
    assert run(target).exit_status == 0


def test_connections_beyond_max_startups_are_a_transient_failure(start_sshd: Start) -> None:
    server = start_sshd("MaxStartups 1")
    with socket.create_connection(("127.0.0.1", server.port)) as first:
        assert first.recv(4) == b"SSH-"
        e = failure(server.target())
    assert (e.stage, e.transient) == ("connect", True)
    assert "hung up before its SSH greeting" in e.reason
    wait_for(lambda: run_works(server), "sshd to have forgotten the first connection")


def run_works(server: Server) -> bool:
    try:
        return run(server.target()).exit_status == 0
    except TransportError:
        return False


# ---- many


def test_nothing_leaks_over_two_hundred_connections_that_fail_and_some_that_do_not(
    sshd: Server, keys: Keys, tmp_path: Path
) -> None:
    stranger = generate(tmp_path / "stranger", "ed25519")
    run(sshd.target())
    before = (threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))
    refused = sshd.target(private_keys=(str(stranger),))
    closed = SshTarget(address="127.0.0.1", port=free_port(), user="u")
    unknown = sshd.target(known_hosts=(str(tmp_path / "none"),))
    for _ in range(10):
        for target in (refused, unknown, *[closed] * 18):
            failure(target)
        run(sshd.target(), "cat /dev/zero", limits=Limits(stdout=10))
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_many_at_once_each_get_their_own_answer(sshd: Server) -> None:
    transports, answers = Transports(), dict[int, bytes]()

    def one(n: int) -> None:
        output = transports.run(
            sshd.target(), f"cat; echo {n}", b"in ", Deadline.after(60), Limits()
        )
        answers[n] = output.stdout

    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == {n: f"in {n}\n".encode() for n in range(20)}


def test_paramiko_logs_nothing_where_a_user_would_see_it(sshd: Server, tmp_path: Path) -> None:
    program = (
        "import sys, logging; from fleetaudit.transport import Deadline, Limits;from"
        " fleetaudit.transport.registry import Transports; from fleetaudit.model import"
        " SshTarget;from fleetaudit.errors import"
        " TransportError\nlogging.basicConfig(level=logging.DEBUG)\ntry:"
        " Transports().run(SshTarget(address='127.0.0.1', port=int(sys.argv[1]), user='u',"
        " known_hosts=('/none',)), 'true', b'', Deadline.after(5), Limits())\nexcept TransportError"
        " as e: print(e.stage)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(sshd.port)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "host key\n"
    assert "paramiko" not in done.stderr
    assert "Traceback" not in done.stderr


# ---- the probe

CALL: dict[str, object] = {
    "protocol": 1,
    "deadline": 20.0,
    "isolation": "auto",
    "sysctls": ["net.ipv4.tcp_fin_timeout"],
    "scenarios": [],
}


def test_the_probe_answers_through_both_servers(server: Server) -> None:
    output = run(server.target(), protocol.COMMAND, protocol.make_script(CALL), seconds=40)
    assert output.exit_status == 0, describe_exit(output)
    reply = protocol.parse_reply(output.stdout)
    assert reply.kernel.release == os.uname().release
    assert "net.ipv4.tcp_fin_timeout" in reply.sysctls


@pytest.mark.parametrize("version", VERSIONS)
def test_the_probe_answers_on_every_interpreter_as_a_forced_command(
    start_sshd: Start, version: str
) -> None:
    server = start_sshd(
        f"ForceCommand echo 'fleetaudit-shell/1 0 root'; exec {interpreter(version)} -B -E -s -"
    )
    output = run(server.target(), protocol.COMMAND, protocol.make_script(CALL), seconds=40)
    assert output.exit_status == 0, describe_exit(output)
    assert protocol.parse_reply(output.stdout).python.startswith(f"{version}.")
