"""Whatever decodes as a reply can be judged, stored, read back, compared and shown: nothing after
`decode` fails on a value.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, get_args

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.analysis.judge import judge_fleet, judge_host
from fleetaudit.errors import ReplyError
from fleetaudit.model import AuditRun, Plan, Service, ServiceResult, Sysctl, Watch
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.known_names import BYTES, HOST_COUNTERS, QUEUES, TRIAL_COUNTERS
from fleetaudit.probe.reply import RawObservation, RawTrial, Reply, Times
from fleetaudit.report.registry import render_all
from fleetaudit.store.deduplication import EvidenceDeduplicator
from fleetaudit.store.run_file import read_run
from fleetaudit.store.store_file import encode_store
from tests.support import replies
from tests.support.any_value import values_of
from tests.support.runs import run_of

Body = dict[str, Any]
SERVICES = (
    Service(name="upload", url="http://127.0.0.1:8080/", port=8080, idle_at_least=61.0),
    Service(name="redis", port=6379, ending="FIN"),
)
PLAN = msgspec.structs.replace(replies.plan("liar"), watch=Watch(seconds=60.0), services=SERVICES)
HONEST = verdict.result_from_output(replies.plan("honest"), replies.stored("namespace.txt"))
FORMATS = ("html", "json", "csv", "junit", "prometheus", "sarif", "text", "pcap")


def counts(names: frozenset[str]) -> st.SearchStrategy[Body]:
    """Returns numbers of a trial with names that the probe has."""
    edges = st.sampled_from([0, 1, 2**32 - 1])
    return st.dictionaries(st.sampled_from(sorted(names)), edges, max_size=3)


@st.composite
def trials(draw: st.DrawFn, steps: int) -> Body:
    """Draws a trial of a scenario with this many steps."""
    one: Body = draw(values_of(RawTrial))
    one["count"] = 1
    one["steps"] = draw(st.integers(0, steps))
    one["kernel"] = draw(st.none() | counts(TRIAL_COUNTERS))
    one["queue"], one["bytes"] = draw(counts(QUEUES)), draw(counts(BYTES))
    one["failed_step"] = draw(st.none() | st.integers(0, steps - 1))
    if one["peer"]:
        added = one["peer"].get("poll_added", [])
        one["peer"]["poll_added"] = [(index % steps, events) for index, events in added]
    return one


@st.composite
def services(draw: st.DrawFn) -> list[Body]:
    """Draws the results of some of the services of `PLAN`."""
    results = list[Body]()
    names = [service.name for service in SERVICES]
    for name in draw(st.lists(st.sampled_from(names), unique=True)):
        one: Body = draw(values_of(ServiceResult))
        results.append({**one, "name": name})
    return results


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """Draws a reply to the call of `PLAN`."""
    body: Body = draw(values_of(Reply))
    pairs = [(s, family) for s in PLAN.scenarios for family in s.families]
    observations = list[Body]()
    for scenario, family in draw(
        st.lists(st.sampled_from(pairs), unique_by=repr, min_size=1, max_size=4)
    ):
        each: Body = draw(values_of(RawObservation))
        some = st.lists(trials(len(scenario.steps)), min_size=1, max_size=PLAN.trials)
        each.update(scenario=scenario.name, family=family, trials=draw(some))
        each["not_run"] = draw(st.sampled_from(["", "", "x" * 4096]))
        observations.append(each)
    keys = st.sampled_from(PLAN.sysctls_collect)
    body.update(
        digest=protocol.request_digest(PLAN),
        observations=observations,
        times=draw(times_of([one for each in observations for one in each["trials"]])),
        sysctls=draw(st.dictionaries(keys, values_of(Sysctl))),
        services=draw(services()),
    )
    if body["exposure"]:
        known = st.sampled_from(sorted(HOST_COUNTERS))
        numbers = st.sampled_from([0, 1, 2**63 - 1])
        body["exposure"]["counters"] = draw(st.dictionaries(known, numbers))
    return body


def exactly(column: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    """Returns lists of this length."""
    return st.lists(column, min_size=count, max_size=count)


@st.composite
def times_of(draw: st.DrawFn, trials: list[Body]) -> Body:
    """Draws the times of trials."""
    fields = msgspec.structs.fields(Times)
    columns = {field.name: values_of(get_args(field.type)[0]) for field in fields}
    connections = sum(one.get("connection") is not None for one in trials)
    segments = sum(len(one["wire"] or ()) for one in trials)
    sizes = {
        "began": connections,
        "ports": 2 * connections,
        "steps": sum(one["steps"] for one in trials),
        "at": segments,
        "windows": segments,
    }
    times: Body = {name: draw(exactly(columns[name], size)) for name, size in sizes.items()}
    texts = st.sampled_from(["", "no zlib", "eJwDAAAAAAE=", "x" * 32768])
    if connections:
        index = st.integers(0, connections - 1)
        times["headers"] = draw(st.lists(st.tuples(index, texts), max_size=1))
    return times


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies())
def test_whatever_decodes_is_judged_stored_read_back_compared_and_shown(body: Body) -> None:
    stdout = protocol.REPLY_MARK + json.dumps(body).encode()
    try:
        host = verdict.result_from_output(PLAN, stdout)
    except ReplyError:
        decoded.append(False)
        return
    decoded.append(True)
    deduplicator = EvidenceDeduplicator()
    judged = [
        deduplicator.deduplicate(judge_host(HONEST, replies.plan("honest"))),
        deduplicator.deduplicate(judge_host(host, PLAN)),
    ]
    hosts = judge_fleet(judged, Plan(playbooks=(), hosts=(replies.plan("honest"), PLAN)))
    run = run_of(hosts, PLAN.scenarios)
    stored = b"".join(encode_store(run))
    again = read_again(stored)
    assert again.hosts == run.hosts
    drift = compute_drift(run, again)
    assert drift.is_unchanged
    render_all(again, FORMATS, compare(again))


decoded = list[bool]()


def test_most_of_what_was_drawn_decoded() -> None:
    assert decoded.count(True) * 2 > len(decoded)


def read_again(stored: bytes) -> AuditRun:
    """Returns a run from the bytes of its store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.jsonl"
        path.write_bytes(stored)
        return read_run(path)
