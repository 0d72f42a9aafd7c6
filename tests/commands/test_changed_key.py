"""A changed host key: not audited, and a finding with both fingerprints in every output."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from fleetaudit.analysis import waivers
from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.drift import set_first_seen
from fleetaudit.model import AuditRun, Finding, NotAudited
from fleetaudit.report.html import render
from fleetaudit.report.terminal import summary
from fleetaudit.store.run_file import read_run
from tests.support.commands import Workspace
from tests.support.runs import missing, small_fleet
from tests.support.sshd import Server

ID = "host-key:changed"
FINDING = Finding(
    id=ID, severity="error", expected="ssh-ed25519 SHA256:old", observed="ssh-ed25519 SHA256:new"
)


def fingerprint(public: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


@pytest.fixture
def fleet() -> AuditRun:
    """Returns the small fleet, and in it a host whose key has changed."""
    run = small_fleet()
    changed = msgspec.structs.replace(
        missing("moved", "host key", "changed host key", "ssh-keygen -R moved"), findings=(FINDING,)
    )
    return msgspec.structs.replace(run, hosts=(*run.hosts, changed))


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_a_changed_key_is_a_finding_of_the_host_that_was_not_audited(
    sshd: Server, tmp_path: Path, client: str
) -> None:
    place = Workspace(tmp_path)
    other = sshd.keys.user("ed25519").with_suffix(".pub")
    known = place.write(
        "known", f"[127.0.0.1]:{sshd.port} {' '.join(other.read_text().split()[:2])}\n"
    )
    place.write(
        "hosts.yml",
        f"all: {{hosts: {{moved: {{ansible_host: 127.0.0.1, ansible_port: {sshd.port},"
        f" ansible_connection: {client}, ansible_ssh_private_key_file: {sshd.keys.user()}}}, here:"
        " {ansible_connection: local}}}\n",
    )
    formats = ("--format", "html,junit,csv,sarif,prometheus,text")
    done = place.run("run", "hosts.yml", "-p", "quick.yml", "--known-hosts", known, *formats)
    assert done.returncode == 6, done.stdout + done.stderr
    folder = place.path / "reports/latest"
    was, is_ = fingerprint(other), fingerprint(sshd.keys.host("ed25519").with_suffix(".pub"))

    moved, here = json.loads((folder / "run.json").read_text())["hosts"]
    assert (moved["status"], moved["stage"], here["findings"]) == ("not audited", "host key", [])
    (finding,) = moved["findings"]
    assert (finding["id"], finding["severity"], finding["waived"]) == (ID, "error", None)
    assert finding["expected"] == f"ssh-ed25519 {was} ({known}:1)"
    assert finding["observed"] == f"ssh-ed25519 {is_} of [127.0.0.1]:{sshd.port}"
    assert finding["fix"].split("  # ") == [
        f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {known}",
        "only once you know why it has changed",
    ]

    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("errors"), suite.get("failures")) == (
        "moved",
        "2",
        "1",
        "1",
    )
    rows = [row for row in csv.DictReader((folder / "report.csv").open()) if row["host"] == "moved"]
    assert [(row["status"], row["id"], row["severity"]) for row in rows] == [
        ("not audited", ID, "error")
    ]
    (result,) = json.loads((folder / "report.sarif").read_text())["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == (ID, "error")
    metrics = (folder / "metrics.prom").read_text()
    assert re.search(
        r'^fleetaudit_host_findings\{audit_job="[^"]+",host="moved",severity="error"\} 1$',
        metrics,
        re.M,
    )
    for text in (
        (folder / "report.html").read_text(),
        done.stdout,
        place.run("explain", folder, "moved").stdout,
    ):
        words = " ".join(text.split())
        assert was in words
        assert is_ in words


def test_an_unknown_key_is_no_finding(sshd: Server, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    known = place.write("known", "")
    port = f"ansible_port={sshd.port}"
    done = place.run("run", "127.0.0.1,", "-e", port, "-p", "quick.yml", "--known-hosts", known)
    assert done.returncode == 4, done.stdout
    (host,) = read_run(place.path / "reports/latest").hosts
    assert isinstance(host, NotAudited)
    assert (host.stage, host.findings) == ("host key", ())


def test_the_host_is_counted_once_and_its_finding_stands_beside_it(fleet: AuditRun) -> None:
    comparison = compare(fleet)
    before = compare(small_fleet())
    assert comparison.coverage.not_audited == before.coverage.not_audited + 1
    assert comparison.coverage.audited == before.coverage.audited
    assert comparison.unmet_hosts == before.unmet_hosts  # of those that were audited
    assert comparison.findings[0].subject == "changed host key"
    assert (comparison.findings[0].hosts, comparison.findings[0].rows[0].builds) == (1, ())
    (answer,) = (answer for answer in comparison.summary if answer.key == "not-audited")
    assert (
        "".join(part.text for part in answer.sentences[1])
        == "1 host has another host key than the known one."
    )
    assert answer.sentences[1][0].link == comparison.findings[0].anchor
    line = next(line for line in comparison.hosts if line.name == "moved")
    assert (line.state, [finding[1] for finding in line.findings]) == ("not audited", [ID])
    text = " ".join(summary(comparison).split())
    assert (
        "error changed host key: expected ssh-ed25519 SHA256:old,"
        " observed ssh-ed25519 SHA256:new: moved" in text
    )


def test_only_it_waived_leaves_the_report_of_the_audited_hosts_alone(fleet: AuditRun) -> None:
    (host,) = fleet.hosts[-1:]
    waived = msgspec.structs.replace(FINDING, waived="me until 2099-01-31: new disk")
    hosts = (*fleet.hosts[:-1], msgspec.structs.replace(host, findings=(waived,)))

    def short(run: AuditRun) -> str:
        (answer,) = (answer for answer in compare(run).summary if answer.key == "expectations")
        return "".join(part.text for part in answer.sentences[0])

    assert short(msgspec.structs.replace(fleet, hosts=hosts)) == short(small_fleet())


def test_the_page_names_it_where_hosts_were_not_audited_and_not_among_those_with_findings(
    fleet: AuditRun,
) -> None:
    articles = (
        render(compare(fleet), generated="2026-01-01T00:00:00Z")
        .replace("<wbr>", "")
        .split("<article")
    )
    (short,) = (
        article for article in articles if "Which hosts do not meet expectations?" in article
    )
    (missed,) = (article for article in articles if "Which hosts were not audited?" in article)
    assert ("changed host key" in short, "unread-close" in short) == (False, True)
    assert "another host key than the known one" in missed


def test_it_can_be_waived_and_keeps_the_date_it_was_first_seen_on(fleet: AuditRun) -> None:
    from datetime import date

    (waiver,) = waivers.parse_waivers(
        "- {finding: 'host-key:*', hosts: moved, owner: me, reason: new disk, expiry:"
        " 2099-01-31}\n",
        source="w.yml",
    )
    applied = waivers.apply_waivers(
        fleet.hosts, [waiver], date(2026, 1, 1), lambda pattern: [pattern]
    )
    assert applied.hosts[-1].findings[0].waived == "me until 2099-01-31: new disk"
    assert not applied.unused
    (first,) = set_first_seen(fleet.hosts[-1:], [], "2026-01-01")
    assert first.findings[0].since == "2026-01-01"
    earlier = msgspec.structs.replace(fleet, hosts=(first,))
    (later,) = set_first_seen(fleet.hosts[-1:], [earlier], "2026-01-02")
    assert later.findings[0].since == "2026-01-01"
    gone = msgspec.structs.replace(
        fleet, hosts=(msgspec.structs.replace(fleet.hosts[-1], findings=()),)
    )
    (again,) = set_first_seen(fleet.hosts[-1:], [gone, earlier], "2026-01-03")
    assert again.findings[0].since == "2026-01-03"
