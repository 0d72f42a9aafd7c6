"""Every number of a reply has a range in its type: a value out of it costs its own host at
"decode", and nothing later fails on a value that was let in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis import drift
from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.judge import fleet, judge
from fleetaudit.analysis.policy import of_most, playbook_of
from fleetaudit.engine.scheduler import audit
from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    Audited,
    AuditRun,
    HostPlan,
    HostResult,
    NotAudited,
    Plan,
    SshTarget,
)
from fleetaudit.probe import protocol, verdict
from fleetaudit.report import explain, pcap, registry
from fleetaudit.store import archive
from fleetaudit.store.deduplication import sparing
from fleetaudit.transport import Output
from tests.support import replies
from tests.support.runs import run_of
from tests.unit.engine.test_scheduler import FAST, FakeTransport

Place = tuple[str | int, ...]

NO_JSON = ("NaN", "Infinity", "-Infinity", "+1", "01", "0x10", "nan", "1e", ".5")
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


def body_of(name: str) -> dict[str, Any]:
    (line,) = (line for line in replies.stored(name).split(b"\n") if line.startswith(protocol.MARK))
    body: dict[str, Any] = json.loads(line[len(protocol.MARK) :])
    return body


def numbers(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yields the place of every number in a decoded reply."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*at, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def one_of_each(body: dict[str, Any]) -> list[Place]:
    """Returns the first number of every field: a place in a list is any, but in a row that is
    written as a list.
    """
    first = dict[Place, Place]()
    for at in numbers(body):
        first.setdefault((*("*" if isinstance(key, int) else key for key in at[:-1]), at[-1]), at)
    return list(first.values())


def with_value(body: dict[str, Any], at: Place, text: str) -> bytes:
    """Returns the result line with `text` in the place of a number."""
    changed = json.loads(json.dumps(body))
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = "@here@"
    return protocol.MARK + json.dumps(changed).replace('"@here@"', text).encode() + b"\n"


PLACES = [(name, at) for name in replies.REPLIES for at in one_of_each(body_of(name))]


def test_the_stored_replies_are_accepted() -> None:
    for name in replies.REPLIES:
        host = verdict.of_output(replies.plan(), replies.stored(name))
        assert {o.ending for o in host.observations} <= {"RST", "FIN", "FIN, then RST"}
    assert len(PLACES) > 80


@pytest.mark.parametrize("type_", [protocol.Reply, Audited])
def test_every_number_that_a_host_can_send_has_both_its_bounds_in_its_type(type_: Any) -> None:
    def unbounded(info: Any, at: str, seen: frozenset[Any] = frozenset()) -> Iterator[str]:
        kinds = msgspec.inspect
        if isinstance(info, kinds.IntType | kinds.FloatType) and None in (info.ge, info.le):
            yield at
        elif isinstance(info, kinds.StructType) and info.cls not in seen:
            for field in info.fields:
                yield from unbounded(field.type, f"{at}.{field.encode_name}", seen | {info.cls})
        elif isinstance(info, kinds.DictType):
            yield from unbounded(info.value_type, f"{at}[]", seen)
        elif isinstance(info, kinds.UnionType):
            for one in info.types:
                yield from unbounded(one, at, seen)
        elif isinstance(info, kinds.VarTupleType):
            yield from unbounded(info.item_type, f"{at}[]", seen)
        elif isinstance(info, kinds.TupleType):
            for one in info.item_types:
                yield from unbounded(one, f"{at}[]", seen)

    assert list(unbounded(msgspec.inspect.type_info(type_), type_.__name__)) == []


@pytest.mark.slow
@pytest.mark.parametrize("text", REFUSED)
def test_a_number_out_of_range_is_refused_with_its_path(text: str) -> None:
    for name, at in PLACES:
        with pytest.raises(ReplyError) as caught:
            verdict.of_output(replies.plan(), with_value(body_of(name), at, text))
        assert caught.value.stage == "decode"
        assert f"`$.{at[0]}" in caught.value.reason, (at, caught.value.reason)
        assert len(caught.value.reason) < 500


@pytest.mark.parametrize("text", NO_JSON)
def test_what_is_no_json_is_refused(text: str) -> None:
    for name, at in PLACES[::7]:
        with pytest.raises(ReplyError, match="not what the probe sends") as caught:
            verdict.of_output(replies.plan(), with_value(body_of(name), at, text))
        assert caught.value.stage == "decode"


@pytest.fixture(scope="module")
def let_in(tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    """Returns a run of every reply with an unusual number that was let in, judged, spared and out
    of a journal.
    """
    plans, results, judged = list[HostPlan](), list[HostResult](), sparing(judge)
    with archive.create(
        tmp_path_factory.mktemp("runs"), datetime(2026, 1, 1, tzinfo=UTC)
    ) as folder:
        for name, at in PLACES:
            for text in LET_IN:
                asked = replies.plan(f"{'.'.join(map(str, at))}={text}@{name}")
                try:
                    host = verdict.of_output(asked, with_value(body_of(name), at, text))
                except ReplyError:
                    continue
                host = judged(host, asked)
                folder.append(host)
                plans.append(asked)
                results.append(host)
        read = archive.read_journal(folder.path / archive.JOURNAL)
    assert [host.name for host in read] == [host.name for host in results]
    assert len(read) > 500
    return run_of(fleet(read, Plan(playbooks=(), hosts=tuple(plans))), replies.SCENARIOS)


@pytest.mark.slow
def test_nothing_that_was_let_in_fails_later(let_in: AuditRun, tmp_path: Path) -> None:
    archive.write_whole(tmp_path / "run.json", archive.encode_run(let_in))
    again = archive.read_run(tmp_path / "run.json")
    assert [host.name for host in again.hosts] == [host.name for host in let_in.hosts]
    usual = verdict.of_output(replies.plan(), replies.stored(replies.REPLIES[0]))
    before = msgspec.structs.replace(
        let_in, hosts=tuple(msgspec.structs.replace(usual, name=host.name) for host in let_in.hosts)
    )
    changed = drift.between(before, let_in)
    assert not changed.refused
    comparison = compare(let_in, changed)
    assert comparison.coverage.audited == len(let_in.hosts)
    for format_ in ("html", "text", "json", "junit", "csv", "sarif", "prometheus"):
        assert registry.render(let_in, format_, comparison=comparison)


@pytest.mark.slow
def test_every_host_that_was_let_in_can_be_explained_and_written_as_packets(
    let_in: AuditRun,
) -> None:
    for host in let_in.hosts:
        assert isinstance(host, Audited)
        assert pcap.render(host)
        assert explain.host_text(let_in, host, width=80)
        for observation in host.observations[:2]:
            assert explain.verdict_text(let_in, host, observation, width=80)
    assert playbook_of(let_in, of_most(let_in))


def test_a_poisoned_reply_costs_its_own_host_and_is_no_bug_of_ours() -> None:
    good = replies.stored("namespace.txt")
    body = body_of("namespace.txt")
    aborts: Place = ("exposure", "counters", "TCPAbortOnClose")
    bad = {
        "a": with_value(body, aborts, "1e400"),
        "b": with_value(body, aborts, "1" + "0" * 400),
        "c": with_value(body, ("exposure", "unread_sockets", "sockets"), "1e400"),
        "d": with_value(body, ("observations", 0, "trials", 0, "wire_omitted"), f"{2**64}"),
        "e": with_value(body, ("observations", 0, "trials", 0, "steps", 1, 1), "3"),
    }
    fake = FakeTransport(
        {
            name: lambda target, attempt, deadline: Output(
                stdout=bad.get(target.address, good), stderr=b"", exit_status=0
            )
            for name in (*bad, "good")
        }
    )
    hosts = [
        msgspec.structs.replace(replies.plan(n), target=SshTarget(address=n))
        for n in (*bad, "good")
    ]
    outcome = audit(
        Plan(playbooks=(), hosts=tuple(hosts)),
        run=fake.run,
        settings=FAST,
        judge=sparing(judge),
        on_result=lambda result: None,
    )
    assert outcome.bugs == 0
    stages = {r.name: r.stage if isinstance(r, NotAudited) else "audited" for r in outcome.results}
    assert stages == dict.fromkeys(bad, "decode") | {"good": "audited"}
