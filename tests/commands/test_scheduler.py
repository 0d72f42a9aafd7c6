"""How many hosts run at once is bounded by the hard limit of open files; the soft one is raised."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests import ROOT


def output_of(program: str) -> list[str]:
    """Returns the words that a program prints: in a process of its own, whose limits it sets."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()


def test_forks_are_capped_by_the_limit_of_open_files() -> None:
    out = output_of("""
        import resource
        from fleetaudit.engine.forks import choose_forks
        from tests.unit.engine.test_scheduler import plan_of
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        plan = plan_of("a")
        print(choose_forks(1000, plan).total, choose_forks(2, plan).total)
        print(choose_forks(None, plan).total)
    """)
    assert 1 <= int(out[0]) < 64
    assert out[1] == "2"
    assert out[2] == out[0]


def test_the_soft_limit_of_open_files_is_raised_for_the_audit_and_no_further_than_needed() -> None:
    out = output_of("""
        import resource
        from fleetaudit.engine import EngineSettings, audit
        from tests.unit.engine.test_scheduler import FakeTransport, plan_of, unchanged
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 10_000))
        fake, seen = FakeTransport(), []
        limits = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)
        audit(plan_of("a"), run_command=fake.run, settings=EngineSettings(forks=100),
              judge=unchanged, on_result=lambda result: print(*limits()))
        print(*limits())
    """)
    soft, hard, *after = map(int, out)
    assert 800 <= soft < 2000
    assert hard == 10_000
    assert after == [64, 10_000]
