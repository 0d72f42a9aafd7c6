"""The store of a run is read as it was written, stays small, and tells what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from fleetaudit.errors import FleetauditError, InputError, NothingToDoError
from fleetaudit.model import (
    Audited,
    AuditRun,
    Change,
    Drift,
    Evidence,
    Exposure,
    Location,
    NotAudited,
    NotSelected,
    Observation,
    PastRun,
    ResetRate,
    Sysctl,
    UnreadSockets,
)
from fleetaudit.store import disk, store_file
from fleetaudit.store.deduplication import EvidenceDeduplicator, share_evidence
from fleetaudit.store.part_reader import Interner
from fleetaudit.store.part_writer import PartWriter
from fleetaudit.store.run_file import (
    encode_run,
    read_head,
    read_host_names,
    read_hosts,
    read_info,
    read_run,
)
from fleetaudit.store.run_head import head_of
from fleetaudit.store.store_file import encode_store, read_store, read_store_hosts
from fleetaudit.text.json_schema import encode_json
from tests.support.runs import K510, K612, Fleet, exposure_of, run_of, small_fleet


def whole_run() -> AuditRun:
    """Returns a run with everything that a run can have, its evidence deduplicated."""
    run, deduplicator = small_fleet(), EvidenceDeduplicator()
    hosts = [deduplicator.deduplicate(h) if isinstance(h, Audited) else h for h in run.hosts]
    first = next(h for h in hosts if isinstance(h, Audited))
    odd = replace(
        first,
        name="odd",
        reason="x",
        hint="y",
        notes=("a note",),
        void="no control",
        sysctl_places={"net.ipv4.tcp_rfc1337": ("/etc/sysctl.conf:3",)},
        sysctls_writable=False,
        sysctls={"a": Sysctl(), "b": Sysctl(), "c": Sysctl(state="absent", used="1")},
        exposure=Exposure(
            counters={"TCPAbortOnClose": 3},
            unread_sockets=UnreadSockets(sockets=1, bytes=2, scanned=3, partial=True),
        ),
        expectations=("kernels:same-ending",),
        location=Location(file="inventory.yml", line=7),
        elapsed_s=0.0,
    )
    hosts += [odd, NotSelected(name="other", groups=("db",))]
    drift = Drift(
        before="a",
        after="b",
        since="s",
        until="u",
        notes=("n",),
        changes=(
            Change(effect="fix", kind="scenario", host="odd", what="w", before="b", after="a"),
        ),
        rates=(ResetRate(host="odd", seconds=2.0),),
    )
    past = PastRun(run="p", started="s", selected=2, audited=1, not_audited=1)
    return replace(
        run,
        hosts=tuple(hosts),
        drift=drift,
        history=(past,),
        locations={"scenario:unread-close": Location(file="play.yml", line=2)},
        positions=tuple(range(1, 2 * len(hosts), 2)),
    )


RUN = whole_run()
STORE = b"".join(encode_store(RUN))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Returns the path of a whole store."""
    path = tmp_path / "store.jsonl"
    path.write_bytes(STORE)
    return path


def fleet(count: int, *, odd_every: int = 10) -> Iterator[Audited]:
    """Yields hosts of two builds, some of which differ in an observation and in a sysctl."""
    maker, deduplicator = Fleet(), EvidenceDeduplicator()
    models = [maker.host("model", k, exposure=exposure_of(10, 10_000)) for k in (K510, K612)]
    for n in range(count):
        model = models[n % 2]
        observations = list(model.observations)
        sysctls = dict(model.sysctls)
        if n % odd_every == 0:
            place = n % len(observations)
            odd = replace(observations[place], ending="inconclusive", reason=f"reason {n % 7}")
            observations[place] = odd
            sysctls["net.ipv4.tcp_max_orphans"] = Sysctl(value=str(n % 50), default="8192")
        host = replace(
            model,
            name=f"web{n:05}.dc.example.net",
            machine_id=f"{n:032x}",
            observations=tuple(observations),
            sysctls=sysctls,
            exposure=exposure_of(n, 10_000 + n),
        )
        yield deduplicator.deduplicate(host)


# ---- as it was written ---------------------------------------------------------------------------


def test_a_run_is_read_as_it_was_written(store: Path) -> None:
    assert read_store(store) == RUN
    assert read_run(store.parent) == RUN
    assert b"".join(encode_store(read_store(store))) == STORE


def test_a_run_with_nothing_in_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    empty = replace(small_fleet(), scenarios=(), hosts=(), drift=None, history=(), locations={})
    (tmp_path / "store.jsonl").write_bytes(b"".join(encode_store(empty)))
    assert read_run(tmp_path) == empty
    assert read_hosts(tmp_path, ("web1",)) == empty
    assert read_host_names(tmp_path) == []


