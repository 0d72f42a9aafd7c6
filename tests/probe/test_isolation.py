"""Where the probe runs: the ways into a private network namespace, what is copied into it, and what
is done without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetaudit.model import Family
from fleetaudit.probe import protocol
from tests.support import probe_runs
from tests.support.probe_runs import (
    DRAINED,
    NO_CTYPES,
    REREAD,
    UNREAD,
    in_new_network,
    notable_segments,
    request,
    run,
    scenario,
    trial_of,
)
from tests.support.timed_replies import TimedReply

SETTING = scenario("setting", "namespace sets net.ipv4.tcp_stdurg 1; peer connects; closer closes")
NO_NAMESPACES = [
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--",
    "sh",
    "-ec",
    "ip link set lo up; for k in net user; do echo 0 > /proc/sys/user/max_${k}_namespaces; done; "
    'exec "$@"',
    "sh",
]
"""A machine on which nobody can make a namespace: root, but of a user namespace whose limits are
zero.
"""
NEEDS_CAPTURE = "needs a capture (needs CAP_NET_RAW or user namespaces; set become: true)"


def experiments(isolation: str = "auto") -> dict[str, object]:
    return request(
        scenario(*UNREAD),
        scenario(*DRAINED),
        scenario(*REREAD),
        SETTING,
        isolation=isolation,
        sysctls=["net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_stdurg"],
    )


def check_endings(reply: TimedReply) -> None:
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    for family in families:
        unread, drained = (
            trial_of(reply, name, family).peer for name in ("unread-close", "drained-close")
        )
        assert unread is not None
        assert drained is not None
        assert (unread.state, unread.recv, unread.so_error) == (7, ("ECONNRESET", "0"), "0")
        assert (drained.state, drained.recv, drained.so_error) == (8, ("0",), "0")


def test_root_gets_a_namespace_with_everything_in_it() -> None:
    probe_runs.need_root()
    reply = run(experiments("namespace"), python=probe_runs.public_python())
    assert (reply.isolation, reply.isolation_note, reply.notes) == ("namespace", "", ())
    check_endings(reply)
    assert notable_segments(trial_of(reply, "reread-fin-close")) in (
        ["peer FP.", "closer F."],
        ["peer FP.", "closer R."],
    )
    assert trial_of(reply, "setting").peer is not None


def test_an_unprivileged_user_gets_the_same_by_a_user_namespace() -> None:
    reply = run(experiments(), python=probe_runs.public_python(), within=probe_runs.as_nobody())
    if reply.isolation == "host":
        pytest.skip(reply.isolation_note)
    check_endings(reply)
    assert notable_segments(trial_of(reply, "reread-fin-close")) in (
        ["peer FP.", "closer F."],
        ["peer FP.", "closer R."],
    )


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_without_ctypes_and_os_unshare_the_program_unshare_is_used(who: str) -> None:
    probe_runs.need_program("unshare")
    within = probe_runs.as_nobody() if who == "nobody" else []
    reply = run(experiments(), python=probe_runs.public_python(), within=within, before=NO_CTYPES)
    if reply.isolation == "host":
        assert who == "nobody"
        pytest.skip(reply.isolation_note)
    check_endings(reply)
    assert trial_of(reply, "setting").error == ""
    assert reply.sysctls["net.ipv4.tcp_fin_timeout"].default == "60"
    assert reply.exposure is not None


def test_without_any_way_in_plain_sockets_are_used_and_the_note_names_every_way() -> None:
    reply = run(experiments(), before=NO_CTYPES + "os.environ['PATH'] = '/nonexistent'\n")
    assert reply.isolation == "host"
    for way in ("os.unshare", "ctypes", "the program unshare"):
        assert way in reply.isolation_note
    check_endings(reply)


def test_where_namespaces_are_switched_off_scenarios_that_need_one_say_so() -> None:
    probe_runs.need_program("unshare", "ip")
    reply = run(experiments(), within=NO_NAMESPACES)
    assert reply.isolation == "host"
    assert "No space left on device" in reply.isolation_note
    check_endings(reply)
    reasons = {o.scenario: o.not_run for o in reply.observations if o.not_run}
    assert reasons["setting"].startswith("needs a private network namespace")
    assert "private network namespace" in reasons["reread-fin-close"]


def test_isolation_namespace_runs_nothing_if_no_namespace_can_be_made() -> None:
    probe_runs.need_program("unshare", "ip")
    reply = run(experiments("namespace"), within=NO_NAMESPACES)
    assert len(reply.observations) == 8
    assert all(not o.trials for o in reply.observations)
    assert {o.not_run for o in reply.observations} == {reply.isolation_note}
    assert reply.sysctls["net.ipv4.tcp_fin_timeout"].value is not None


def test_a_plain_user_in_the_hosts_namespace_has_no_capture_and_the_reason_names_a_remedy() -> None:
    reply = run(
        experiments("host"), python=probe_runs.public_python(), within=probe_runs.as_nobody()
    )
    assert (reply.isolation, reply.isolation_note) == ("host", "")
    check_endings(reply)
    trial = trial_of(reply, "unread-close")
    assert trial.wire is None
    assert "needs CAP_NET_RAW or user namespaces; set become: true" in trial.wire_note
    assert "rx_queue" not in trial.queue
    reasons = {o.scenario: o.not_run for o in reply.observations if o.not_run}
    assert reasons["reread-fin-close"] == NEEDS_CAPTURE


def test_root_in_the_hosts_namespace_captures_its_own_connections_and_sends_no_raw_segment() -> (
    None
):
    reply = run(experiments("host"), within=in_new_network())
    check_endings(reply)
    assert notable_segments(trial_of(reply, "unread-close", "ipv6")) == ["closer R."]
    assert {o.scenario for o in reply.observations if o.not_run} == {"reread-fin-close", "setting"}


def test_the_hosts_settings_are_copied_and_the_kernels_defaults_reported() -> None:
    within = in_new_network("echo 33 > /proc/sys/net/ipv4/tcp_fin_timeout")
    timeout = run(experiments(), within=within).sysctls["net.ipv4.tcp_fin_timeout"]
    assert (timeout.value, timeout.default, timeout.used) == ("33", "60", None)


def test_a_copied_setting_changes_what_the_experiment_sees() -> None:
    late = "closer closes; peer sends 5 bytes"
    call = request(scenario("late", late), sysctls=["net.ipv4.tcp_fin_timeout"])
    counted = [
        trial_of(
            run(call, within=in_new_network(f"echo {n} > /proc/sys/net/ipv4/tcp_fin_timeout")),
            "late",
        ).kernel
        for n in (60, 120)
    ]
    assert counted == [
        {"OutRsts": 1, "EstabResets": 1},
        {"OutRsts": 1, "EstabResets": 1, "TCPAbortOnData": 1},
    ]


def test_a_host_whose_sockets_answer_each_other_without_end_is_not_imitated() -> None:
    """With tcp_invalid_ratelimit 0, sockets at odds after a forged segment acknowledge each other
    without end.
    """
    within = in_new_network("echo 0 > /proc/sys/net/ipv4/tcp_invalid_ratelimit")
    urgent = "peer sends 1 urgent byte"
    ahead = scenario(
        "ahead", f"peer sends 5 bytes out of order; {urgent}; closer half-closes; {urgent}"
    )
    reply = run(
        request(ahead, sysctls=["net.ipv4.tcp_invalid_ratelimit"], deadline=60.0), within=within
    )
    assert "closer F." in notable_segments(trial_of(reply, "ahead"))
    (limit,) = reply.sysctls.values()
    assert (limit.value, limit.used) == ("0", "500")


def test_a_mapped_address_is_connected_where_ipv6_sockets_are_for_ipv6_alone() -> None:
    mapped = scenario(
        "mapped", "peer connects over IPv4-mapped IPv6; peer sends 5 bytes; closer closes"
    )
    reply = run(request(mapped), within=in_new_network("echo 1 > /proc/sys/net/ipv6/bindv6only"))
    assert notable_segments(trial_of(reply, "mapped", "ipv6")) == ["closer R."]


def test_where_loopback_is_steered_to_other_cpus_no_step_overtakes_the_one_before() -> None:
    """With receive packet steering each flow has its own CPU: a datagram may overtake a segment."""
    probe_runs.need_program("mount")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    mask = "/sys/class/net/lo/queues/rx-0/rps_cpus"
    steered = f'mount -t sysfs sysfs /sys; echo 3 > {mask}; exec "$@"'
    within = [*in_new_network(), "unshare", "--mount", "--", "sh", "-ec", steered, "sh"]
    late = scenario("late", "peer closes; closer sends 5 bytes; closer closes", trials=20)
    both = scenario("both", "peer half-closes; closer half-closes; closer disconnects", trials=20)
    reply = run(request(late, both, isolation="host"), within=within)
    assert len(reply.observations) == 4
    for found in reply.observations:
        flags = [
            {mark for mark in notable_segments(trial) if mark.startswith("closer")}
            for trial in found.trials
        ]
        assert flags == [set() if found.scenario == "late" else {"closer F."}] * len(found.trials)


def test_where_proc_sys_is_read_only_the_reply_names_the_settings_that_differ() -> None:
    probe_runs.need_root()
    probe_runs.need_program("unshare", "mount")
    within = [
        "unshare",
        "--net",
        "--mount",
        "--",
        "sh",
        "-ec",
        "echo 33 > /proc/sys/net/ipv4/tcp_fin_timeout; mount --bind -o ro /proc/sys /proc/sys; "
        'mount -o remount,bind,ro /proc/sys; exec "$@"',
        "sh",
    ]
    reply = run(experiments(), within=within)
    timeout = reply.sysctls["net.ipv4.tcp_fin_timeout"]
    assert (timeout.value, timeout.used) == ("33", "60")
    assert any("read-only" in note and "net.ipv4.tcp_fin_timeout" in note for note in reply.notes)
    check_endings(reply)


def test_ipv6_that_the_host_has_switched_off_is_not_run_with_the_reason() -> None:
    within = in_new_network("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    for isolation in ("namespace", "host"):
        reply = run(request(scenario(*UNREAD), isolation=isolation), within=within)
        assert trial_of(reply, "unread-close").peer is not None
        (observation,) = [o for o in reply.observations if o.family == "ipv6"]
        assert observation.not_run == "no IPv6 loopback address: IPv6 is switched off on this host"


def test_mptcp_that_the_host_has_switched_off_is_not_run_with_the_reason() -> None:
    if not Path("/proc/sys/net/mptcp/enabled").exists():
        pytest.skip("needs net.mptcp.enabled")
    mptcp = scenario("mptcp", "peer connects over MPTCP; peer sends 5 bytes; closer closes")
    reply = run(request(mptcp), within=in_new_network("echo 0 > /proc/sys/net/mptcp/enabled"))
    assert {o.not_run.split(" (")[0] for o in reply.observations} == {
        "this kernel has no MPTCP, or net.mptcp.enabled is 0"
    }


def dropping_resets(hook: str) -> list[str]:
    probe_runs.need_program("nft")
    rules = (
        f"table inet t {{ chain c {{ type filter hook {hook} priority 0; tcp flags & rst == rst"
        " drop; }; }"
    )
    return in_new_network(f"nft '{rules}'")


def test_a_reset_that_a_firewall_drops_on_its_way_out_is_counted_as_failed_and_not_captured() -> (
    None
):
    within = dropping_resets("output")
    trial = trial_of(
        run(request(scenario(*UNREAD), isolation="host"), within=within), "unread-close"
    )
    assert notable_segments(trial) == []
    assert trial.peer is not None
    assert (trial.peer.state, trial.peer.recv) == (1, ("EAGAIN",))
    assert trial.kernel is not None
    assert trial.kernel["TCPAbortOnClose"] == 1
    assert trial.kernel["TCPAbortFailed"] == 1


def test_a_reset_that_a_firewall_drops_on_its_way_in_is_captured_and_not_delivered() -> None:
    within = dropping_resets("input")
    trial = trial_of(
        run(request(scenario(*UNREAD), isolation="host"), within=within), "unread-close"
    )
    assert notable_segments(trial) == ["closer R."]
    assert trial.peer is not None
    assert (trial.peer.state, trial.peer.recv) == (1, ("EAGAIN",))


def test_a_private_namespace_has_no_firewall() -> None:
    check_endings(run(experiments(), within=dropping_resets("output")))


def test_loopback_that_is_down_is_not_run_with_the_reason() -> None:
    probe_runs.need_root()
    probe_runs.need_program("unshare")
    reply = run(request(scenario(*UNREAD), isolation="host"), within=["unshare", "--net", "--"])
    assert all(not o.trials and "loopback" in o.not_run for o in reply.observations)


CAPTURE = """
import json, socket
def pair():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4)
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    return listener, client, server
capture = Capture()
mine, foreign, seen = pair(), pair(), []
def look():
    mine[1].sendall(b"mine"); foreign[1].sendall(b"foreign")
    while True:
        try:
            packet = parse_packet(capture.sock.recv(SNAP), 0)
        except OSError:
            return
        seen.append([packet.source, packet.target])
look()
before = list(seen)
capture.watch([mine[0].getsockname()[1]])
look()
ports = [[s.getsockname()[1] for s in connection[:2]] for connection in (mine, foreign)]
print(json.dumps([before, seen, ports]))
"""


def test_the_capture_reads_nobody_elses_traffic() -> None:
    program = (protocol.probe_text() + CAPTURE).encode()
    done = subprocess.run(
        [*in_new_network(), sys.executable, "-"], input=program, capture_output=True, check=True
    )
    before, seen, ((listener, client), _) = json.loads(done.stdout)
    assert before == []
    assert seen
    assert {frozenset(ports) for ports in seen} == {frozenset((listener, client))}
