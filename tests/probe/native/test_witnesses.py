"""What the native probe sees, compared with what the Python probe sees of the same kernel."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import native, probe_runs
from tests.support.probe_runs import (
    DRAINED,
    REREAD,
    UNREAD,
    as_nobody,
    need_program,
    need_root,
    notable_segments,
    refusing_a_call,
    request,
    scenario,
    trial_of,
)
from tests.support.timed_replies import TimedReply, TimedTrial


def both(call: dict[str, Any], within: Sequence[str] = ()) -> tuple[TimedReply, TimedReply]:
    """Returns what the two probes answer to a call, Python's first."""
    return probe_runs.run(call, within=within), native.run(call, within=within)


def witnesses(trial: TimedTrial) -> dict[str, object]:
    """Returns what a trial shows, without what depends on time."""
    scales = trial.connection.scales if trial.connection else None
    return {
        "wire": None if trial.wire is None else notable_segments(trial),
        "wire note": trial.wire_note,
        "scales": scales,
        "peer": trial.peer,
        "kernel": trial.kernel,
        "queue": trial.queue,
        "bytes": trial.bytes,
        "error": (trial.error, trial.failed_step),
        "outstanding": trial.outstanding,
    }


def seen(reply: TimedReply) -> list[object]:
    """Returns what each observation shows."""
    return [
        (o.scenario, o.family, o.not_run, o.failed, [witnesses(trial) for trial in o.trials])
        for o in reply.observations
    ]


def options_of(trial: TimedTrial) -> set[str]:
    """Returns the names of all options on a trial's segments."""
    return {name for segment in trial.wire or () for name in segment.options.split()}


MOST_KEPT = 8192
"""How many segments of a trial the native probe keeps (MAX_PACKETS)."""

# ---- the wire
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("closer connects; peer sends 5 bytes; closer closes", {"TS"}),
        ("both sign with TCP_MD5SIG; peer sends 5 bytes; closer closes", {"MD5"}),
        ("peer sends 5 bytes; peer sends 5 bytes out of order; closer closes", {"TS", "SACK"}),
        (
            "closer connects over MPTCP; peer sends 5 bytes; closer closes",
            {"MP_CAPABLE", "MP_FASTCLOSE"},
        ),
        (
            "closer connects over MPTCP; peer sends 5 bytes; closer reads all; closer closes",
            {"MP_CAPABLE", "DATA_FIN"},
        ),
    ],
)
def test_options_are_named(steps: str, expected: set[str]) -> None:
    replies = both(request(scenario("one", steps, families=["ipv4"])))
    for reply in replies:
        (observation,) = reply.observations
        if observation.is_impossible:
            pytest.skip(observation.not_run)
    of_python, of_native = (options_of(trial_of(reply, "one")) for reply in replies)
    assert of_native >= expected
    assert of_native == of_python


def bulk(times: int) -> str:
    """Returns steps that send and read as much as fits between the two, so many times."""
    rounds = ["peer sends until blocked; closer reads all"] * times
    return "; ".join([*rounds, "peer half-closes; closer reads to the end; closer closes"])


def in_small_windows(*commands: str) -> list[str]:
    """Returns a command that runs what follows in a network whose windows do not grow until a
    step sends more than it may.
    """
    need_program("sysctl")
    small = "sysctl -qw net.ipv4.tcp_rmem='4096 131072 2000000'"
    return probe_runs.in_new_network(small, *commands)


def test_a_long_trace_lacks_only_its_middle() -> None:
    call = request(scenario("long", bulk(8), families=["ipv4"]), isolation="host")
    replies = both(call, in_small_windows())
    for trial in (trial_of(reply, "long") for reply in replies):
        assert trial.wire is not None
        assert trial.wire_lost == 0
        assert trial.wire_omitted > 0
        assert len(trial.wire) == 200
        assert "S" in trial.wire[0].flags
        assert {s.sender for s in trial.wire[-10:] if "F" in s.flags} == {"closer", "peer"}
        numbers = [s.seq for s in trial.wire if s.sender == "peer"]
        assert numbers == sorted(numbers)
    of_python, of_native = (notable_segments(trial_of(reply, "long")) for reply in replies)
    assert of_native == of_python


