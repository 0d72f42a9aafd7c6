"""What the native probe reports of the host: the same as the Python probe, also where files are odd
or missing.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetaudit.model import Isolation
from fleetaudit.playbook import load_playbook
from tests.probe.test_sysctl_files import made_up, private_files
from tests.support import probe_runs
from tests.support.two_probes import (
    Pair,
    compare_observations,
    explain,
    host_differences,
    plan_of,
    run_both,
)

pytestmark = pytest.mark.probe
PATTERNS = (
    "net.ipv4.tcp_*",
    "net.ipv4.conf.*.rp_filter",
    "net.ipv[46].conf.lo.[!a-m]*",
    "net.core.?mem_max",
    "net.mptcp.*",
    "net.ipv4.no_such_sysctl",
    "net.*",
    "no.such.*",
    "net.ipv4.tcp_[rw]mem",
    "net.ipv4.tcp_[",
    "net.ipv4.conf.eth0/1.rp_filter",
    "*.*.somaxconn",
)
UPTIMES = (b"", b"12.5 3\n", b"  9\n", b"-1 2\n", b"nan nan\n", b"1e300\n", b"\xff\n", b"x\n", b"7")
TABLES = (
    b"",
    b"  sl  local_address rem_address   st tx_queue rx_queue\n",
    b"  sl  local_address\n   0: 0100007F:1F90 0 01 00000000:00000005 00\n",
    b"  sl  local_address\n   0: 0100007F:1F90 0 01 00000000:00000005 00",
    b"  sl  local_address\n   0: a b 08 0:FFFFFFFF c\n   1: a b 0A 0:00000007 c\n   2: a b\n",
    b"  sl  local_address\n   0: a b -1 0:5 c\n",
    b"  sl  local_address\n   0: a b 01 0:100000000 c\n",
    b"  sl  local_address\n   0: a b 01 5 c\n",
    b"0: a b 01 0:5 c\n",
    b"\n",
    b"  sl  local_address\n" + b"x" * 200_000,
    b"  sl  local_address\n" + b"   0: a b 01 0:5 c\n" * 5000,
)
SYSTEMS = (
    b"",
    b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME=\'A \\"system\\"\'\n',
    b"ID\nVERSION_ID\n",
    b"ID=first\nID=second\n  VERSION_ID = 3\n",
    b"PRETTY_NAME=\"half\nID='\n",
    b"PRETTY_NAME=" + b"\xc3\xa9" * 400 + b"\n",
    b"PRETTY_NAME=\xff\xfe\xe2\x82 \xed\xa0\x80 \xf0\x9f\x98\x80\nID=\x01\x7f\n",
    b"NAME=x\n",
    b"ID=" + b"y" * 20_000,
)
MACHINE_IDS = (
    b"",
    b"\n",
    b"0123456789abcdef0123456789ABCDEF\n",
    b"  0123456789abcdef0123456789abcdef  \n",
    b"uninitialized\n",
    b"0123456789abcdef0123456789abcdeg\n",
    b"0" * 64,
    b"\xff" * 32,
)
COUNTERS = (
    b"",
    b"TcpExt: TCPAbortOnClose OutRsts\nTcpExt: 1\n",
    b"TcpExt: TCPAbortOnClose\n",
    b"Tcp: OutRsts ActiveOpens\nTcp: x -1\n",
    b"TcpExt: TCPAbortOnClose OutRsts\nTcpExt: 3 99999999999999999999\nTcp: PassiveOpens\n"
    b"Tcp: 9223372036854775807\n",
    b"Tcp: OutRsts OutRsts\nTcp: 4 5",
    b"IpExt: InNoRoutes\nIpExt: 4\n",
    b"\xff\xfe" * 3000,
)
ODD = {
    "/proc/uptime": UPTIMES,
    "/proc/net/tcp": TABLES,
    "/proc/net/tcp6": TABLES,
    "/proc/net/netstat": COUNTERS,
    "/proc/net/snmp": COUNTERS,
    "/etc/os-release": SYSTEMS,
    "/etc/machine-id": MACHINE_IDS,
    "/proc/sys/net/ipv4/tcp_fin_timeout": (b"60\n", b"", b"\xff\xfe\n", b"a  b\t c\n", b"z" * 9000),
    "/proc/sys/net/core/somaxconn": (b"4096\n", b"1 2 3"),
}


def both(
    within: Sequence[str], patterns: Sequence[str] = PATTERNS, isolation: Isolation = "host"
) -> Pair:
    """Returns the replies of both probes, whose two scenarios must be equal."""
    (play,) = load_playbook(None).plays
    scenarios = [each for each in play.scenarios if each.name in ("unread-close", "drained-close")]
    plan = plan_of(scenarios, trials=1, isolation=isolation, sysctls=patterns)
    pair = run_both(plan, within=within, python=probe_runs.public_python())
    unequal = [each for each in compare_observations(plan, pair) if not each.are_equal]
    assert [explain(each) for each in unequal] == []
    return pair


def with_files(*commands: str) -> list[str]:
    """Returns a command that runs what follows with a network and mounts of its own."""
    return ["unshare", "--mount", "--", *probe_runs.in_new_network(*commands)]


def test_the_sysctls_that_globs_select_are_the_same() -> None:
    pair = both(with_files())
    assert [*host_differences(pair)] == []
    assert len(pair.native.sysctls) > 100
    assert pair.native.sysctls["net.ipv4.no_such_sysctl"].state == "absent"


def test_the_settings_of_the_host_are_copied_and_its_defaults_known() -> None:
    settings = {
        "net.ipv4.tcp_fin_timeout": "33",
        "net.ipv4.tcp_rmem": "4096 70000 300000",
        "net.ipv4.tcp_timestamps": "0",
        "net.ipv4.ip_default_ttl": "77",
        "net.ipv4.tcp_invalid_ratelimit": "250",
    }
    commands = [f"sysctl -qw {key}={value!r}" for key, value in settings.items()]
    pair = both(with_files(*commands), isolation="auto")
    assert [*host_differences(pair)] == []
    assert pair.native.isolation == "namespace"
    entry = pair.native.sysctls["net.ipv4.tcp_fin_timeout"]
    assert (entry.value, entry.default, entry.used) == ("33", "60", None)
    assert pair.native.sysctls["net.ipv4.tcp_invalid_ratelimit"].used == "500"


@pytest.mark.parametrize("seed", range(12))
def test_odd_files_are_reported_in_the_same_words(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    commands: list[str] = []
    for path, contents in ODD.items():
        if chance.random() < 0.3:
            continue
        file = tmp_path / path[1:].replace("/", "-")
        file.write_bytes(contents[(seed + len(commands)) % len(contents)])
        # /proc/net belongs to the process, which the shell is until it becomes the probe.
        target = path.replace("/proc/net/", "/proc/$$/net/")
        commands.append(f"mount --bind {shlex.quote(str(file))} {target}")
    pair = both(with_files(*commands))
    assert [*host_differences(pair)] == []


@pytest.mark.parametrize("isolation", ["host", "auto"])
def test_without_proc_everything_is_unknown_and_the_endings_are_reported(
    isolation: Isolation,
) -> None:
    pair = both(with_files("mount -t tmpfs none /proc"), isolation=isolation)
    assert [*host_differences(pair)] == []
    assert pair.native.exposure is not None
    assert pair.native.exposure.uptime_s is None
    assert all(each.trials for each in pair.native.observations)


@pytest.mark.parametrize("seed", range(10))
def test_the_lines_that_set_a_sysctl_at_boot_are_the_same(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for path, text in made_up(chance).items():
        file = tmp_path / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            file.symlink_to(text[3:])
        else:
            file.write_text(text)
    if seed == 9:
        (tmp_path / "etc/sysctl.d").mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc/sysctl.d/50-secret.conf").write_text("net.ipv4.tcp_fin_timeout = 7\n")
        (tmp_path / "etc/sysctl.d/50-secret.conf").chmod(0o600)
    tmp_path.chmod(0o755)
    clean = "rm -rf /etc/sysctl.d /etc/sysctl.conf; mkdir /etc/sysctl.d"
    within = private_files("ip link set lo up", clean, f"cp -a {shlex.quote(str(tmp_path))}/. /")
    pair = both(within, ["net.ipv4.tcp_*"])
    assert [*host_differences(pair)] == []
    assert (pair.native.sysctl_places is None) == (seed == 9)
