"""Worlds whose network, folders or files of /proc are odd."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from .probing import NOBODY, World
from .seccomp import refuse

FAMILY_6 = 10


def worlds() -> Iterator[World]:
    yield from ports()
    yield from network()
    yield from folders()
    yield from odd_files()


def sysctl(key: str, value: str) -> str:
    return f"echo {value} > /proc/sys/net/{key}"


def ports() -> Iterator[World]:
    """The range is not copied into a private namespace, where it changes nothing."""
    for count in (1, 2, 3, 10, 20):
        script = sysctl("ipv4/ip_local_port_range", f"40000 {39999 + count}")
        yield World(f"{count} local ports", (script,))
        for uid in (0, NOBODY):
            says = f"no free local port: ip_local_port_range is 40000 {39999 + count}"
            yield World(
                f"{count} local ports in the host's namespace, user {uid}",
                (script,),
                isolation="host",
                uid=uid,
                least=0.8 if count >= 10 else 0.0,
                says=says if count < 10 else "",
            )


def network() -> Iterator[World]:
    off = tuple(sysctl(f"ipv6/conf/{where}/disable_ipv6", "1") for where in ("all", "lo"))
    no_files = {"/proc/sys/net/ipv6": "absent", "/proc/net/tcp6": "absent"}
    no_sockets = refuse("EAFNOSUPPORT", "socket", argument=0, value=FAMILY_6)
    for isolation in ("auto", "host"):
        here: dict[str, Any] = {"isolation": isolation, "least": 0.4}
        yield World(f"IPv6 switched off, {isolation}", off, says="IPv6 is switched off", **here)
        yield World(
            f"IPv6 absent, {isolation}", files=no_files, rules=no_sockets, says="no IPv6", **here
        )
        here["least"] = float(isolation == "auto")
        yield World(f"lo down, {isolation}", ("ip link set lo down",), **here)
        yield World(f"no address on lo, {isolation}", ("ip addr flush dev lo",), **here)
    drop = "type filter hook input priority 0; numgen inc mod 2 0 drop"
    lossy = f"nft 'table inet t {{ chain c {{ {drop}; }}; }}'"
    here = {"isolation": "host", "least": 0.0}
    yield World("lo of MTU 68", ("ip link set lo mtu 68",), **here)
    yield World("lo loses every other packet", (lossy,), **here)
    for key, value in {
        "ipv4/tcp_rmem": "1 1 1",
        "ipv4/tcp_wmem": "4096 4096 4096",
        "core/somaxconn": "0",
        "ipv4/tcp_max_tw_buckets": "0",
        "ipv4/ip_local_reserved_ports": "32768-60999",
        "ipv4/tcp_abort_on_overflow": "1",
        "ipv4/tcp_fastopen": "0",
        "unix/max_dgram_qlen": "0",
    }.items():
        # Without TIME_WAIT the last ACK of MPTCP finds no socket.
        truth = {"mptcp-drained-close": "FIN, then RST"} if "tw_buckets" in key else {}
        for isolation in ("auto", "host"):
            here = {"isolation": isolation, "least": 0.0, "truth": truth}
            yield World(f"{key} {value}, {isolation}", (sysctl(key, value),), **here)


def folders() -> Iterator[World]:
    hide = "mount -t tmpfs -o mode=000 none"
    read_only = "for m in /sys /dev /; do mount -o remount,ro $m; done"
    yield World("no /proc", (f"{hide} /proc",), least=0.9)
    yield World("no /proc for an ordinary user", (f"{hide} /proc",), uid=NOBODY, least=0.8)
    yield World("/proc with hidepid", ("mount -o remount,hidepid=2 /proc",), uid=NOBODY)
    yield World("/proc of processes only", ("mount -o remount,subset=pid /proc",), least=0.9)
    yield World("/proc read-only", ("mount -o remount,ro /proc",), least=0.9)
    yield World("no /sys", (f"{hide} /sys",))
    yield World("no /dev", (f"{hide} /dev",))
    yield World("no /dev/null", ("rm /dev/null",))
    yield World("no /dev/null for an ordinary user", ("rm /dev/null",), uid=NOBODY)
    yield World("/dev/null of root only", ("chmod 600 /dev/null",), uid=NOBODY)
    yield World("/dev/null that is a file", ("rm /dev/null; echo text > /dev/null",))
    yield World("/dev/null that is a folder", ("rm /dev/null; mkdir /dev/null",))
    yield World("/dev without devices", ("mount -o remount,nodev /dev",))
    yield World("no /tmp", (f"{hide} /tmp; {hide} /var/tmp; {hide} /dev/shm",), uid=NOBODY)
    yield World("no /etc", (f"{hide} /etc",), uid=NOBODY)
    yield World("no /run and no /home", (f"{hide} /run; {hide} /home",))
    yield World("everything read-only", (read_only,))
    yield World("read-only for an ordinary user", (read_only,), uid=NOBODY)
    fill = "mount -t tmpfs -o size=4k none /tmp; head -c 4096 /dev/zero > /tmp/x"
    yield World("a full /tmp", (fill,))
    yield World("sh is bash", ("ln -sf bash /bin/sh",))


FILES = (
    "/proc/net/netstat",
    "/proc/net/snmp",
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/uptime",
    "/proc/self/stat",
    "/proc/self/ns/net",
    "/proc/self/setgroups",
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/proc/sys/net/ipv4/tcp_fastopen",
    "/proc/sys/net/ipv4/tcp_available_ulp",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_stdurg",
    "/proc/sys/net/ipv4/tcp_abort_on_overflow",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6",
    "/proc/sys/net/mptcp/enabled",
    "/proc/sys/net/ipv4",
    "/proc/sys/net",
    "/proc/net",
    "/etc/os-release",
    "/etc/machine-id",
    "/etc/sysctl.conf",
    "/etc/sysctl.d/50-odd.conf",
    "/sys/class/net/lo/queues/rx-0/rps_cpus",
)
"""What the probe opens, by strace(1), with one of the sysctls that it only copies: tcp_rmem."""
ODDITIES = (
    "absent",
    "empty",
    "binary",
    "10 MB without a newline",
    "10 MB of newlines",
    "10 MB of words",
    "a FIFO",
    "a folder",
    "endless",
    "a loop of links",
    "unreadable",
    "negative",
)


def odd_files() -> Iterator[World]:
    for path, how in product(FILES, ODDITIES):
        maps = path.endswith(("setgroups", "_map"))  # only an ordinary user needs these
        uid = NOBODY if maps else 0
        yield World(f"{path}: {how}", files={path: how}, uid=uid, least=0.8 if maps else 0.9)
