"""Services in the closing text, in explain, in the CSV and in the metrics."""

from __future__ import annotations

import csv
import io

from msgspec.structs import replace

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.explanation import explain
from fleetaudit.model import Audited, AuditRun, Finding, RunInfo, ServiceResult, ServiceTry
from fleetaudit.report import csv as csv_report
from fleetaudit.report import prometheus, terminal
from fleetaudit.report.explain import host_text
from tests.support.service_results import asked, early, idle, service

LOSSY = service(
    early(
        ServiceTry(writing="send all, then read", count=4, ending="RST"),
        ServiceTry(writing="chunked", count=4, status=413, ending="FIN"),
    ),
    idle(75.2),
    server="nginx/1.22.1",
)
CLOSED = ServiceResult(
    name="nobody", target="127.0.0.1:1", problem="nothing listens there", hint="ss -ltnp"
)
HOSTILE = "\x1b[2J<script>=cmd\u202e\n# HELP"


def run(*hosts: Audited) -> AuditRun:
    info = RunInfo(
        id="2026-01-31T020000Z",
        started="2026-01-31T02:00:00Z",
        finished="2026-01-31T02:00:09Z",
        fleetaudit="0.1.0",
        playbooks=("services.yml",),
        controller="Python",
        inventory=("fleet.yml",),
    )
    return AuditRun(run=info, scenarios=(), hosts=hosts)


def test_the_closing_text_folds_the_hosts_and_names_what_could_not_be_asked() -> None:
    text = terminal.summary(compare(run(asked("web1", LOSSY, CLOSED), asked("web2", LOSSY))))
    assert "Services: 8 of 16 clients lost the answer, on 2 hosts." in text
    assert "  upload (nginx/1.22.1): web[1-2]\n" in text
    assert "early answer:  send all, then read: 0 of 8; chunked: 8 of 8 with 413" in text
    assert "idle:  closed after 75 s" in text
    assert "  not asked: nobody: web1: nothing listens there\n      next:  ss -ltnp\n" in text


def test_a_run_without_services_says_nothing_of_them() -> None:
    assert "Services" not in terminal.summary(compare(run(asked("web1"))))


def test_explain_has_the_cures_with_their_sources_and_the_results() -> None:
    host = asked("web1", LOSSY)
    text = host_text(run(host), host, width=100)
    assert "nginx, early answer: keep “lingering_close on;”" in text
    assert (
        "      https://nginx.org/en/docs/http/ngx_http_core_module.html#lingering_close\n" in text
    )
    assert explain(run(host), host, None).services == (LOSSY,)


def test_the_csv_has_a_row_for_each_check_with_its_verdict() -> None:
    finding = Finding(
        id="service:upload/early answer",
        severity="warning",
        expected="a status for every client",
        observed="4 lost",
    )
    host = replace(
        asked("web1", LOSSY, CLOSED),
        findings=(finding,),
        expectations=("service:upload/early answer",),
    )
    rows = [*csv.DictReader(io.StringIO(csv_report.render(run(host))))]
    assert [(row["id"], row["trials"], row["verdict"]) for row in rows] == [
        ("service:upload/early answer", "8", "not met"),
        ("service:upload/idle", "1", "no expectation"),
    ]
    assert rows[0]["observed"] == "send all, then read: 0 of 4; chunked: 4 of 4 with 413"


def test_the_metrics_count_answers_and_have_the_shortest_idle_time() -> None:
    slow = replace(LOSSY, checks=(idle(80.0),))
    text = prometheus.render(run(asked("a", LOSSY, CLOSED), asked("b", slow)))
    labels = 'service="upload",check="early answer",writing="send all, then read"'
    assert f'{labels},outcome="lost"}} 4\n' in text
    assert f'{labels},outcome="answered"}} 0\n' in text
    assert [line.split()[-1] for line in text.splitlines() if "idle_seconds{" in line] == ["75.2"]
    assert 'service="nobody",check=""} 1\n' in text


def test_what_a_host_sends_is_harmless_in_every_output() -> None:
    hostile = replace(
        LOSSY, name="n", server=HOSTILE, executable=HOSTILE, unit=HOSTILE, problem=HOSTILE
    )
    host = asked("web1", hostile)
    texts = (
        terminal.summary(compare(run(host))),
        host_text(run(host), host, width=80),
        csv_report.render(run(host)),
        prometheus.render(run(host)),
    )
    for text in texts:
        assert "\x1b" not in text
        assert "\u202e" not in text
