"""Source locations of hosts from programs and from names that are not UTF-8."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.commands import Workspace
from tests.support.stored_runs import as_killed
from tests.unit.app.test_source_locations import home, places, run_of

__all__ = ["home"]


def test_names_that_are_no_utf_8_cost_no_run(tmp_path: Path) -> None:
    here = tmp_path / os.fsdecode(b"h\xff")
    (here / "fleet").mkdir(parents=True)
    inventory, playbook = os.fsdecode(b"fleet/i\xff.ini"), os.fsdecode(b"p\xff.yml")
    place = Workspace(here)
    place.write(inventory, "a1 ansible_connection=local\n")
    place.write(playbook, (here / "quick.yml").read_text())
    formats = ("--format", "html,json,junit,csv,sarif,prometheus,text")
    for sources in ("fleet", inventory):
        words = ("run", sources, "-p", playbook, "-e", os.fsdecode(b"x=\xff"), *formats)
        for more in ((), ("--cron", "--notify", "cat")):
            done = place.run(*words, *more)
            assert done.returncode == 0, done.stderr
    found = json.loads(place.run("runs", "--format", "json").stdout)
    assert [run["hosts"]["audited"] for run in found["runs"]] == [1, 1, 1, 1]
    assert len({run["job"] for run in found["runs"]}) == 2
    assert place.run("schedule", inventory, "-p", playbook).returncode == 64
    run, *_ = place.runs()
    as_killed(run, 1)
    assert place.run("runs").returncode == 0
    away = Workspace(tmp_path)
    done = away.run("run", "--resume", run)
    assert (done.returncode, "the run began in " in done.stderr) == (65, True), done.stderr


def test_a_program_is_the_file_of_its_hosts() -> None:
    Path("hosts.sh").write_text(
        '#!/bin/sh\necho \'{"_meta": {"hostvars": {}},\n\n"web": ["a"]}\'\n'
    )
    Path("hosts.sh").chmod(0o700)
    assert places(run_of("hosts.sh")) == {"a": ("site/hosts.sh", 1)}
