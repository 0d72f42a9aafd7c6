"""Equal evidence is kept once, and no observation is lost or changed by that."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from fleetaudit.model import (
    Audited,
    Connection,
    Evidence,
    Kernel,
    NotAudited,
    Observation,
    Segment,
)
from fleetaudit.report.explain import verdict_text
from fleetaudit.store.deduplication import (
    EvidenceDeduplicator,
    reassign_evidence,
    restore_evidence,
    share_evidence,
    strip_shared_evidence,
)
from fleetaudit.store.journal import read_journal
from fleetaudit.store.run_file import encode_run, read_run
from tests.support.runs import run_of, small_fleet


def host(
    name: str, *, at: int = 0, release: str = "6.12.43", flags: str = "R.", length: int = 0
) -> Audited:
    wire = (
        Segment(at_us=at, sender="closer", flags="S.", seq=0, ack=1, length=0),
        Segment(at_us=at + 9, sender="closer", flags=flags, seq=1, ack=6, length=length),
    )
    evidence = Evidence(wire=wire, kernel={"OutRsts": 1}, steps=((at, 0),), bytes={"peer sent": 5})
    seen = Observation(
        scenario="unread-close",
        family="ipv4",
        ending="RST",
        trials=3,
        endings={"RST": 3},
        evidence=evidence,
    )
    kernel = Kernel(release=release, version="#1", machine="x86_64")
    return Audited(name=name, kernel=kernel, isolation="namespace", observations=(seen,))


def evidence(of: Audited) -> Evidence:
    return of.observations[0].evidence


def test_the_first_host_keeps_its_evidence_and_the_others_name_it() -> None:
    deduplicator = EvidenceDeduplicator()
    first, second, third = (
        deduplicator.deduplicate(host(name, at=at))
        for name, at in (("a", 0), ("b", 70), ("c", 900))
    )
    assert first == host("a")
    assert evidence(second).same_as == evidence(third).same_as == "a"
    assert evidence(second).wire == evidence(first).wire
    assert second.observations[0] is third.observations[0]


def test_windows_ports_and_captured_headers_depend_on_time_and_make_no_other_evidence() -> None:
    def with_window(name: str, window: int) -> Audited:
        seen = host(name).observations[0]
        wire = tuple(replace(s, window=window) for s in seen.evidence.wire or ())
        connection = Connection(
            began=float(window), ports=(window, 2), scales=(7, 7), headers=str(window)
        )
        return replace(
            host(name),
            observations=(
                replace(seen, evidence=replace(seen.evidence, wire=wire, connection=connection)),
            ),
        )

    deduplicator = EvidenceDeduplicator()
    first, second = (
        deduplicator.deduplicate(with_window("a", 512)),
        deduplicator.deduplicate(with_window("b", 511)),
    )
    assert evidence(second) == replace(evidence(first), same_as="a")


def test_evidence_of_a_host_that_is_left_out_later_is_reassigned_to_the_first_that_shares_it() -> (
    None
):
    deduplicator = EvidenceDeduplicator()
    hosts = [deduplicator.deduplicate(host(name)) for name in "abcd"]
    gone = NotAudited(name="a", stage="report", reason="a bug in fleetaudit")
    _, second, third, fourth = reassign_evidence([gone, *hosts[1:]])
    assert isinstance(second, Audited)
    assert evidence(second) == evidence(hosts[0])
    assert [evidence(h).same_as for h in (third, fourth) if isinstance(h, Audited)] == ["b", "b"]
    assert reassign_evidence(hosts) == tuple(hosts)


def test_nothing_is_kept_of_a_host_that_cannot_be_digested() -> None:
    deduplicator, broken = EvidenceDeduplicator(), host("a")
    seen = broken.observations[0]
    odd = replace(
        seen, scenario="odd", evidence=replace(seen.evidence, kernel={"OutRsts": 10**400})
    )
    with pytest.raises(OverflowError):
        deduplicator.deduplicate(replace(broken, observations=(seen, odd)))
    assert evidence(deduplicator.deduplicate(host("b"))).same_as == ""


def test_another_build_ending_or_segment_is_other_evidence() -> None:
    deduplicator = EvidenceDeduplicator()
    others = [host("a"), host("b", release="6.12.44"), host("c", flags="F."), host("d", length=7)]
    assert [deduplicator.deduplicate(other) for other in others] == others


def test_ever_new_evidence_is_bounded_with_a_note() -> None:
    deduplicator = EvidenceDeduplicator(max_kinds=3)
    seen = [deduplicator.deduplicate(host(f"h{n}", length=n)) for n in range(10)]
    assert [evidence(h).wire is not None for h in seen] == [True] * 3 + [False] * 7
    assert all("packets are left out" in evidence(h).wire_note for h in seen[3:])
    assert all(
        evidence(h).kernel == {"OutRsts": 1} and h.observations[0].endings == {"RST": 3}
        for h in seen
    )


def test_a_deduplicated_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    deduplicator = EvidenceDeduplicator()
    fleet = small_fleet()
    spared = replace(
        fleet,
        hosts=tuple(
            deduplicator.deduplicate(h) if isinstance(h, Audited) else h for h in fleet.hosts
        ),
    )
    path = tmp_path / "run.json"
    path.write_bytes(encode_run(spared))
    assert read_run(path) == spared
    assert encode_run(read_run(path)) == path.read_bytes()
    assert len(path.read_bytes()) < len(msgspec.json.encode(spared))
    for before, after in zip(fleet.hosts, spared.hosts, strict=True):
        if isinstance(before, Audited) and isinstance(after, Audited):
            verdicts = [
                (o.scenario, o.family, o.ending, o.endings, o.reason) for o in before.observations
            ]
            assert verdicts == [
                (o.scenario, o.family, o.ending, o.endings, o.reason) for o in after.observations
            ]


def test_a_host_whose_evidence_was_lost_with_a_cut_journal_is_audited_again(tmp_path: Path) -> None:
    deduplicator = EvidenceDeduplicator()
    first, second, other = (
        deduplicator.deduplicate(host("a")),
        deduplicator.deduplicate(host("b")),
        deduplicator.deduplicate(host("c", flags="F.")),
    )
    lines = [msgspec.json.encode(strip_shared_evidence(h)) + b"\n" for h in (second, other)]
    journal = tmp_path / "hosts.jsonl"
    journal.write_bytes(b"".join(lines))
    assert [h.name for h in read_journal(journal)] == ["c"]
    journal.write_bytes(
        b"".join([*lines, msgspec.json.encode(strip_shared_evidence(first)) + b"\n"])
    )
    assert read_journal(journal) == (second, other, first)


def test_a_thousand_equal_hosts_take_little_more_memory_than_one() -> None:
    deduplicator = EvidenceDeduplicator()
    hosts = [deduplicator.deduplicate(host(f"h{n}", at=n)) for n in range(1000)]
    assert len({id(h.observations[0]) for h in hosts}) == 2
    one = len(msgspec.json.encode(hosts[0]))
    assert len(msgspec.json.encode([strip_shared_evidence(h) for h in hosts])) < 1000 * one
    assert restore_evidence(map(strip_shared_evidence, hosts)) == tuple(hosts)


def test_a_resumed_run_keeps_the_evidence_that_an_undisturbed_one_keeps() -> None:
    fleet = [host(f"h{n}", at=n, length=n % 5) for n in range(40)]
    whole = EvidenceDeduplicator(max_kinds=3)
    undisturbed = [whole.deduplicate(h) for h in fleet]
    for cut in range(len(fleet)):
        again = EvidenceDeduplicator(max_kinds=3)
        again.preload(restore_evidence(map(strip_shared_evidence, undisturbed[:cut])))
        assert [again.deduplicate(h) for h in fleet[cut:]] == undisturbed[cut:]


def test_explain_names_the_host_whose_packets_it_shows() -> None:
    deduplicator = EvidenceDeduplicator()
    hosts = [deduplicator.deduplicate(host("a")), deduplicator.deduplicate(host("b", at=5))]
    run = run_of(hosts)
    text = verdict_text(run, hosts[1], hosts[1].observations[0], width=100)
    assert "The evidence is that of a: the same" in text
    assert "Flags [R.]" in text
    assert "The evidence is that of" not in verdict_text(
        run, hosts[0], hosts[0].observations[0], width=100
    )


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")))
@pytest.mark.parametrize("resumed_after", [0, 2])
def test_evidence_is_that_of_the_first_host_of_the_plan_in_whatever_order_they_answer(
    order: tuple[str, ...], resumed_after: int
) -> None:
    positions = {name: number for number, name in enumerate("abcd")}
    results = dict[str, Audited]()
    for part in (order[:resumed_after], order[resumed_after:]):
        deduplicator = EvidenceDeduplicator(positions=positions)
        deduplicator.preload(results.values())
        for name in part:
            results[name] = deduplicator.deduplicate(host(name, at=positions[name]))
    hosts = share_evidence(results[name] for name in "abcd")
    assert [h.observations[0].evidence.same_as for h in hosts] == ["", "a", "a", "a"]
    first = evidence(host("a", at=0))
    assert hosts[0].observations[0].evidence == first
    assert hosts[3].observations[0].evidence == replace(first, same_as="a")
    if not resumed_after:  # the hosts of a journal have objects of their own
        assert hosts[2].observations is hosts[3].observations


def test_only_a_host_before_the_owner_needs_the_times_of_its_evidence() -> None:
    deduplicator = EvidenceDeduplicator(positions={"a": 0, "b": 1, "c": 2})
    deduplicator.deduplicate(host("b"))
    assert deduplicator.lacking(host("c")) == []
    assert deduplicator.lacking(host("a")) == [0]


def test_hosts_that_sent_the_very_same_bytes_share_the_evidence_of_the_first() -> None:
    same = host("a").observations
    hosts = share_evidence([replace(host(name), observations=same) for name in "abc"])
    assert [h.observations[0].evidence.same_as for h in hosts] == ["", "a", "a"]
