"""Some seconds of coverage-guided fuzzing of each target find nothing.

The inputs are the same each time, so that a test that passed passes again; `make fuzz` runs longer
and tries others each time.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from .__main__ import fuzz_target
from .harness import target_names

SECONDS = 3
SEED = 1


@pytest.mark.parametrize("name", target_names())
def test_some_seconds_of_fuzzing_find_nothing(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        if os.environ.get("CI") and sys.version_info < (3, 14):
            pytest.fail("atheris is missing")
        pytest.skip("atheris has no wheel for this Python or machine")
    row = fuzz_target(name, SECONDS, tmp_path, SEED)
    assert not row.problem
    assert row.executions > 10
    assert not [p.read_text() for p in (tmp_path / "finds" / name).glob("*.txt")]
    assert not row.finds
