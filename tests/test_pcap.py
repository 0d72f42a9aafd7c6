"""A host's traces as tcpdump reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import Audited, Evidence, Family, Kernel, Observation, Segment
from fleetaudit.report import pcap

from .sshd import require


def host(*traces: tuple[Family, tuple[Segment, ...]]) -> Audited:
    return Audited(
        name="web-1",
        kernel=Kernel(release="6.12.43", version="#1", machine="x86_64"),
        isolation="namespace",
        observations=tuple(
            Observation(scenario=f"s{i}", family=family, ending="RST", trials=1, evidence=Evidence(wire=wire))
            for i, (family, wire) in enumerate(traces)
        ),
    )


CHAT = (  # kernel-behaviour: the chat with a heartbeat in urgent data, as of 2016
    Segment(at_us=0, sender="peer", flags="S", seq=0, ack=0, length=0, options="TS"),
    Segment(at_us=20, sender="closer", flags="S.", seq=0, ack=1, length=0, options="TS"),
    Segment(at_us=30, sender="peer", flags=".", seq=1, ack=1, length=0),
    Segment(at_us=100, sender="peer", flags="P.U", seq=1, ack=1, length=1, urgent=1),
    Segment(at_us=120, sender="closer", flags=".", seq=1, ack=2, length=0),
    Segment(at_us=900, sender="closer", flags="R.", seq=1, ack=2, length=0),
)


def tcpdump(data: bytes, folder: Path) -> list[str]:
    require("tcpdump")
    path = folder / "trace.pcap"
    path.write_bytes(data)
    done = subprocess.run(
        ["tcpdump", "-n", "-S", "-tt", "-r", path, "--", "tcp"], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.splitlines()


def test_tcpdump_reads_the_chat_as_it_was_written_in_2016(tmp_path: Path) -> None:
    lines = tcpdump(pcap.render(host(("ipv4", CHAT), ("ipv6", CHAT))), tmp_path)
    assert len(lines) == 2 * len(CHAT)
    assert "IP 127.0.0.1.30000 > 127.0.0.1.10000: Flags [S], seq 0" in lines[0]
    assert "TS val 0 ecr 0" in lines[0]
    assert "Flags [P.U], seq 1:2, ack 1" in lines[3]
    assert "urg 1" in lines[3]
    assert "IP 127.0.0.1.10000 > 127.0.0.1.30000: Flags [R.], seq 1, ack 2" in lines[5]
    assert lines[5].startswith("0.000900 ")
    assert "IP6 ::1.30001 > ::1.10001: Flags [S]" in lines[6]


def test_mptcp_options_are_read_as_such(tmp_path: Path) -> None:
    wire = tuple(
        Segment(at_us=i, sender="closer", flags="R.", seq=1, ack=1, length=0, options=word)
        for i, word in enumerate(("MP_FASTCLOSE", "MP_RST", "DATA_FIN"))
    )
    lines = tcpdump(pcap.render(host(("ipv4", wire))), tmp_path)
    assert "mptcp" in lines[0]
    assert "fast-close" in lines[0]
    assert len(lines) == 3


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_a_hosts_name_becomes_a_file_of_this_folder_and_of_this_host_alone(one: str, other: str) -> None:
    name = pcap.file_name(one)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert (name == pcap.file_name(other)) == (one == other)


@given(
    st.builds(
        Segment,
        at_us=st.integers(-10, 2**40),
        sender=st.sampled_from(["closer", "peer"]),
        flags=st.text(max_size=12),
        seq=st.integers(),
        ack=st.integers(),
        length=st.integers(0, 2**31),
        urgent=st.integers(),
        options=st.text(max_size=256),
    ),
    st.sampled_from(["ipv4", "ipv6", "unix"]),
)
def test_whatever_a_host_claims_becomes_a_whole_file(segment: Segment, family: Family) -> None:
    data = pcap.render(host((family, (segment,))))
    captured = int.from_bytes(data[32:36], "little")
    assert len(data) == 24 + 16 + captured
