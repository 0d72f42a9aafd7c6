"""Prometheus itself evaluates every expression of docs/grafana.json on the metrics of a run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from fleetaudit.report import prometheus
from fleetaudit.report.common import job_of
from tests.unit.report.test_formats import compared
from tests.unit.report.test_grafana import expressions


def test_every_expression_finds_something(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("no promtool: it is in the Debian package prometheus")
        pytest.skip("no promtool: it is in the Debian package prometheus")
    run = compared()
    lines = [line for line in prometheus.render(run).splitlines() if not line.startswith("#")]
    samples = [re.fullmatch(r"(\S.*\}) (\S+)", line) for line in lines]
    tests = [
        {
            "expr": f"count({expression.replace('$job', job_of(run))}) > bool 0",
            "eval_time": "1m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for _, expression in expressions()
    ]
    (tmp_path / "rules.yml").write_text("groups: []\n")
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": ["rules.yml"],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [
                            {"series": found[1], "values": f"{found[2]}+0x5"}
                            for found in samples
                            if found
                        ],
                        "promql_expr_test": tests,
                    }
                ],
            }
        )
    )
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(tests) >= 20
