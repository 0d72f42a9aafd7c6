"""Verdicts are made once for what many hosts sent, and are those that each host alone would get."""

from __future__ import annotations

import base64
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetaudit.analysis.judge import HostJudge, judge_host
from fleetaudit.caching.recent import Recent
from fleetaudit.errors import ReplyError
from fleetaudit.model import Audited, HostPlan
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.result_line import COMPRESSED
from fleetaudit.probe.verdict import VerdictCache
from fleetaudit.probe.verdict_cache import _common_ends
from fleetaudit.store.deduplication import judge_and_deduplicate, strip_shared_evidence
from tests.support import replies
from tests.unit.probe.cases import (
    DRAINED,
    FINISHED,
    RESET,
    UNREAD,
    line,
    observation,
    plan,
    reply,
    trial,
)

ORDER = ("namespace.txt", "host.txt", "namespace.txt", "namespace.txt", "host.txt")
"""The stored replies of web0 to web4, whose results `results.jsonl` has."""


def results(jobs: list[tuple[HostPlan, bytes]]) -> Iterator[Audited]:
    """Yields the hosts of one run, as the engine decodes them and the run keeps them."""
    cache, judge = VerdictCache(), judge_and_deduplicate(HostJudge())
    for asked, stdout in jobs:
        decoded = verdict.decode_host(cache, asked, stdout)
        yield judge(decoded.with_times(judge.lacking(decoded.without_times)), asked)


def test_a_run_of_recorded_replies_is_that_of_the_version_before_byte_for_byte() -> None:
    """`results.jsonl` was written by the version with protocol 1, without a cache."""
    jobs = [(replies.plan(f"web{n}"), replies.stored(name)) for n, name in enumerate(ORDER)]
    lines = [msgspec.json.encode(strip_shared_evidence(host)) for host in results(jobs)]
    assert lines == (replies.FOLDER / "results.jsonl").read_bytes().splitlines()


def answer(body: dict[str, Any], asked: HostPlan | None = None) -> bytes:
    """Returns the result line of a body that answers the call of `asked`."""
    digest = protocol.request_digest(asked or plan(UNREAD, DRAINED))
    return line({**body, "digest": digest})


def two(at: int = 0, **more: Any) -> dict[str, Any]:
    """Returns a reply whose times differ by `at`."""
    rows = [[row[0] + at, *row[1:], at] for row in RESET["wire"]]
    one = {**RESET, "wire": rows, "steps": [[at, 0], [at + 9, 1]]}
    one["connection"] = {"began": float(at), "ports": [at + 1, at + 2], "scales": [7, 7]}
    return reply(observation("unread-close", one), observation("drained-close", FINISHED), **more)


def test_hosts_that_sent_the_same_share_all_objects_and_keep_their_own_times() -> None:
    cache, asked = VerdictCache(), plan(UNREAD, DRAINED)
    first, second = (verdict.decode_host(cache, asked, answer(two(at))) for at in (0, 500))
    assert first.without_times.observations is second.without_times.observations
    assert first.without_times.sysctls is second.without_times.sysctls
    for at, decoded in ((0, first), (500, second)):
        evidence = decoded.with_times().observations[0].evidence
        assert [(s.at_us, s.window) for s in evidence.segments] == [
            (row[0] + at, at) for row in RESET["wire"]
        ]
        assert evidence.steps == ((at, 0), (at + 9, 1))
        assert evidence.connection is not None
        assert (evidence.connection.began, evidence.connection.ports) == (at, (at + 1, at + 2))
        assert decoded.with_times() == verdict.result_from_output(asked, answer(two(at)))


def test_a_host_that_differs_in_one_observation_shares_the_others() -> None:
    cache, asked = VerdictCache(), plan(UNREAD, DRAINED)
    other = reply(observation("unread-close", RESET), observation("drained-close", RESET))
    seen = [
        verdict.decode_host(cache, asked, answer(body)).without_times
        for body in (reply(observation("unread-close", RESET)), other, two())
    ]
    # Its control failed on the second, and was not mentioned on the first.
    assert [host.observations[0].ending for host in seen] == ["inconclusive"] * 2 + ["RST"]
    again = verdict.decode_host(cache, asked, answer({**other, "elapsed_s": 2.5})).without_times
    assert again.observations is seen[1].observations
    more = {**two(), "observations": [*two()["observations"][:1], other["observations"][1]]}
    third = verdict.decode_host(cache, asked, answer(more)).without_times
    assert third.observations[1] is seen[1].observations[1]


def test_the_plan_and_the_isolation_decide_on_the_same_bytes() -> None:
    cache = VerdictCache()
    odd = reply(observation("unread-close", {**RESET, "kernel": {"OutRsts": 5}}))
    asked = plan(UNREAD)
    private = verdict.decode_host(cache, asked, answer(odd, asked))
    shared = verdict.decode_host(cache, asked, answer({**odd, "isolation": "host"}, asked))
    fewer = plan(UNREAD, trials=2)
    assert private.without_times.observations[0].ending == "inconclusive"
    assert shared.without_times.observations[0].ending == "RST"
    with pytest.raises(ReplyError, match="3 trials of unread-close, 2 were asked"):
        verdict.decode_host(cache, fewer, answer(odd, fewer))


def test_times_follow_the_order_of_the_reply_and_evidence_that_of_the_plan() -> None:
    asked = plan(UNREAD, DRAINED)
    late = trial([[700, *row[1:]] for row in FINISHED["wire"]], FINISHED["peer"], {}, count=1)
    # Two trials agree, and the third, which differs, is the one that is shown.
    mixed = observation("unread-close", {**RESET, "count": 2}, late)
    straight = reply(mixed, observation("drained-close", FINISHED))
    turned = {**straight, "observations": straight["observations"][::-1]}
    expected = verdict.result_from_output(asked, answer(straight))
    assert {s.at_us for s in expected.observations[0].evidence.segments} == {700}
    assert verdict.result_from_output(asked, answer(turned)) == expected


