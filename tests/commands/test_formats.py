"""promtool accepts the metrics that a run writes."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from fleetaudit.report import prometheus
from tests.unit.report.test_formats import RUN


def test_promtool_finds_nothing_to_say_about_the_metrics() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: it is in the Debian package prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=prometheus.render(RUN).encode(),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
