"""One odd file in /proc or /etc loses one answer of the probe, never another answer and never the
host.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.analysis.judge.exposure import EXPOSURE_NUMBERS
from tests.support import probe_runs
from tests.support.probe_runs import (
    DRAINED,
    UNREAD,
    request,
    run,
    scenario,
)
from tests.support.timed_replies import TimedReply

CALL = request(
    scenario(*UNREAD, families=("ipv4",)),
    scenario(*DRAINED, families=("ipv4",)),
    isolation="host",
    sysctls=["net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_rfc1337"],
)
REDIRECT = """
import os
def redirected(path, *rest, **more):
    return opened(files.get(path, path), *rest, **more)
opened, os.open, files = os.open, redirected, {files!r}
"""
# gVisor's: https://github.com/google/gvisor/issues/13151
NO_VALUES = (
    b"TcpExt: SyncookiesSent TCPAbortOnClose TCPAbortFailed\nIpExt: InNoRoutes InOctets\nTcp:"
    b" OutRsts\n"
)
ANSWERS = {
    "/proc/uptime": "uptime",
    "/proc/net/netstat": "netstat",
    "/proc/net/snmp": "snmp",
    "/proc/net/tcp": "sockets",
    "/proc/net/tcp6": "sockets",
    "/etc/os-release": "os",
    "/etc/machine-id": "machine id",
    "/proc/sys/net/ipv4/tcp_fin_timeout": "sysctl",
}


def redirect(**files: Path) -> str:
    """Returns lines before the program that make os.open find other files."""
    return REDIRECT.replace(
        "{files!r}", repr({path: str(instead) for path, instead in files.items()})
    )


def answers(reply: TimedReply) -> dict[str, Any]:
    """Returns each answer of a reply as far as two replies of one machine agree in it."""
    assert reply.exposure is not None
    counters, sockets = set(reply.exposure.counters), reply.exposure.unread_sockets
    of_snmp = {"OutRsts", "EstabResets", "ActiveOpens", "PassiveOpens", "CurrEstab"}
    return {
        "kernel": reply.kernel,
        "python": reply.python,
        "os": reply.os,
        "machine id": reply.machine_id,
        "uptime": reply.exposure.uptime_s is not None,
        "netstat": counters - of_snmp,
        "snmp": counters & of_snmp,
        # On a busy machine the list is cut off by time, without a note.
        "sockets": (
            sockets is not None
            and not (sockets.partial and any("/proc/net/tcp" in n for n in reply.notes))
        ),
        "sysctl": reply.sysctls["net.ipv4.tcp_fin_timeout"],
        "other sysctl": reply.sysctls["net.ipv4.tcp_rfc1337"],
        "endings": [(o.scenario, o.trials[0].peer) for o in reply.observations],
    }


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns files that no kernel writes, by what is odd about them."""
    folder = tmp_path_factory.mktemp("odd")
    contents = {
        "empty": b"",
        "binary": random.Random(1).randbytes(5000),
        "one huge line": b"9" * 9_000_000,
        "huge numbers": b"%s\n" % (b"9" * 400 + b" ") * 5,
        "no number": b"nan inf x\n",
        "no values": NO_VALUES,
        "half a line": b"TcpExt: TCPAbortOnClose TCPAbortFailed\nTcpExt: -1",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "a pipe")
    (folder / "a folder").mkdir()
    return {name: folder / name for name in [*contents, "a pipe", "a folder"]} | {
        "endless": Path("/dev/zero"),
        "absent": folder / "absent",
    }


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """Returns the answers of this machine as it is."""
    found = answers(run(CALL))
    if not (found["netstat"] and found["snmp"] and found["sockets"] and found["uptime"]):
        pytest.skip("needs a whole /proc")
    return found