@pytest.mark.parametrize("per_line", [1, 2, 3, 7])
def test_long_lists_take_several_lines_and_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_line: int
) -> None:
    monkeypatch.setattr(store_file, "_PER_LINE", per_line)
    path = tmp_path / "store.jsonl"
    path.write_bytes(b"".join(encode_store(RUN)))
    assert read_store(path) == RUN
    for host in RUN.hosts:
        assert read_store_hosts(path, (host.name,)) == replace(RUN, hosts=(host,))


def test_one_host_and_the_names_are_read_through_the_index(store: Path) -> None:
    for host in RUN.hosts:
        assert read_hosts(store.parent, (host.name,)) == replace(RUN, hosts=(host,))
    assert read_host_names(store) == [host.name for host in RUN.hosts]
    assert read_hosts(store, ()) == replace(RUN, hosts=())
    for missing in ("", "a", "zzz", "odd ", RUN.hosts[0].name + "0"):
        assert read_hosts(store, (missing,)).hosts == ()


def test_the_head_is_read_from_the_first_line(store: Path) -> None:
    store.write_bytes(STORE.partition(b"\n")[0] + b"\n\xff rest")
    assert read_head(store.parent) == head_of(RUN)
    assert read_info(store) == RUN.run
    assert head_of(RUN).hosts.selected == len(RUN.hosts)
    assert not head_of(RUN).interrupted
    cut = replace(RUN, hosts=(NotAudited(name="x", stage="interrupted", reason="r"),))
    assert head_of(cut).interrupted


