"""`fleetaudit services` on this machine, against real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.support import servers

NAMES = ("HAProxy 2.6", "HAProxy 3.0", "nginx")
PLAY = """- name: front doors
  hosts: all
  services:
"""
SERVICE = """    - name: {name}
      url: http://127.0.0.1:{port}/
      checks: [early answer]
      writings: ["send all, then read"]
      early_answer: {{status: 413}}
"""


def test_the_servers_that_lose_their_answers_are_named(tmp_path: Path) -> None:
    playbook, out = tmp_path / "services.yml", tmp_path / "out"
    command = [sys.executable, "-m", "fleetaudit", "services", "localhost,", "-p", str(playbook)]
    with ExitStack() as stack:
        text = PLAY
        for name in NAMES:
            try:
                port = stack.enter_context(servers.running(name))
            except servers.NoServersError as e:
                servers.skip_without(name, e)
            text += SERVICE.format(name=name, port=port)
        playbook.write_text(text)
        done = subprocess.run(
            [*command, "-o", str(out)], capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 2, done.stdout + done.stderr
    (run,) = out.glob("2*/run.json")
    (host,) = json.loads(run.read_text())["hosts"]
    found = {each["name"]: each["checks"][0]["tries"] for each in host["services"]}
    assert list(found) == list(NAMES)
    statuses = {name: [(t["count"], t["status"]) for t in tries] for name, tries in found.items()}
    assert sum(count for count, status in statuses["HAProxy 2.6"] if status == 0) == 4
    assert statuses["HAProxy 3.0"] == statuses["nginx"] == [(4, 413)]
    findings = [each["id"] for each in host["findings"] if each["id"].startswith("service:")]
    assert findings == ["service:HAProxy 2.6/early answer"]
    assert "HAProxy 3.0" in done.stdout  # the cure