def test_of_more_segments_than_it_keeps_it_reports_both_ends() -> None:
    """Loopback cuts data into segments of its MTU here, so there are about 25,000 of them."""
    within = in_small_windows("ip link set lo mtu 600 gso_max_segs 1")
    call = request(scenario("many", bulk(8), families=["ipv4"]), isolation="host")
    for trial in (trial_of(reply, "many") for reply in both(call, within)):
        assert trial.wire is not None
        assert trial.wire_lost == 0
        assert trial.wire_omitted > MOST_KEPT
        assert len(trial.wire) == 200
        assert {s.sender for s in trial.wire[-10:] if "F" in s.flags} == {"closer", "peer"}
        data = [s for s in trial.wire if s.sender == "peer" and s.length]
        pairs = itertools.pairwise(data)
        assert sum(before.seq + before.length < after.seq for before, after in pairs) == 1


def test_records_that_found_no_room_are_counted() -> None:
    call = request(scenario("much", bulk(20), families=["ipv4"]), isolation="host")
    within = [*in_small_windows(), *without_large_buffers()]
    lost = [trial_of(reply, "much").wire_lost for reply in both(call, within)]
    if not lost[0]:
        pytest.skip("this kernel's default buffer has room for all of it")
    assert lost[1] > 0


def without_large_buffers() -> list[str]:
    """Returns a command that runs what follows without the right to a capture of more records than
    any program may have.
    """
    need_program("setpriv")
    return ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", "--"]


# ---- what the host keeps from it
# -------------------------------------------------------------------------------------------

STEPS = (
    UNREAD,
    DRAINED,
    REREAD,
    ("destroyed", "peer sends 5 bytes; closer is destroyed"),
    ("half-close", "peer sends 5 bytes; closer half-closes; closer closes"),
    ("urgent", "peer sends 1 urgent byte; closer closes"),
    ("late", "closer closes; peer sends 5 bytes"),
    ("peer-closes", "peer closes; closer closes"),
    ("mapped", "closer connects over IPv4-mapped IPv6; peer sends 5 bytes; closer closes"),
    ("unix", "peer sends 5 bytes; closer closes"),
)


def call_of_all(isolation: str) -> dict[str, Any]:
    """Returns a call of STEPS over each family that they can have."""
    scenarios = [
        scenario(name, steps, families=["unix"] if name == "unix" else ["ipv4", "ipv6"])
        for name, steps in STEPS
    ]
    return request(*scenarios, isolation=isolation)


@pytest.mark.parametrize("isolation", ["namespace", "host"])
def test_both_probes_see_the_same(isolation: str) -> None:
    within = probe_runs.in_new_network() if isolation == "host" else ()
    of_python, of_native = both(call_of_all(isolation), within)
    assert seen(of_native) == seen(of_python)
    assert any(o.trials for o in of_native.observations)


NO_MODULES = """
[ -d /lib/modules ] || {
  mount -t tmpfs none /mnt
  mkdir -p /mnt/above/modules /mnt/work
  mount -t overlay -o lowerdir=/usr/lib,upperdir=/mnt/above,workdir=/mnt/work none /usr/lib
}
mount -t tmpfs none /lib/modules
mkdir /lib/modules/$(uname -r)
mount -t tmpfs none /sys/module
exec "$@"
"""
"""A shell's lines: a kernel with modules, of which none is loaded."""
# socket(2) with AF_NETLINK
NO_NETLINK = refusing_a_call({"x86_64": 41, "aarch64": 198}, 16, 16)


def without_modules() -> list[str]:
    """Returns a command that runs what follows where the module tcp_diag is not loaded."""
    need_program("mount")
    return ["unshare", "--mount", "sh", "-ec", NO_MODULES, "sh"]


