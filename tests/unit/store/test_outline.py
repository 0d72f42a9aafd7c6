"""outline.json: a copy that is used only if it is whole, consistent and of the same run."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetaudit.analysis.history import encode, history_of
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.model import AuditRun
from fleetaudit.report.history_text import history_text
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
    "a group without hosts": lambda v: v["groups"].append({"hosts": [], "status": "not audited"}),
    "a severity of what no host has": lambda v: v["expectations"][0].__setitem__(1, "error"),
    "resets below zero": lambda v: v.update(
        resets={"since": "", "hosts": 1, "connections": -1, "aborts": 0}
    ),
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


PLACES = st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=6)
VALUES = st.one_of(
    st.none(),
    st.integers(min_value=-2, max_value=200),
    st.sampled_from(["", "audited", "not selected", "error", "x", [], {}, [0], [["web0"]], 1.5]),
)


def put(value: Any, places: list[int], new: Any) -> None:
    """Puts a value into the lists and mappings of JSON, as deep as the places lead."""
    place, *rest = places
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if keys:
        key = keys[place % len(keys)]
        if rest and isinstance(value[key], (dict, list)) and value[key]:
            put(value[key], rest, new)
        else:
            value[key] = new


@given(st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=3))
def test_whatever_is_changed_it_is_not_used_or_gives_a_history(
    changes: list[tuple[list[int], Any]],
) -> None:
    def change(value: dict[str, Any]) -> None:
        for places, new in changes:
            put(value, places, deepcopy(new))

    with tempfile.TemporaryDirectory() as folder:
        outline = read_outline(written(Path(folder), changed(change)), RUN.run)
    before = outline_of(RUN)
    if outline is not None:
        found = history_of([before, outline, before])
        assert len(found.runs) == 3
        assert encode(found)
        assert history_text(found)


def test_a_newer_key_is_ignored(tmp_path: Path) -> None:
    data = changed(lambda v: v.update(newer={"a": 1}))
    assert read_outline(written(tmp_path, data), RUN.run) is not None


def test_the_same_run_gives_the_same_bytes() -> None:
    shuffled = replace(some_run())
    assert encode_outline(outline_of(RUN)) == encode_outline(outline_of(shuffled))
