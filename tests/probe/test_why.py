"""The story of docs/why.md holds on this kernel: the chat server resets, and its cure does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT
from tests.support.probe_runs import in_new_network


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ((), "client fails: Connection reset by peer"),
        (("--cure",), "client reads the end of file"),
    ],
)
def test_the_chat_server_ends_as_the_page_tells(options: tuple[str, ...], last: str) -> None:
    program = str(ROOT / "docs" / "why" / "chat_server.py")
    command = [*in_new_network(), sys.executable, program, *options]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == ["server reads b'!'", r"client reads b'goodbye\n'", last]
    assert last in (ROOT / "docs" / "why.md").read_text("utf-8")
