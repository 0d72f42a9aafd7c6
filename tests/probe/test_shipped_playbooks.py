"""The shipped playbooks, run on this machine."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest

from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import Audited, Sysctl
from fleetaudit.store.run_file import read_run
from tests.unit.playbook.test_shipped_playbooks import NAMES, plan_of, play_of


def test_a_host_with_the_kernels_own_defaults_meets_the_baseline() -> None:
    """Those that a new namespace of this kernel has, and the documented ones of sysctls whose
    default a namespace does not show.
    """
    host = ran("tcp-sysctls")
    if host.isolation != "namespace":
        pytest.skip(f"no private network namespace, so no defaults: {' '.join(host.notes)}")
    defaults = {
        key: Sysctl(value=s.default, default=s.default)
        for key, s in host.sysctls.items()
        if s.default
    }
    documented = {
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
        "net.ipv4.tcp_wmem": "4096 16384 4194304",
    }
    values = defaults | {key: Sysctl(value=value) for key, value in documented.items()}
    assert (
        judge_host(msgspec.structs.replace(host, sysctls=values), plan_of("tcp-sysctls")).findings
        == ()
    )


@cache
def ran(*names: str) -> Audited:
    """This machine, audited by the command with these playbooks."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        books = [word for name in names for word in ("-p", name)]
        command = [
            sys.executable,
            "-m",
            "fleetaudit",
            "run",
            "localhost,",
            *books,
            "-o",
            folder,
            "--format",
            "json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode in (0, 2), done.stdout + done.stderr
        (host,) = read_run(Path(folder) / "latest").hosts
    assert isinstance(host, Audited)
    assert (done.returncode == 2) is any(f.severity in ("warning", "error") for f in host.findings)
    return host


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_this_machine_and_what_it_wants_is_judged(name: str) -> None:
    host, play = ran(name), play_of(name)
    assert not host.void
    assert {o.scenario for o in host.observations} == {s.name for s in play.scenarios}
    wanted = {f"sysctl:{key}" for key in play.sysctls_expect} | {
        f"exposure:{n}" for n in play.exposure_expect
    }
    judged = {id_ for id_ in host.expectations if not id_.startswith("kernel:")}
    applying = {id_ for id_ in wanted if id_ not in judged}
    assert judged <= wanted
    assert all(
        any(r.when.kernel for r in play.sysctls_expect[i.removeprefix("sysctl:")]) for i in applying
    )
    unfounded = [f.id for f in host.findings if not f.id.startswith(("exposure:", "sysctl:"))]
    differing = {s.name for s in play.scenarios if s.severity == "info"} | {
        "reread-fin-close",
        "urgent-reread-fin-close",
    }
    assert [
        id_ for id_ in unfounded if id_.partition(":")[2].partition("/")[0] not in differing
    ] == []


def test_strict_compares_the_hosts_of_a_build_on_this_machine_too() -> None:
    host = ran("strict")
    told = {
        f"kernel:same-ending:{o.scenario}/{o.family}"
        for o in host.observations
        if o.ending not in ("not run", "inconclusive", "sent, not delivered")
    }
    assert {id_ for id_ in host.expectations if id_.startswith("kernel:")} == told
    assert not [f for f in host.findings if f.id.startswith("kernel:")], (
        "one host differs from no other"
    )