@pytest.mark.parametrize("path", ANSWERS)
def test_an_odd_file_costs_only_its_own_value(
    path: str, odd: dict[str, Path], whole: dict[str, Any]
) -> None:
    for what, instead in odd.items():
        reply = run(CALL, before=redirect(**{path: instead}))
        found = answers(reply)
        lost = {name for name, answer in whole.items() if found[name] != answer}
        assert lost <= {ANSWERS[path]}, (what, lost, reply.notes)
        # A sysctl has a state of its own; a host may have no os-release, machine-id or IPv6, and a
        # pipe reads as empty.
        nothing = ("absent", "empty", "a pipe") if path.startswith("/etc/") else ("absent",)
        may_lack = path == "/proc/net/tcp6" or path.startswith("/etc/")
        if lost and not path.startswith("/proc/sys/") and not (may_lack and what in nothing):
            assert any(path in note or Path(path).name in note for note in reply.notes), (
                what,
                lost,
                reply.notes,
            )


@pytest.mark.parametrize("version", probe_runs.VERSIONS)
def test_with_odd_files_everywhere_the_endings_are_still_reported(
    version: str, odd: dict[str, Path]
) -> None:
    python = probe_runs.interpreter(version)
    for what in ("no values", "binary", "huge numbers", "one huge line"):
        files = dict.fromkeys(ANSWERS, odd[what])
        reply = run(CALL, before=redirect(**files), python=python)
        assert reply.kernel.release == os.uname().release
        assert reply.exposure is not None
        assert reply.exposure.counters == {}
        assert [o.trials[0].peer is not None for o in reply.observations] == [True, True], what
        assert all("/" not in note or any(p in note for p in ANSWERS) for note in reply.notes)


def test_a_counter_without_a_value_is_unknown_and_not_zero(odd: dict[str, Path]) -> None:
    reply = run(CALL, before=redirect(**{"/proc/net/netstat": odd["no values"]}))
    assert reply.exposure is not None
    assert "TCPAbortOnClose" not in reply.exposure.counters
    assert "OutRsts" in reply.exposure.counters
    assert any(
        n.startswith("/proc/net/netstat has no number for: TCPAbortOnClose") for n in reply.notes
    ), reply.notes
    assert EXPOSURE_NUMBERS["aborts_on_close_per_thousand"](reply.exposure).value is None
    # A trial's counters are no witness where one of the two that a verdict stands on is unknown.
    assert [trial.kernel for o in reply.observations for trial in o.trials] == [None, None]


def test_a_socket_table_that_ends_oddly_counts_as_cut_short(tmp_path: Path) -> None:
    heading = (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid "
        b" timeout inode\n"
    )
    unread = (
        b"   0: 0100007F:0016 0100007F:D431 01 00000000:00000005 00:00000000 00000000     0       "
        b" 0 1\n"
    )
    (tmp_path / "tcp").write_bytes(
        heading + unread + b"   1: 0100007F:0016 0100007F:D431 01 00000000:" + b"F" * 99
    )
    (tmp_path / "tcp6").write_bytes(heading + unread)
    files = {"/proc/net/tcp": tmp_path / "tcp", "/proc/net/tcp6": tmp_path / "tcp6"}
    reply = run(CALL, before=redirect(**files))
    assert reply.exposure is not None
    sockets = reply.exposure.unread_sockets
    assert sockets is not None
    assert (sockets.sockets, sockets.bytes, sockets.partial) == (2, 10, True)
    assert any("/proc/net/tcp" in note and "line 3" in note for note in reply.notes), reply.notes


def test_a_note_says_that_a_binary_setting_is_not_copied(odd: dict[str, Path]) -> None:
    probe_runs.need_root()
    path = "/proc/sys/net/ipv4/tcp_fin_timeout"
    reply = run({**CALL, "isolation": "namespace"}, before=redirect(**{path: odd["binary"]}))
    assert reply.isolation == "namespace"
    assert [o.trials[0].error for o in reply.observations] == ["", ""]


def test_a_kernel_version_that_is_not_utf_8_is_reported() -> None:
    before = (
        "import os\nname = list(os.uname())\nname[3] = b'#1 \\xff SMP'.decode('utf-8',"
        " 'surrogateescape')\n"
    )
    reply = run(CALL, before=before + "os.uname = lambda: name\n")
    assert reply.kernel.version == "#1 \ufffd SMP"