def test_both_files_of_a_run_have_the_same_head(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(encode_run(RUN))
    assert read_head(tmp_path) == head_of(RUN)


def test_text_that_no_json_can_have_is_replaced(tmp_path: Path) -> None:
    host = replace(RUN.audited[0], groups=("a\udc80",), location=Location(file="f\udcff"))
    run = replace(RUN, hosts=(host,), positions=())
    (tmp_path / "store.jsonl").write_bytes(b"".join(encode_store(run)))
    (read,) = read_run(tmp_path).hosts
    assert (read.groups, read.location) == (("a\ufffd",), Location(file="f\ufffd"))


def test_a_host_that_cannot_be_encoded_leaves_whole_lines() -> None:
    writer, (first, second, *_) = PartWriter(), RUN.audited
    broken = replace(second, exposure=Exposure(counters={"TCPAbortOnClose": object()}))  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        writer.lines(broken)
    assert all(json.loads(line) for line in writer.lines(first))


# ---- small, and shared ---------------------------------------------------------------------------


def test_a_host_of_a_fleet_takes_at_most_a_kilobyte() -> None:
    run = run_of(fleet(2000))
    assert sum(map(len, encode_store(run))) / 2000 < 1000


def test_a_host_that_differs_in_an_observation_and_a_sysctl_costs_little() -> None:
    equal, odd = (
        sum(map(len, encode_store(run_of(fleet(1000, odd_every=every))))) for every in (10**6, 2)
    )
    assert (odd - equal) / 500 < 500


def test_hosts_share_the_objects_of_equal_values(tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    path.write_bytes(b"".join(encode_store(run_of(fleet(200)))))
    hosts = read_run(path).audited
    for field in ("kernel", "os", "groups", "expectations", "findings"):
        values = [getattr(host, field) for host in hosts]
        assert len(set(map(id, values))) == len(set(values)), field
    assert len({id(host.observations) for host in hosts}) < 40
    assert len({id(host.sysctls) for host in hosts}) < 40


def test_two_runs_that_are_read_with_one_interner_share_all_but_evidence(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for n, path in enumerate(paths):
        hosts = list(fleet(40))[n:]  # the numbers of the parts differ
        path.write_bytes(b"".join(encode_store(run_of(hosts))))
    interner = Interner()
    before, after = (read_run(path, interner).audited for path in paths)
    for one, other in zip(before[1:], after, strict=True):
        assert one.name == other.name
        assert one.kernel is other.kernel
        assert one.sysctls is other.sysctls
        assert one.findings is other.findings
        assert one.groups is other.groups


def test_a_store_larger_than_the_limit_of_run_json_is_read(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "MAX_READ", 1000)
    assert read_run(store) == RUN
    (store.parent / "other.json").write_bytes(encode_run(RUN))
    with pytest.raises(InputError, match=r"too large.*\n.*name the folder of the run"):
        read_run(store.parent / "other.json")


# ---- run.json ------------------------------------------------------------------------------------


def test_run_json_in_chunks_has_the_bytes_of_the_whole() -> None:
    own = replace(RUN, positions=(), hosts=RUN.hosts[:3])
    for run in (own, small_fleet(), replace(own, hosts=())):
        stripped = json.loads(encode_run(run))
        assert msgspec.json.decode(encode_run(run), type=AuditRun).run == run.run
        whole = msgspec.json.decode(encode_json(run))
        del whole["positions"], whole["known_kernels"]  # empty, so they are left out
        assert list(stripped) == list(whole)
        for one, other in zip(stripped["hosts"], whole["hosts"], strict=True):
            assert list(one) == list(other)
            assert {k: v for k, v in one.items() if k != "observations"} == {
                k: v for k, v in other.items() if k != "observations"
            }
    assert encode_run(small_fleet()) == encode_json(small_fleet()).replace(
        b',"known_kernels":[],"positions":[]}', b"}\n"
    )


def test_only_a_shard_has_positions_in_run_json() -> None:
    assert json.loads(encode_run(RUN))["positions"] == list(RUN.positions)
    assert "positions" not in json.loads(encode_run(replace(RUN, positions=())))


# ---- evidence of several runs --------------------------------------------------------------------


def test_evidence_of_two_runs_is_kept_once_and_named_after_the_first_host() -> None:
    runs = [list(fleet(6)), [replace(h, name=f"other-{h.name}") for h in fleet(6)]]
    renamed = [
        replace(
            host,
            observations=tuple(
                replace(o, evidence=replace(o.evidence, same_as=f"other-{o.evidence.same_as}"))
                if o.evidence.same_as
                else o
                for o in host.observations
            ),
        )
        for host in runs[1]
    ]
    before = [*runs[0], *renamed]
    hosts = share_evidence(before)
    owners = {h.name for h in hosts for o in h.observations if o.trials and not o.evidence.same_as}
    assert not any(name.startswith("other-") for name in owners)
    for host, old in zip(hosts, before, strict=True):
        for o, was in zip(host.observations, old.observations, strict=True):
            assert (o.ending, o.endings, o.reason) == (was.ending, was.endings, was.reason)
            assert o.evidence.wire == was.evidence.wire
    assert share_evidence(runs[0]) == tuple(runs[0])


# ---- what is wrong with a file -------------------------------------------------------------------


def readings(path: Path) -> list[str]:
    """Returns the errors of each way of reading a store, "" for none; any other error is raised."""
    found = list[str]()
    names = [host.name for host in RUN.hosts]
    for read in (read_run, read_head, read_host_names, lambda path: read_hosts(path, names)):
        try:
            read(path)
        except FleetauditError as e:
            found.append(str(e))
        else:
            found.append("")
    assert all(str(path) in error for error in found if error)
    return found


@pytest.mark.parametrize("length", [0, 1, 10, 500, 5000, len(STORE) - 29, len(STORE) - 2])
def test_a_store_that_was_cut_is_refused(store: Path, length: int) -> None:
    os.truncate(store, length)
    whole, _, names, some = readings(store)
    assert "its last line is missing" in whole
    assert "its last line is missing" in names
    assert "its last line is missing" in some


LINES = STORE.splitlines(keepends=True)


@pytest.mark.parametrize("line", [b"", b"{}\n", b"[]\n", b"\xff\n", b"[" * 3000 + b"\n", b"null\n"])
def test_a_damaged_line_is_reported_with_its_number(store: Path, line: bytes) -> None:
    for number in range(len(LINES)):
        store.write_bytes(b"".join([*LINES[:number], line, *LINES[number + 1 :]]))
        whole, *_ = readings(store)
        if line and number < next(n for n, each in enumerate(LINES) if b'["index' in each[:9]):
            assert f"store.jsonl:{number + 1}: not a line of a run" in whole


def test_every_line_twice_or_in_another_place_is_read_or_refused(store: Path) -> None:
    for number in range(len(LINES)):
        others = [*LINES[:number], *LINES[number + 1 :]]
        for place in (number, len(LINES) // 2, len(LINES) - 2):
            store.write_bytes(b"".join([*others[:place], LINES[number], *others[place:]]))
            readings(store)
        store.write_bytes(b"".join([*LINES[: number + 1], *LINES[number:]]))
        whole, *_ = readings(store)
        if LINES[number].startswith(b'["host"'):
            assert "hosts, but its first line counts" in whole


def test_a_host_that_is_in_it_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.jsonl").write_bytes(
        b"".join(encode_store(replace(RUN, hosts=(RUN.hosts[0], RUN.hosts[0]))))
    )
    with pytest.raises(InputError, match="is in it twice"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("kind", "old", "new", "problem"),
    [
        (b"observations", b"[", b"[999999,", "it needs observation 999999"),
        (b"observations", b"[", b"[0,", "it needs observation 0"),  # a part of another kind
        (b"observations", b"[", b"[-1,", "Expected `int` >= 0"),
        (b"sysctls", b"[", b"[1e3,", "Expected `int`"),
        (b"observation", b'"evidence":', b'"evidence":9999', "it needs evidence 9999"),
        (b"kernel", b'"release":"', b'"release":"' + b"6" * 300, "length <= 256"),
        (b"host", b'"kernel":', b'"kernel":99999', "it needs kernel 99999"),
        (b"host", b'"audited"', b'"perfect"', "Invalid value 'perfect'"),
        (b"host", b'"counts":[', b'"counts":[5,', "counters"),
        (b"host", b'"elapsed_s":', b'"elapsed_s":1e999,"old":', "elapsed_s"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(
    store: Path, kind: bytes, old: bytes, new: bytes, problem: str
) -> None:
    start = b'["%b",' % kind
    number = next(n for n, line in enumerate(LINES) if line.startswith(start) and old in line[14:])
    line = LINES[number][:2] + LINES[number][2:].replace(old, new, 1)
    store.write_bytes(b"".join([*LINES[:number], line, *LINES[number + 1 :]]))
    whole, *_ = readings(store)
    assert problem in whole
    assert f"store.jsonl:{number + 1}: " in whole


def test_a_line_that_is_too_long_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "MAX_LINE", 100)
    assert all("a line is longer than 100 bytes" in error for error in readings(store))


def test_an_index_that_lies_is_refused(store: Path) -> None:
    index = next(n for n, line in enumerate(LINES) if line.startswith(b'["index of hosts"'))
    entries = json.loads(LINES[index])[1]
    host_at = dict(entries)
    one, other = RUN.hosts[0].name, RUN.hosts[1].name
    part_at = STORE.index(b'["kernel"')
    for offset in (host_at[other], part_at, 5, 10**18, len(STORE)):
        lie = [[name, offset if name == one else at] for name, at in entries]
        line = json.dumps(["index of hosts", lie], separators=(",", ":")).encode()
        padded = line + b" " * (len(LINES[index]) - 1 - len(line)) + b"\n"
        changed = b"".join([*LINES[:index], padded, *LINES[index + 1 :]])
        shift = len(changed) - len(STORE)
        end = b'["end","%018d"]\n' % (int(LINES[-1][8:-3]) + shift)
        store.write_bytes(changed[: -len(end)] + end)
        with pytest.raises(InputError, match=rf"store\.jsonl at byte {offset}: "):
            read_hosts(store, (one,))


def test_an_index_that_names_its_blocks_many_times_gives_each_name_once(store: Path) -> None:
    number = next(n for n, line in enumerate(LINES) if line.startswith(b'["index",'))
    tag, hosts, parts = json.loads(LINES[number])
    line = json.dumps([tag, hosts * 1000, parts]).encode() + b"\n"
    store.write_bytes(b"".join([*LINES[:number], line, *LINES[number + 1 :]]))
    assert read_host_names(store) == [host.name for host in RUN.hosts]


def test_an_index_of_parts_that_lies_is_refused(store: Path) -> None:
    number = next(n for n, line in enumerate(LINES) if line.startswith(b'["index of parts"'))
    tag, first, offsets = json.loads(LINES[number])
    for lie in ([offsets[0]] * len(offsets), offsets[1:] + offsets[:1], [5] * len(offsets), []):
        line = json.dumps([tag, first, lie], separators=(",", ":")).encode() + b"\n"
        changed = b"".join([*LINES[:number], line, *LINES[number + 1 :]])
        end = b'["end","%018d"]\n' % (int(LINES[-1][8:-3]) + len(changed) - len(STORE))
        store.write_bytes(changed[: -len(end)] + end)
        with pytest.raises(InputError):
            read_hosts(store, (RUN.audited[0].name,))


def test_an_observation_of_an_unknown_scenario_is_refused(tmp_path: Path) -> None:
    seen = Observation(
        scenario="nobody", family="ipv4", ending="not run", trials=0, evidence=Evidence()
    )
    host = replace(RUN.audited[0], observations=(seen,))
    run = replace(RUN, hosts=(host,), positions=())
    (tmp_path / "store.jsonl").write_bytes(b"".join(encode_store(run)))
    for read in (read_run, lambda path: read_hosts(path, (host.name,))):
        with pytest.raises(InputError, match="observations of 'nobody', but no such scenario"):
            read(tmp_path)


def test_a_folder_or_a_device_in_the_place_of_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.jsonl").mkdir()
    assert all("not a regular file" in error for error in readings(tmp_path))
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert all("not a regular file" in error for error in readings(tmp_path / "pipe.jsonl"))


def test_the_run_json_of_a_run_that_has_only_a_store_is_explained(store: Path) -> None:
    expected = (
        rf"{store.parent}/run\.json: this run has no run\.json; name its folder, {store.parent}, or"
        rf" write the file:  fleetaudit report {store.parent} --format json -o"
        rf" {store.parent}/run\.json"
    )
    for read in (read_run, read_host_names):
        with pytest.raises(NothingToDoError, match=expected):
            read(store.parent / "run.json")
