"""Some worlds of each kind of `make duress`, which has them all, and ten of the SIGKILLs."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from fleetaudit.probe import protocol
from tests.support.native import built
from tests.support.probe_runs import need_root

from .duress import cases, probing

NAMES = (
    "usual",
    "an ordinary user",
    "5 descriptors",
    "16 descriptors",
    "40 descriptors",
    "RLIMIT_AS 8 MiB",
    "RLIMIT_DATA 10 MiB",
    "a group of 2 processes",
    "a clock that steps by -3600 s every 700 ms",
    "a deadline of 1 s",
    "1 local ports in the host's namespace, user 0",
    "IPv6 switched off, auto",
    "lo down, host",
    "no /proc",
    "no /dev/null",
    "everything read-only",
    "/proc/net/netstat: 10 MB of words",
    "/proc/self/ns/net: endless",
    "/proc/sys/net/ipv4/tcp_fastopen: a FIFO",
    "/proc/sys/net/ipv4/tcp_fastopen: endless",
    "/proc/sys/net/ipv4/tcp_abort_on_overflow: empty",
    "unshare deadly",
    "unshare that does nothing, user 0",
    "packet sockets refused (EPERM)",
    "getsockopt unknown (ENOSYS)",
    "PYTHONPATH=/stray",
    "stray modules in /",
    "no bytecode of the standard library",
    "every Python is broken",
    "stdin cut at 5000 bytes",
    "nobody reads stdout",
    "SIGHUP to command at 0.3 s",
    "SIGSTOP to all at 0.8 s for 3.0 s",
)
NATIVE = (
    "usual",
    "an ordinary user",
    "5 descriptors",
    "16 descriptors",
    "RLIMIT_AS 1 MiB",
    "a group of 2 processes",
    "a deadline of 1 s",
    "a clock that steps by -3600 s every 700 ms",
    "1 local ports in the host's namespace, user 0",
    "no /proc",
    "no /dev/null",
    "everything read-only",
    "/proc/net/netstat: 10 MB of words",
    "/proc/sys/net/ipv4/tcp_fastopen: a FIFO",
    "unshare that does nothing, user 0",
    "getsockopt unknown (ENOSYS)",
    "recvmsg refused (EPERM)",
    "sendmsg unknown (ENOSYS)",
    "poll refused (EPERM)",
    "vfork refused (EPERM)",
    "ioctl deadly",
    "stdin cut at 5000 bytes",
    "nobody reads stdout",
    "SIGSTOP to all at 0.8 s for 3.0 s",
)
BUSY_S = 160.0
"""What is added to each deadline and bound: only `make duress` measures them."""


@pytest.fixture(scope="module")
def worlds() -> dict[str, probing.World]:
    need_root()
    return {world.name: world for world in cases.worlds()}


@pytest.mark.parametrize("name", [*NAMES, *(f"native: {name}" for name in NATIVE)])
def test_in_this_world_the_probe_is_never_wrong_and_leaves_nothing(
    name: str, worlds: dict[str, probing.World]
) -> None:
    if name.startswith("native: "):
        built(os.uname().machine)
    if name not in worlds and "CI" not in os.environ:
        pytest.skip(f"this machine cannot make the world of {name}")
    world = worlds[name]
    longer = world.deadline + BUSY_S * (world.deadline == probing.World("").deadline)
    seen = cases.seen_in(replace(world, deadline=longer, slow_s=world.slow_s + BUSY_S))
    assert seen.wrong == (), seen.cells


@pytest.mark.parametrize("native", [False, True])
def test_a_probe_of_which_a_process_was_killed_is_never_wrong_and_leaves_nothing(
    native: bool,
) -> None:
    need_root()
    if native:
        built(os.uname().machine)
    seen = cases.seen_after_kills(range(10), native=native)
    assert seen.wrong == (), seen.cells


# ---- the table itself can fail


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("touch /var/left", "left: file /var/left"),
        ("echo 7 > /proc/sys/net/ipv4/tcp_fin_timeout", "tcp_fin_timeout"),
        ("ip link set lo down", "left: interface lo"),
        ("mount -t tmpfs none /mnt", "left: mount"),
        ("mknod /dev/left p", "left: device /dev/left"),
        ("sleep 60 & exec true", "left: "),
    ],
)
def test_whatever_is_left_is_found(
    command: str, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_root()
    probing.usual_verdicts()  # by the real command
    monkeypatch.setattr(protocol, "COMMAND", f"sh -c '{command}'")
    world = probing.World("leaves something", least=0.0)
    wrong, _ = probing.judge(world, probing.probe_in(world))
    assert any(left in each for each in wrong), wrong


def test_a_wrong_verdict_is_found() -> None:
    need_root()
    world = probing.World("other truth", truth={"unread-close": "FIN"})
    wrong, cells = probing.judge(world, probing.probe_in(world))
    assert cells["wrong"] == 2
    assert "unread-close over ipv4 is RST, not FIN" in wrong
