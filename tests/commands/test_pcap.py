"""tcpdump reads the pcap files that fleetaudit writes."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from fleetaudit.model import Segment
from fleetaudit.report import pcap
from tests.support.probe_runs import tcpdump_reads
from tests.unit.report.test_pcap import CHAT, CONNECTION, host


def tcpdump(data: bytes, folder: Path) -> list[str]:
    path = folder / "trace.pcap"
    path.write_bytes(data)
    return tcpdump_reads(path)


def test_tcpdump_reads_the_chat_as_it_was_written_in_2016(tmp_path: Path) -> None:
    lines = tcpdump(
        pcap.render(host(("ipv4", CHAT), ("ipv6", CHAT), connection=CONNECTION)), tmp_path
    )
    assert len(lines) == 2 * len(CHAT)
    assert (
        lines[0]
        == "1795312800.250000 IP 127.0.0.1.47010 > 127.0.0.1.35711: Flags [S], seq 0, win 65495, "
        "options [nop,nop,TS val 0 ecr 0,nop,wscale 9], length 0"
    )
    assert "nop,wscale 7], length 0" in lines[1]
    assert "Flags [P.U], seq 1:2, ack 1, win 512, urg 1" in lines[3]
    assert "IP 127.0.0.1.35711 > 127.0.0.1.47010: Flags [R.], seq 1, ack 2, win 0" in lines[5]
    assert lines[5].startswith("1795312800.250900 ")
    assert "IP6 ::1.47010 > ::1.35711: Flags [S]" in lines[6]


def test_a_run_of_an_earlier_version_has_ports_and_dates_of_our_own(tmp_path: Path) -> None:
    old = tuple(replace(segment, window=None) for segment in CHAT)
    lines = tcpdump(pcap.render(host(("ipv4", old), ("ipv6", old))), tmp_path)
    assert lines[0].startswith("0.000000 IP 127.0.0.1.30000 > 127.0.0.1.10000: Flags [S], seq 0")
    assert lines[5].startswith("0.000900 ")
    assert lines[6].startswith("1.000000 IP6 ::1.30001 > ::1.10001: Flags [S]")
    assert "wscale" not in "".join(lines)


def test_mptcp_options_are_read_as_such(tmp_path: Path) -> None:
    wire = tuple(
        Segment(at_us=i, sender="closer", flags="R.", seq=1, ack=1, length=0, options=word)
        for i, word in enumerate(("MP_FASTCLOSE", "MP_RST", "DATA_FIN"))
    )
    lines = tcpdump(pcap.render(host(("ipv4", wire))), tmp_path)
    assert "mptcp" in lines[0]
    assert "fast-close" in lines[0]
    assert len(lines) == 3
