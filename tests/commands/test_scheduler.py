"""The number of forks is capped by the limit of open files."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def test_forks_are_capped_by_the_limit_of_open_files() -> None:
    program = textwrap.dedent("""
        import resource
        from fleetaudit.engine.control import limit_forks
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        print(limit_forks(1000), limit_forks(2))
    """)
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert 1 <= int(out[0]) < 64
    assert out[1] == "2"
