"""outline.json: a copy that is used only if it is whole, consistent and of the same run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.model import AuditRun
from fleetaudit.store.names import OUTLINE_FILE
from fleetaudit.store.outline import encode_outline, read_outline
from tests.support.runs import K510, K612, Fleet, by_name, missing, observe, run_of

FLEET = Fleet()


def some_run() -> AuditRun:
    fin = [observe(by_name("unread-close"), "ipv4", "FIN")]
    return run_of(
        [
            *(FLEET.host(f"web{n}", K612) for n in range(5)),
            FLEET.host("old", K510, instead=fin),
            missing("away", "connect", "timed out", ""),
        ]
    )


RUN = some_run()


def written(folder: Path, data: bytes) -> Path:
    (folder / OUTLINE_FILE).write_bytes(data)
    return folder


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Returns the bytes of an outline with one change."""
    value = json.loads(encode_outline(outline_of(RUN)))
    change(value)
    return json.dumps(value).encode()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    outline = outline_of(RUN)
    assert read_outline(written(tmp_path, encode_outline(outline)), RUN.run) == outline
    assert [host for group in outline.groups for host in group.hosts] == [
        host.name for host in RUN.hosts
    ]


def test_equal_hosts_are_one_group_whether_or_not_they_share_objects() -> None:
    outline = outline_of(RUN)
    assert [len(group.hosts) for group in outline.groups] == [5, 1, 1]
    assert outline.releases == (K612.release, K510.release)


def test_names_of_any_characters_are_read_back(tmp_path: Path) -> None:
    hosts = [FLEET.host(name, K612) for name in ("a" * 253, "שרת", "🦊.example", 'x"\\\n\u202e')]
    run = run_of(hosts)
    found = read_outline(written(tmp_path, encode_outline(outline_of(run))), run.run)
    assert found is not None
    assert found.groups[0].hosts == tuple(host.name for host in hosts)


DAMAGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "another version": lambda v: v.update(format="fleetaudit-outline/2"),
    "another run": lambda v: v["run"].update(id="2026-01-01T000000Z"),
    "the run before it was resumed": lambda v: v["run"].update(finished="2026-01-01T00:00:00Z"),
    "no groups": lambda v: v.pop("groups"),
    "a host too many": lambda v: v["groups"][0]["hosts"].append("web9"),
    "a host twice": lambda v: v["groups"][0]["hosts"].__setitem__(0, "web1"),
    "another count": lambda v: v["hosts"].update(audited=7, not_audited=0),
    "an index that is too large": lambda v: v["groups"][0].update(findings=[999]),
    "a negative index": lambda v: v["groups"][0].update(release=-1),
    "a release that is not there": lambda v: v["groups"][0].update(release=9),
    "a check that is not there": lambda v: v["groups"][0].update(check=99),
    "a check of what is not there": lambda v: v["checks"][0][0].append(12345),
    "a finding without a severity": lambda v: v["groups"][0].update(findings=[0]),
    "a waiver without its finding": lambda v: v["groups"][0].update(waived=[0]),
    "an audited host without a kernel": lambda v: v["groups"][0].pop("release"),
    "a kernel of a host that was not audited": lambda v: v["groups"][2].update(release=0),
    "a list in the place of the run": lambda v: v.update(run=[]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_not_consistent_is_not_used(damage: str, tmp_path: Path) -> None:
    assert read_outline(written(tmp_path, changed(lambda _: None)), RUN.run) is not None
    assert read_outline(written(tmp_path, changed(DAMAGED[damage])), RUN.run) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\xff\xfe", b"[" * 100_000, encode_outline(outline_of(RUN))[:-100], b"null"],
    ids=["empty", "an object", "no text", "nested", "cut", "null"],
)
def test_neither_is_what_is_no_outline(data: bytes, tmp_path: Path) -> None:
    assert read_outline(written(tmp_path, data), RUN.run) is None


def test_nor_what_is_no_regular_file(tmp_path: Path) -> None:
    file = tmp_path / OUTLINE_FILE
    assert read_outline(tmp_path, RUN.run) is None
    file.symlink_to(tmp_path / "nothing")
    assert read_outline(tmp_path, RUN.run) is None
    file.unlink()
    file.symlink_to("/dev/zero")
    assert read_outline(tmp_path, RUN.run) is None
    file.unlink()
    os.mkfifo(file)
    assert read_outline(tmp_path, RUN.run) is None
    file.unlink()
    file.mkdir()
    assert read_outline(tmp_path, RUN.run) is None


def test_an_outline_larger_than_the_limit_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetaudit.store.outline.MAX_BYTES", 100)
    assert read_outline(written(tmp_path, encode_outline(outline_of(RUN))), RUN.run) is None


def test_a_newer_key_is_ignored(tmp_path: Path) -> None:
    data = changed(lambda v: v.update(newer={"a": 1}))
    assert read_outline(written(tmp_path, data), RUN.run) is not None


def test_the_same_run_gives_the_same_bytes() -> None:
    shuffled = replace(some_run())
    assert encode_outline(outline_of(RUN)) == encode_outline(outline_of(shuffled))
