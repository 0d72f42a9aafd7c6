"""The page does not depend on the order of hashes."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import ROOT


def test_the_page_does_not_depend_on_the_order_of_hashes() -> None:
    program = (
        "import hashlib\n"
        "from tests.support.browser import page_of\n"
        "from tests.support.runs import small_fleet\n"
        "print(hashlib.sha256(page_of(small_fleet()).encode()).hexdigest())"
    )
    digests = set[bytes]()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, check=True
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