def test_findings_that_are_made_once_are_those_of_each_host_alone() -> None:
    judge = HostJudge()
    for name in (*replies.REPLIES, *replies.REPLIES):
        asked = replies.plan()
        host = verdict.result_from_output(asked, replies.stored(name))
        for void in ("", "control x failed"):
            one = msgspec.structs.replace(host, void=void)
            assert judge(one, asked) == judge_host(one, asked)
            assert judge(one, asked) == judge_host(one, asked)


pieces = st.sampled_from([b'{"a":1}', b'{"a":[{"a":1}]}', b'{"b":",{"}', b"{}", b'{"a":1,"b":2}'])


@given(st.lists(pieces, max_size=6), st.lists(pieces, max_size=6), st.sampled_from([b",", b", "]))
def test_what_two_arrays_have_in_common_is_cut_off_at_whole_elements(
    before: list[bytes], now: list[bytes], comma: bytes
) -> None:
    first, last, between = _common_ends(b"[" + comma.join(now) + b"]", before)
    parts = [json.loads(piece) for piece in (*before[:first], *before[last:])]
    middle = json.loads(between)
    assert [*parts[:first], *middle, *parts[first:]] == [json.loads(piece) for piece in now]
    assert _common_ends(b"{}", before) == (0, len(before), b"{}")
    if comma == b"," and before == now:
        assert len(middle) <= 1


def test_what_is_remembered_is_bounded_and_keeps_what_is_used() -> None:
    recent = Recent[int, int](10)
    recent.put(-1, 1)
    for key in range(1000):
        recent.put(key, key)
        assert recent.get(-1) == 1
    assert len(recent._new) + len(recent._old) <= 20
    assert recent.get(0) is None


def test_large_replies_of_hostile_hosts_are_not_remembered() -> None:
    cache, asked, large = VerdictCache(), plan(UNREAD), 600 * 1024
    tracemalloc.start()
    try:
        for number in range(40):
            padded = {**observation("unread-close", RESET), "pad": f"{number}" + "x" * large}
            sysctl = {"value": "0", "pad": f"{number}" + "x" * large}
            body = reply(padded, sysctls={"net.ipv4.tcp_rfc1337": sysctl})
            host = verdict.decode_host(cache, asked, answer(body, asked)).without_times
            assert host.observations[0].trials == 3
        assert tracemalloc.get_traced_memory()[0] < 20 * large
    finally:
        tracemalloc.stop()


# ---- hostile replies

BODIES = [
    json.loads(replies.stored(name).split(protocol.REPLY_MARK)[1].split(b"\n")[0])
    for name in replies.REPLIES
]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1, 63, 64, -1, 2**32, 2**64, 1e300, "", "x", "closer", [], [0], {}, [[]]]
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields each object and array of a body with each of its keys."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def put(inner: Any, key: Any, value: Any) -> None:
    inner[key] = value


def drop(inner: Any, key: Any, value: Any) -> None:
    del inner[key]


def double(inner: Any, key: Any, value: Any) -> None:
    if isinstance(inner, list):
        inner.insert(key, inner[key])
    else:
        inner[str(value)] = inner[key]


CHANGES: list[Callable[[Any, Any, Any], None]] = [put, drop, double]


def outcome(stdout: bytes) -> Audited | ReplyError:
    """Returns the host of a result line, or why it is refused."""
    try:
        (host,) = results([(replies.plan(), stdout)])
    except ReplyError as e:
        return e
    return host


def check_is_harmless(stdout: bytes) -> None:
    """Checks that a result line gives a reason, or a host that everything later can live with."""
    found = outcome(stdout)
    if isinstance(found, ReplyError):
        assert found.stage in ("decode", "execute")
        assert len(found.reason) < 1000
    else:
        assert msgspec.json.decode(msgspec.json.encode(found), type=Audited) == found


@settings(max_examples=300)
@given(st.sampled_from(BODIES), st.randoms(use_true_random=False), st.data())
def test_a_changed_reply_gives_a_reply_error_or_a_result(
    body: Any, chance: random.Random, data: st.DataObject
) -> None:
    body = json.loads(json.dumps(body))
    for _ in range(data.draw(st.integers(1, 3))):
        inner, key = chance.choice([*places(body)])
        data.draw(st.sampled_from(CHANGES))(inner, key, data.draw(VALUES))
    check_is_harmless(protocol.REPLY_MARK + json.dumps(body).encode() + b"\n")


@settings(max_examples=300)
@given(
    st.sampled_from(BODIES),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=3)), min_size=1, max_size=3),
)
def test_changed_bytes_give_a_reply_error_or_a_result(
    body: Any, is_compressed: bool, changes: list[tuple[int, bytes]]
) -> None:
    text = json.dumps(body).encode()
    if is_compressed:
        text = COMPRESSED + base64.b64encode(zlib.compress(text))
    for at, other in changes:
        start = at % len(text)
        text = text[:start] + other + text[start + 1 :]
    check_is_harmless(b"\n" + protocol.REPLY_MARK + text + b"\n")


def test_the_replies_that_these_tests_change_are_accepted() -> None:
    for body in BODIES:
        (host,) = results([(replies.plan(), protocol.REPLY_MARK + json.dumps(body).encode())])
        assert len(host.observations) > 10
