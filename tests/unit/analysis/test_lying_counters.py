"""Counters of production that cannot be: more connections aborted than there were."""

from __future__ import annotations

from msgspec.structs import replace

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import ExposureExpectation
from tests.support import replies
from tests.support.runs import K612, Fleet, exposure_of, run_of


def test_more_aborts_than_connections_are_an_unknown_rate() -> None:
    fleet = Fleet()
    host = fleet.host("web1", K612, exposure=exposure_of(10**9, 1))
    (production,) = compare(run_of([host])).production
    assert (production.aborts, production.per_thousand) == (10**9, None)
    (true,) = compare(run_of([fleet.host("web2", K612, exposure=exposure_of(5, 5))])).production
    assert true.per_thousand == 1000.0


def test_more_aborts_than_connections_are_a_finding_and_never_as_expected() -> None:
    host = Fleet().host("web1", K612, exposure=exposure_of(10**9, 1))
    expected = {"aborts_on_close_per_thousand": (ExposureExpectation(at_least=0),)}
    plan = replace(replies.plan("web1"), scenarios=(), sysctls_expect={}, exposure_expect=expected)
    (finding,) = judge_host(host, plan).findings
    assert finding.id == "exposure:aborts_on_close_per_thousand"
    assert "no consistent" in finding.observed
