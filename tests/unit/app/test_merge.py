"""Shards become the run of the whole: in inventory order, with their evidence kept once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.app.merge import merge_runs
from fleetaudit.app.merge_output import MergeRequest, merge_into_folder
from fleetaudit.errors import InputError
from fleetaudit.model import Audited, AuditRun, Observation
from fleetaudit.playbook.shards import select_shard
from fleetaudit.store.deduplication import EvidenceDeduplicator
from fleetaudit.store.run_file import read_run
from fleetaudit.store.store_file import encode_store
from tests.support.runs import K612, Fleet, run_of
from tests.unit.engine.test_scheduler import plan_of

NAMES = random.Random(13).sample([f"web{n:02}" for n in range(20)], 20)


def shard(number: int, parts: int, names: Sequence[str] = NAMES) -> AuditRun:
    """Returns the run of one shard, its evidence deduplicated as a run does it."""
    plan, fleet, deduplicator = (
        select_shard(plan_of(*names), number, parts),
        Fleet(),
        EvidenceDeduplicator(),
    )
    run = run_of([deduplicator.deduplicate(fleet.host(h.name, K612)) for h in plan.hosts])
    info = replace(run.run, shard=f"{number}/{parts}", id=f"run-{number}", inventory=("fleet.yml",))
    return replace(run, run=info, positions=plan.positions)


def named(*runs: AuditRun) -> list[tuple[Path, AuditRun]]:
    """Returns runs with the paths that messages name them by."""
    return [(Path(run.run.id), run) for run in runs]


def names_of(run: AuditRun) -> list[str]:
    return [host.name for host in run.hosts]


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_shards_are_merged_in_the_order_of_the_inventory(parts: int) -> None:
    shards = [shard(n, parts) for n in range(parts, 0, -1)]
    merged = merge_runs(named(*shards))
    assert names_of(merged) == NAMES
    assert merged.positions == ()


def test_a_merged_part_can_be_merged_with_the_rest() -> None:
    first = merge_runs(named(shard(3, 3), shard(1, 3)))
    order = {name: n for n, name in enumerate(NAMES)}
    assert names_of(first) == sorted(names_of(first), key=order.__getitem__)
    assert [NAMES[n] for n in first.positions] == names_of(first)
    assert names_of(merge_runs(named(shard(2, 3), first))) == NAMES


@pytest.mark.parametrize("case", ["earlier version", "another inventory", "same positions"])
def test_without_one_order_the_hosts_come_in_the_order_of_the_runs(case: str) -> None:
    one, other = shard(2, 2), shard(1, 2)
    if case == "earlier version":
        other = replace(other, positions=())
    elif case == "another inventory":
        other = replace(other, run=replace(other.run, inventory=("other.yml",)))
    else:
        other = replace(other, positions=one.positions)
    merged = merge_runs(named(one, other))
    assert names_of(merged) == [*names_of(one), *names_of(other)]
    assert merged.positions == ()


def stored(folder: Path, run: AuditRun) -> Path:
    """Writes a run and returns its folder."""
    path = folder / run.run.id
    path.mkdir()
    (path / "store.jsonl").write_bytes(b"".join(encode_store(run)))
    return path


def merged_into(folder: Path, *runs: AuditRun) -> AuditRun:
    """Merges stored runs and returns what is read of the new folder."""
    paths = tuple(stored(folder, run) for run in runs)
    done = merge_into_folder(MergeRequest(paths=paths, output=folder / "out"), lambda _: None)
    return read_run(done.written.reports[0].parent)


def test_merged_shards_keep_equal_evidence_once(tmp_path: Path) -> None:
    shards = [shard(n, 3) for n in (1, 2, 3)]
    before = {host.name: host for run in shards for host in run.audited}
    merged = merged_into(tmp_path, *shards)
    assert names_of(merged) == NAMES
    owners = {
        host.name for host in merged.audited for o in host.observations if has_packets_of_its_own(o)
    }
    assert len(owners) == 1
    for host in merged.audited:
        for o, old in zip(host.observations, before[host.name].observations, strict=True):
            assert (o.ending, o.endings, o.evidence.wire) == (
                old.ending,
                old.endings,
                old.evidence.wire,
            )


def has_packets_of_its_own(observation: Observation) -> bool:
    return bool(observation.evidence.wire) and not observation.evidence.same_as


def test_the_same_shard_twice_is_refused_with_its_hosts(tmp_path: Path) -> None:
    one = shard(1, 2)
    again = replace(one, run=replace(one.run, id="again"))
    with pytest.raises(InputError, match=r"also in .*run-1: web"):
        merged_into(tmp_path, one, again)


def test_shards_of_different_playbooks_are_refused_in_words() -> None:
    one, other = shard(1, 2), shard(2, 2)
    first, *rest = other.scenarios
    other = replace(other, scenarios=(replace(first, title="Another"), *rest))
    with pytest.raises(InputError, match="were the playbooks the same"):
        merge_runs(named(one, other))


def test_a_plan_that_is_no_shard_has_no_positions() -> None:
    assert plan_of(*NAMES).positions == ()
    assert select_shard(plan_of(*NAMES), 1, 1).positions == tuple(range(20))
    assert all(isinstance(host, Audited) for host in shard(1, 2).hosts)


def test_merged_shards_keep_the_command_that_all_of_them_have() -> None:
    one, other = shard(1, 2), shard(2, 2)
    asked = [replace(run, run=replace(run.run, command="services")) for run in (one, other)]
    assert merge_runs(named(*asked)).run.command == "services"
    assert not merge_runs(named(asked[0], other)).run.command
