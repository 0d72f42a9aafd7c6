"""What `bench/fleet` counts: lost hosts, ratios of a round, the data of a segment."""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64decode, b64encode
from pathlib import Path

from bench.fleet.clients import summary
from bench.fleet.contestants import Task, lost_by_client, lost_by_fleetaudit, lost_files
from bench.fleet.lab import Lab
from bench.fleet.link import tcp_data
from bench.fleet.measure import Cost
from bench.fleet.recording import Recording, vary
from bench.fleet.table import render, summarize

ADDRESSES = ("127.1.0.1", "127.1.0.2", "127.1.0.3")


def cost(cpu: float, status: int = 0) -> Cost:
    return Cost(cpu=cpu, wall=2 * cpu, pss=2048, switches=30, status=status)


def task(folder: Path) -> Task:
    """Returns a task whose hosts have a reply each."""
    (folder / "ready").write_text("ready\n")
    (folder / "replies").mkdir()
    for address in ADDRESSES:
        (folder / "replies" / address).write_text(f"reply of {address}\n")
    return Task(Lab(folder, ADDRESSES, 10), Recording(0, folder, (), ""), folder)


def test_a_reply_is_the_line_of_the_shell_and_the_rest(tmp_path: Path) -> None:
    assert task(tmp_path).recording.reply("127.1.0.2") == b"ready\nreply of 127.1.0.2\n"


def test_each_host_has_times_and_a_machine_id_of_its_own() -> None:
    text = (
        b'{"observations":["\xc3\xa9"],"machine_id": "' + b"0" * 32 + b'","times":'
        b'{"began":[5.5],"ports":[1,2],"steps":[0,2000],"at":[1000]},"sysctls":{}}'
    )
    reply = b"fleetaudit-probe/1 zlib:" + b64encode(zlib.compress(text)) + b"\n"
    varied = [vary(reply, number) for number in range(2)]
    lines = [zlib.decompress(b64decode(each.partition(b"zlib:")[2])) for each in varied]
    first, second = map(json.loads, lines)
    assert first["times"] == {"began": [5.5], "ports": [1, 2], "steps": [0, 2000], "at": [1000]}
    assert second["times"] == {
        "began": [5.501],
        "ports": [1, 2],
        "steps": [0, 2002],
        "at": [1001],
    }
    assert first["machine_id"] != second["machine_id"]
    assert [each["observations"] for each in (first, second)] == [["é"], ["é"]]


def test_a_reply_that_is_not_compressed_stays() -> None:
    assert vary(b"fleetaudit-probe/1 {}\n", 7) == b"fleetaudit-probe/1 {}\n"


def test_a_host_whose_reply_is_missing_or_differs_is_lost(tmp_path: Path) -> None:
    asked = task(tmp_path)
    right, wrong, _ = ADDRESSES
    replies = {right: asked.recording.reply(right), wrong: b"ready\nanother\n"}
    for address, reply in replies.items():
        (tmp_path / address).write_bytes(reply)
    lines = [f"{address} {summary(reply)}\n" for address, reply in replies.items()]
    (tmp_path / "result").write_text("".join(lines))
    for lost in (lost_files, lost_by_client):
        assert lost(asked, cost(1)) == list(ADDRESSES[1:])


def test_a_client_that_wrote_nothing_down_lost_every_host(tmp_path: Path) -> None:
    assert lost_by_client(task(tmp_path), cost(1)) == list(ADDRESSES)


def test_fleetaudit_lost_no_host_if_its_exit_status_says_so(tmp_path: Path) -> None:
    asked = task(tmp_path)
    lost = {status: lost_by_fleetaudit(asked, cost(1, status)) for status in range(-1, 7)}
    assert [status for status, found in lost.items() if not found] == [0, 2]


def test_figures_are_medians_and_the_ratio_is_that_of_each_round() -> None:
    rounds = [
        {"one": cost(1.0), "openssh": cost(2.0)},
        {"one": cost(9.0), "openssh": cost(10.0)},
        {"one": cost(3.0), "openssh": cost(30.0)},
    ]
    found = summarize(rounds, "one", hosts=100)
    assert found == {
        "cpu_ms_a_host": 30.0,
        "ratio": 0.5,
        "wall_s": 6.0,
        "pss_mib": 2.0,
        "switches_a_host": 0.3,
    }
    assert "| one | 30.0 ms | 0.50 | 6.0 s | 2 MiB | 0 | 4 |" in render(
        {"one": {**found, "lost": 4}}
    )


def test_without_openssh_there_is_no_ratio() -> None:
    assert summarize([{"one": cost(1.0)}], "one", hosts=1)["ratio"] is None


def test_only_segments_over_ipv4_have_data() -> None:
    header = struct.pack(">BBHHHBBH8s", 0x45, 0, 0, 0, 0, 64, 6, 0, bytes(8))
    segment = struct.pack(">HHIIBBHHH", 1, 2, 3, 4, 0x60, 0, 0, 0, 0) + bytes(4)
    assert tcp_data(header + segment + b"hello") == 5
    assert tcp_data(header + segment) == 0
    assert tcp_data(header[:9] + b"\x11" + header[10:] + segment) is None
    assert tcp_data(b"\x60" + bytes(60)) is None
