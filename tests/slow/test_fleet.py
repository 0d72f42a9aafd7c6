"""`bench/fleet` runs: two hundred hosts answer every client, and none is lost. Its times are no
part of this test.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.fleet.namespace import PROGRAMS, namespace_command
from bench.fleet.round_trips import missing
from tests import ROOT
from tests.support.sshd import require

CLIENTS = "floor,loop,threads,one,default,openssh"
SECONDS = 800


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    """Runs the bench; skips the test where it cannot have a network namespace."""
    require(*PROGRAMS)
    if subprocess.run([*namespace_command(), "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    words = [sys.executable, "-m", "bench.fleet", "--rounds", "1", "--json", *options]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)


def test_two_hundred_hosts_answer_every_client() -> None:
    done = bench("--hosts", "200", "--only", CLIENTS)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["hosts"] == 200
    figures = found["contestants"]
    assert len(figures) == len(CLIENTS.split(","))
    for title, row in figures.items():
        assert row["lost"] == 0, title
        assert row["cpu_ms_a_host"] > 0, title
        assert row["pss_mib"] > 0, title
        assert row["ratio"] > 0, title


def test_the_round_trips_of_one_host_are_counted() -> None:
    if problem := missing():
        pytest.skip(problem)
    done = bench("--hosts", "2", "--round-trips", "--only", "floor,one")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    # A connection, versions and keys, the login, a channel, the command and its reply.
    assert len(counts) == 2
    assert all(5 <= count < 30 for count in counts.values()), counts


def test_a_fleetaudit_that_audits_nothing_is_not_measured() -> None:
    done = bench("--hosts", "2", "--only", "one", "--fleetaudit", "true")
    assert done.returncode == 1
    assert "the probe could not be recorded" in done.stderr
