"""Every number of a reply has a range in its type: a value out of it costs its own host at
"decode", and nothing later fails on a value that was let in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis.judge import judge_host
from fleetaudit.engine import audit
from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    Audited,
    NotAudited,
    Plan,
    SshTarget,
)
from fleetaudit.probe import protocol, verdict
from fleetaudit.store.deduplication import judge_and_deduplicate
from fleetaudit.transport import Output
from tests.support import replies
from tests.support.reply_numbers import Place, one_of_each, with_text
from tests.unit.engine.test_scheduler import FAST, FakeTransport

NO_JSON = ("NaN", "Infinity", "-Infinity", "+1", "01", "0x10", "nan", "1e", ".5")


def body_of(name: str) -> dict[str, Any]:
    (line,) = (
        line for line in replies.stored(name).split(b"\n") if line.startswith(protocol.REPLY_MARK)
    )
    body: dict[str, Any] = json.loads(line[len(protocol.REPLY_MARK) :])
    return body


def with_value(body: dict[str, Any], at: Place, text: str) -> bytes:
    """Returns the result line with `text` in the place of a number."""
    return protocol.REPLY_MARK + with_text(body, at, text) + b"\n"


PLACES = [(name, at) for name in replies.REPLIES for at in one_of_each(body_of(name))]


def test_the_stored_replies_are_accepted() -> None:
    for name in replies.REPLIES:
        host = verdict.result_from_output(replies.plan(), replies.stored(name))
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


@pytest.mark.parametrize("text", NO_JSON)
def test_a_reply_that_is_not_json_is_refused(text: str) -> None:
    for name, at in PLACES[::7]:
        with pytest.raises(ReplyError, match="not what the probe sends") as caught:
            verdict.result_from_output(replies.plan(), with_value(body_of(name), at, text))
        assert caught.value.stage == "decode"


def test_a_hostile_reply_affects_its_own_host_only_and_is_not_a_bug() -> None:
    good = replies.stored("namespace.txt")
    body = body_of("namespace.txt")
    aborts: Place = ("exposure", "counters", "TCPAbortOnClose")
    bad = {
        "a": with_value(body, aborts, "1e400"),
        "b": with_value(body, aborts, "1" + "0" * 400),
        "c": with_value(body, ("exposure", "unread_sockets", "sockets"), "1e400"),
        "d": with_value(body, ("observations", 0, "trials", 0, "wire_omitted"), f"{2**64}"),
        "e": with_value(body, ("observations", 0, "trials", 0, "steps"), "9"),
    }
    fake = FakeTransport(
        {
            name: lambda target, attempt, deadline: Output(
                stdout=bad.get(target.address, good), stderr=b"", exit_status=0, nonce=""
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
        run_command=fake.run,
        settings=FAST,
        judge=judge_and_deduplicate(judge_host),
        on_result=lambda result: None,
    )
    assert outcome.bugs == 0
    stages = {r.name: r.stage if isinstance(r, NotAudited) else "audited" for r in outcome.results}
    assert stages == dict.fromkeys(bad, "decode") | {"good": "audited"}
