"""Ten thousand hosts pass in bounded memory and threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests import ROOT


def test_ten_thousand_hosts_pass_in_bounded_memory_and_threads() -> None:
    """In a process of its own, whose peak memory is its own."""
    program = textwrap.dedent("""
        import resource, threading
        from tests.unit.engine.test_scheduler import (
            FakeTransport, host_plan, plan_of, reply, unchanged
        )
        from fleetaudit.engine import EngineSettings, audit
        big = reply()
        behave = lambda target, attempt, deadline: big
        names = [f"web{n:05d}" for n in range(10_000)]
        plan = plan_of(*names)
        most_threads = 0
        def came(result):
            global most_threads
            most_threads = max(most_threads, threading.active_count())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fake = FakeTransport(dict.fromkeys(names, behave))
        outcome = audit(plan, run_command=fake.run, settings=EngineSettings(forks=64),
                        judge=unchanged, on_result=came)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert [result.name for result in outcome.results] == names
        print(after - before, most_threads)
    """)
    root = ROOT
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    ).stdout
    grown_kib, most_threads = map(int, out.split())
    assert grown_kib < 100 * 1024
    assert most_threads <= 66
