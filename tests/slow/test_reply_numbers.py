"""Numbers of a reply: in range they are processed, out of range refused with their path."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fleetaudit.analysis import drift
from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.judge import judge_fleet, judge_host
from fleetaudit.analysis.policy import behaviour_of_majority, render_playbook
from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    Audited,
    AuditRun,
    HostPlan,
    HostResult,
    Plan,
)
from fleetaudit.probe import verdict
from fleetaudit.report import explain, pcap, registry
from fleetaudit.store.deduplication import judge_and_deduplicate
from fleetaudit.store.disk import write_atomically
from fleetaudit.store.journal import read_journal
from fleetaudit.store.names import JOURNAL_FILE
from fleetaudit.store.run_file import encode_run, read_run
from fleetaudit.store.run_folder import create_run_folder
from tests.support import replies
from tests.support.runs import run_of
from tests.unit.probe.test_reply_numbers import PLACES, body_of, with_value

REFUSED = (
    *(
        "1e400",
        "-1e400",
        "1" + "0" * 400,
        "1" + "0" * 5000,
        "-1" + "0" * 400,
        "1e308",
        "-1e308",
        f"{2**64}",
    ),
    *(f"{2**63}", f"{-(2**63)}", f"{-(2**63) - 1}", '"1"', "true", "[]", "{}"),
)


LET_IN = (
    *(
        "0",
        "1",
        "-1",
        "-0",
        "-0.0",
        "1.5",
        "1.0",
        "1e2",
        "1e-400",
        "13",
        "14",
        "63",
        "64",
        "255",
        "1000",
        "1001",
    ),
    *(
        "65535",
        "65536",
        "1048576",
        f"{2**31}",
        f"{2**32 - 1}",
        f"{2**32}",
        f"{2**53 + 1}",
        f"{2**63 - 1}",
        "null",
    ),
    *("1000000000000", "-1000000000000", "1000000000001", "3200000000.0", "3200000001"),
)
"""What some fields may hold: each of them refuses it, or all that follows can live with it."""


@pytest.mark.parametrize("text", REFUSED)
def test_a_number_out_of_range_is_refused_with_its_path(text: str) -> None:
    for name, at in PLACES:
        with pytest.raises(ReplyError) as caught:
            verdict.result_from_output(replies.plan(), with_value(body_of(name), at, text))
        assert caught.value.stage == "decode"
        assert f"`$.{at[0]}" in caught.value.reason, (at, caught.value.reason)
        assert len(caught.value.reason) < 500


@pytest.fixture(scope="module")
def let_in(tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    """Returns a run of every reply with an unusual number that was let in, judged, spared and out
    of a journal.
    """
    plans, results, judged = list[HostPlan](), list[HostResult](), judge_and_deduplicate(judge_host)
    with create_run_folder(
        tmp_path_factory.mktemp("runs"), datetime(2026, 1, 1, tzinfo=UTC)
    ) as folder:
        for name, at in PLACES:
            for text in LET_IN:
                asked = replies.plan(f"{'.'.join(map(str, at))}={text}@{name}")
                try:
                    host = verdict.result_from_output(asked, with_value(body_of(name), at, text))
                except ReplyError:
                    continue
                host = judged(host, asked)
                folder.append(host)
                plans.append(asked)
                results.append(host)
        read = read_journal(folder.path / JOURNAL_FILE)
    assert [host.name for host in read] == [host.name for host in results]
    assert len(read) > 500
    return run_of(judge_fleet(read, Plan(playbooks=(), hosts=tuple(plans))), replies.SCENARIOS)


def test_nothing_that_was_let_in_fails_later(let_in: AuditRun, tmp_path: Path) -> None:
    write_atomically(tmp_path / "run.json", encode_run(let_in))
    again = read_run(tmp_path / "run.json")
    assert [host.name for host in again.hosts] == [host.name for host in let_in.hosts]
    usual = verdict.result_from_output(replies.plan(), replies.stored(replies.REPLIES[0]))
    before = msgspec.structs.replace(
        let_in, hosts=tuple(msgspec.structs.replace(usual, name=host.name) for host in let_in.hosts)
    )
    changed = drift.compute_drift(before, let_in)
    assert not changed.refused
    comparison = compare(let_in, changed)
    assert comparison.coverage.audited == len(let_in.hosts)
    for format_ in ("html", "text", "json", "junit", "csv", "sarif", "prometheus"):
        assert registry.render(let_in, format_, comparison=comparison)


def test_every_host_that_was_let_in_can_be_explained_and_written_as_packets(
    let_in: AuditRun,
) -> None:
    for host in let_in.hosts:
        assert isinstance(host, Audited)
        assert pcap.render(host)
        assert explain.host_text(let_in, host, width=80)
        for observation in host.observations[:2]:
            assert explain.verdict_text(let_in, host, observation, width=80)
    assert render_playbook(let_in, behaviour_of_majority(let_in))