def without_netlink() -> list[str]:
    """Returns a command that runs what follows where socket(AF_NETLINK) is refused (seccomp)."""
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip(f"needs the number of socket(2) on {os.uname().machine}")
    return [probe_runs.public_python(), "-c", NO_NETLINK]


@pytest.mark.parametrize("isolation", ["namespace", "host"])
@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (without_modules, "the kernel's tcp_diag module is not loaded, and the probe loads none"),
        (without_netlink, "Operation not permitted"),
    ],
)
def test_without_sock_diag_the_tables_of_proc_say_as_much(
    where: Callable[[], list[str]], reason: str, isolation: str
) -> None:
    need_root()
    within = [*probe_runs.in_new_network(), *where()]
    of_python, of_native = both(call_of_all(isolation), within)
    assert seen(of_native) == seen(of_python)
    reasons = {o.not_run for o in of_native.observations if o.scenario == "destroyed"}
    if isolation == "namespace":
        assert reasons == {f"needs sock_diag(7): {reason}"}


def without_raw_sockets() -> list[str]:
    """Returns a command that runs what follows as root without the right to capture."""
    need_root()
    need_program("setpriv")
    return ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-all", "--"]


@pytest.mark.parametrize("who", [as_nobody, without_raw_sockets])
def test_without_the_right_to_capture_the_others_testify(who: Callable[[], list[str]]) -> None:
    within = [*probe_runs.in_new_network(), *who()]
    of_python, of_native = both(call_of_all("host"), within)
    assert of_native.capture_note == of_python.capture_note != ""
    assert seen(of_native) == seen(of_python)
    trial = trial_of(of_native, UNREAD[0])
    assert trial.wire is None
    assert "CAP_NET_RAW" in trial.wire_note
    assert trial.peer is not None


# ---- the counters
# -------------------------------------------------------------------------------------------

ODD_COUNTERS = {
    "empty": b"",
    "no heading": b"IpExt: InNoRoutes\nIpExt: 0\n",
    "no values": b"TcpExt: SyncookiesSent TCPAbortOnClose TCPAbortFailed\nIpExt: InNoRoutes\n",
    "a heading alone": b"TcpExt: TCPAbortOnClose TCPAbortFailed\n",
    "half a line": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: -1",
    "too few values": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: 1\n",
    "no numbers": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: x 5y\n",
    "negative": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: -1 7\n",
    "too large": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: 9223372036854775808 7\n",
    "the largest": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: 9223372036854775807 7\n",
    "other blanks": b"TcpExt:  TCPAbortOnClose\t TCPAbortFailed \nTcpExt: \t5   7 \n",
    "binary": random.Random(1).randbytes(5000),
    "one huge line": b"TcpExt: " + b"9" * 500_000,
}


@pytest.mark.parametrize("what", ODD_COUNTERS)
def test_odd_counters_are_read_as_by_python(what: str, tmp_path: Path) -> None:
    need_root()
    need_program("mount")
    odd = tmp_path / "netstat"
    odd.write_bytes(ODD_COUNTERS[what])
    instead = f'mount --bind {odd} /proc/$$/net/netstat; exec "$@"'
    within = [*probe_runs.in_new_network(), "unshare", "--mount", "sh", "-ec", instead, "sh"]
    call = request(scenario(*UNREAD, families=["ipv4"]), isolation="host")
    of_python, of_native = both(call, within)
    assert of_python.exposure is not None
    assert of_native.exposure is not None
    assert of_native.exposure.counters == of_python.exposure.counters
    assert of_native.notes == of_python.notes
    assert seen(of_native) == seen(of_python)


def test_counters_of_a_trial_are_its_own() -> None:
    """A connection of another namespace moves none of its counters."""
    of_python, of_native = both(request(scenario(*UNREAD, trials=5)))
    for reply in (of_python, of_native):
        for observation in reply.observations:
            (trial,) = observation.trials
            assert trial.kernel == {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}
