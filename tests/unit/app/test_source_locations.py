"""run.json says where a host and an expectation are written, and never in which folder of the
controller.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.app.planning import (
    HostSelection,
    build_plan,
    read_inventory,
    read_playbooks,
    scenario_rows,
)
from fleetaudit.app.source_locations import add_locations
from fleetaudit.cli import run_command_line
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.model import AuditRun, Location, NotAudited
from fleetaudit.playbook import parse_playbook
from fleetaudit.store.run_file import encode_run
from tests.support.runs import run_of as made_of
from tests.unit.report.test_formats import read_sarif

PLAYBOOK = """- name: x
  hosts: all
  scenarios:
    - unread-close/drained-close
    - unread-close/unread-close
    - name: mine
      title: one
      steps: [closer closes]
      expect: FIN
  adjust:
    unread-close:
      severity: info
  sysctls:
    expect:
      net.ipv4.tcp_rfc1337: {equals: 0}
      net.ipv4.tcp_fin_timeout:
        - {at_most: 60}
        - {at_least: 1}
  exposure:
    expect:
      listen_overflows: {at_most: 0}
  kernels:
    expect: {same_ending_within_build: true}
- name: y
  hosts: all
  sysctls: {expect: {net.ipv4.tcp_rfc1337: {equals: 0}}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "site").mkdir()
    monkeypatch.chdir(tmp_path / "repository" / "site")
    return tmp_path


def run_of(*sources: str, playbook: str = "audit.yml") -> AuditRun:
    """Returns a run of these inventories in which no host answered."""
    Path(playbook).write_text(PLAYBOOK)
    plan = build_plan(
        read_inventory(sources, None),
        read_playbooks((playbook,)),
        HostSelection(),
        ConnectionOptions(),
        connects=False,
    )
    hosts = tuple(
        NotAudited(name=host.name, stage="connect", reason="refused") for host in plan.hosts
    )
    return add_locations(
        AuditRun(run=made_of(()).run, scenarios=scenario_rows(plan), hosts=hosts), plan
    )


def places(run: AuditRun) -> dict[str, tuple[str, int] | None]:
    return {
        host.name: (host.location.file, host.location.line) if host.location else None
        for host in run.hosts
    }


def test_a_playbook_knows_the_line_of_each_expectation_and_of_each_adjustment() -> None:
    lines = parse_playbook(PLAYBOOK, source="x").lines
    assert lines.pop("scenario:zero-linger-close") == 5  # comes with the scenario that needs it
    assert lines == {
        "scenario:drained-close": 4,
        "scenario:unread-close": 11,
        "scenario:mine": 6,
        "sysctl:net.ipv4.tcp_rfc1337": 15,
        "sysctl:net.ipv4.tcp_fin_timeout": 16,
        "exposure:listen_overflows": 21,
        "kernel:": 23,
    }


def test_files_are_named_from_the_top_of_the_repository_wherever_in_it_the_run_starts(
    home: Path,
) -> None:
    Path("hosts.yml").write_text("all:\n  hosts:\n    a:\n    b:\n")
    Path("../common.ini").write_text("[web]\nc\nd[1:2]\n")
    Path("folder").mkdir()
    Path("folder/10-x").write_text("e\n")
    run = run_of("./hosts.yml", "../common.ini", str(home / "repository" / "site" / "folder"), "f,")
    assert places(run) == {
        "a": ("site/hosts.yml", 3),
        "b": ("site/hosts.yml", 4),
        "c": ("common.ini", 2),
        "d1": ("common.ini", 3),
        "d2": ("common.ini", 3),
        "e": ("site/folder/10-x", 1),
        "f": None,
    }
    assert run.locations["sysctl:net.ipv4.tcp_rfc1337"] == Location(file="site/audit.yml", line=15)
    assert str(home) not in encode_run(run).decode()


def test_outside_of_a_repository_the_current_folder_counts_and_what_is_outside_of_that_is_absolute(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "alone").mkdir()
    (home / "other").write_text("b\n")
    monkeypatch.chdir(home / "alone")
    Path("hosts").write_text("a\n")
    assert places(run_of("hosts", "../other")) == {"a": ("hosts", 1), "b": (str(home / "other"), 1)}


def test_a_link_into_the_repository_is_inside_of_it(home: Path) -> None:
    Path("hosts").write_text("a\n")
    (home / "link").symlink_to(home / "repository" / "site")
    assert places(run_of(str(home / "link" / "hosts"))) == {"a": ("site/hosts", 1)}


def test_a_shipped_playbook_has_its_name_and_nothing_of_where_it_is_installed() -> None:
    Path("hosts").write_text("a\n")
    plan = build_plan(
        read_inventory(("hosts",), None),
        read_playbooks(()),
        HostSelection(),
        ConnectionOptions(),
        connects=False,
    )
    run = add_locations(AuditRun(run=made_of(()).run, scenarios=(), hosts=()), plan)
    assert {place.file for place in run.locations.values()} == {"playbooks/unread-close.yml"}


def test_a_run_and_a_report_of_it_later_have_the_same_locations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("hosts").write_text("\na ansible_host=127.0.0.1 ansible_port=1\n")
    Path("audit.yml").write_text(PLAYBOOK)
    assert (
        run_command_line(
            ["run", "hosts", "-p", "audit.yml", "--format", "sarif", "-o", "out", "--retries", "0"]
        )
        == 4
    )
    whole: dict[str, Any] = json.loads(Path("out/latest/run.json").read_text())
    assert whole["hosts"][0]["location"] == {"file": "site/hosts", "line": 2}
    assert whole["locations"]["scenario:mine"] == {"file": "site/audit.yml", "line": 6}
    capsys.readouterr()
    assert run_command_line(["report", "out/latest", "--format", "sarif"]) == 0
    later = read_sarif(capsys.readouterr().out)
    assert later == read_sarif(Path("out/latest/report.sarif").read_text())
    (note,) = later["invocations"][0]["toolExecutionNotifications"]
    place = note["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("site/hosts", 2)


def test_runs_put_together_keep_their_locations() -> None:
    from fleetaudit.app.merge import merge_runs

    Path("one").write_text("a\n")
    Path("two").write_text("\nb\n")
    joined = merge_runs([(Path("x"), run_of("one")), (Path("y"), run_of("two"))])
    assert places(joined) == {"a": ("site/one", 1), "b": ("site/two", 2)}
    assert joined.locations == run_of("one").locations
