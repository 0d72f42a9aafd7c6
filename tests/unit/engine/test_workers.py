"""Hosts behind workers: how a plan is divided, and what a worker may send."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.app.option_values import parse_engine
from fleetaudit.engine import EngineSettings
from fleetaudit.engine.workers import messages
from fleetaudit.engine.workers.batches import LARGEST, SMALLEST, divide_hosts, make_batches
from fleetaudit.engine.workers.messages import (
    Failed,
    HostReport,
    NotAReportError,
    Printed,
    decode_reports,
    encode_reports,
    encode_version,
    own_version,
    why_version_differs,
)
from fleetaudit.engine.workers.replay import Reporting, without_target
from fleetaudit.errors import UsageError
from fleetaudit.model import (
    Become,
    HostPlan,
    HostResult,
    LocalTarget,
    NotAudited,
    Secret,
    SshTarget,
)


def host(name: str, **target: Any) -> HostPlan:
    return HostPlan(
        name=name,
        groups=(),
        target=SshTarget(address=name, **target),
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def printed(text: bytes = b"") -> Printed:
    return Printed(stdout=text)


# ---- the division


@given(st.dictionaries(st.sampled_from(["", "eu", "us"]), st.integers(1, 1000), min_size=1))
def test_every_host_is_in_exactly_one_batch_of_its_site(sizes: dict[str, int]) -> None:
    hosts = [host(f"{site}-{n}", site=site) for site, size in sizes.items() for n in range(size)]
    batches = make_batches(divide_hosts(hosts).remote, workers=3)
    assert sorted(index for batch in batches for index in batch.indexes) == [*range(len(hosts))]
    for batch in batches:
        assert {hosts[index].target.site for index in batch.indexes} == {batch.site}  # type: ignore[union-attr]
        assert len(batch.indexes) <= LARGEST


@pytest.mark.parametrize(
    ("hosts", "workers", "expected"),
    [(30, 4, 1), (400, 2, 8), (400, 100, 400 // SMALLEST), (100_000, 2, 100_000 // LARGEST)],
)
def test_batches_share_the_hosts_among_the_workers(hosts: int, workers: int, expected: int) -> None:
    assert len(make_batches({"": [*range(hosts)]}, workers)) == expected


def test_this_machine_and_hosts_with_a_password_are_not_sent() -> None:
    local = msgspec.structs.replace(host("here"), target=LocalTarget())
    known = without_target(host("down"), "inventory", "no", "", kind="")
    hosts = [
        host("web1"),
        local,
        host("login", password=Secret("x")),
        host("become", become=Become(password=Secret("x"))),
        host("key", become=Become()),
        known,
    ]
    division = divide_hosts(hosts)
    assert division.remote == {"": [0, 4]}
    assert division.local == [1, 5]
    assert division.with_password == [2, 3]


# ---- what a worker sends


def test_a_report_comes_back_as_it_was_sent() -> None:
    failed = Failed(stage="connect", reason="r", hint="h", kind="timed out", at="gate")
    sent = [
        HostReport(name="a", found=Printed(stdout=b"\x00\xff", stderr=b"e", exit_status=3)),
        HostReport(name="b", found=failed),
    ]
    found = decode_reports(encode_reports(sent), ["a", "b", "c"])
    assert [*found.values()] == sent


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "text",
        b"",
        b"\xc1",
        msgspec.msgpack.encode([{"name": "a"}]),
        msgspec.msgpack.encode([{"name": "a", "found": {"type": "printed", "stdout": 5}}]),
        encode_reports([HostReport(name="another", found=printed())]),
        encode_reports([HostReport(name="a", found=printed())] * 2),
    ],
)
def test_what_is_no_report_is_refused(sent: object) -> None:
    with pytest.raises(NotAReportError):
        decode_reports(sent, ["a"])


def test_a_report_is_bounded_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_PER_HOST", 10)
    with pytest.raises(NotAReportError, match="more than its hosts may have"):
        decode_reports(encode_reports([HostReport(name="a", found=printed(b"x" * 99))]), ["a"])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_refused(sent: bytes) -> None:
    with contextlib.suppress(NotAReportError):
        assert decode_reports(sent, ["a"]).keys() <= {"a"}


def test_versions_are_compared_in_words() -> None:
    own = own_version()
    assert why_version_differs(encode_version(own)) == ""
    older = msgspec.structs.replace(own, fleetaudit="0.0.1")
    assert why_version_differs(encode_version(older)).startswith("it has fleetaudit 0.0.1, and")
    changed = msgspec.structs.replace(own, program="0" * 16)
    assert "another probe" in why_version_differs(encode_version(changed))
    for nothing in (None, b"", b"\xff", 7):
        assert why_version_differs(nothing) == "it does not say which fleetaudit it has"


# ---- results


def test_every_host_of_a_batch_has_one_result() -> None:
    failed = Failed(stage="no such stage\x1b[2J", reason="x\x1b[2Jy" * 900, kind="k", at="gate")
    reports = {
        "down": HostReport(name="down", found=failed),
        "odd": HostReport(name="odd", found=printed(b"hello")),
    }
    seen = list[HostResult]()
    reporting = Reporting(
        settings=EngineSettings(), judge=lambda audited, _: audited, on_result=seen.append
    )
    outcome = reporting.report([host("down"), host("odd"), host("silent")], reports)
    assert [result.name for result in outcome.results] == ["down", "odd", "silent"]
    assert sorted(result.name for result in seen) == ["down", "odd", "silent"]
    down, odd, silent = outcome.results
    assert isinstance(down, NotAudited)
    assert down.stage == "execute"
    assert "\x1b" not in down.reason
    assert isinstance(odd, NotAudited)
    assert "no result line; it printed “hello”" in odd.reason
    assert isinstance(silent, NotAudited)
    assert silent.kind == "worker lost"


# ---- the option


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (None, None),
        ("dask://host:8786", "tcp://host:8786"),
        ("dask+tls://a.b-c:1/", "tls://a.b-c:1"),
        ("dask://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_an_engine_is_an_address_of_dask(text: str | None, expected: str | None) -> None:
    assert parse_engine(text) == expected


@pytest.mark.parametrize("text", ["dask", "dask://h", "tcp://h:1", "dask://h:1?x", "dask://a b:1"])
def test_other_engines_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="dask://HOST:8786"):
        parse_engine(text)
