"""Every parser of fleetaudit, and where any input at all is tried on it.

    python -m tests.fuzz.parsers

prints the table: a parser, and the harness whose seeds reach it, or why none does. A parser is a
public function whose name says so (`NAMES`); a harness covers it if it runs for one of the seeds,
which is measured.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from .harness import load_target, target_names

PACKAGE = Path(__file__).parents[2] / "fleetaudit"
NAMES = re.compile(r"(parse|read|load|decode|split|unpack|convert)_")
"""What the name of a parser begins with."""
Parser = str
"""A parser as file:function, such as `probe/protocol.py:decode_reply`."""

THROUGH: dict[Parser, Parser] = {
    "app/api.py:load_inventory": "inventory/sources.py:load_inventory",
    "app/api.py:load_playbook": "playbook/__init__.py:parse_playbook",
    "app/api.py:load_run": "store/run_file.py:read_run",
    "app/baseline.py:read_waivers": "analysis/waivers.py:parse_waivers",
    "app/history.py:read_histories": "store/outline.py:read_outline",
    "app/history.py:read_history": "store/outline.py:read_outline",
    "app/planning.py:read_inventory": "inventory/sources.py:load_inventory",
    "app/planning.py:read_playbooks": "playbook/__init__.py:parse_playbook",
    "inventory/script.py:read_script": "inventory/listing.py:read_listing",
    "inventory/listing.py:read_variables_from": "inventory/listing.py:read_listing",
    "playbook/__init__.py:load_playbook": "playbook/__init__.py:parse_playbook",
    "probe/remote/watch_tracefs.py:read_format": "probe/remote/watch_format.py:__init__",
    "store/bisection_state.py:read_state": "store/bisection_state.py:decode_state",
    "store/latest.py:read_latest": "store/run_file.py:read_info",
    "store/run_file.py:read_info_in": "store/run_file.py:read_info",
    "store/run_folder.py:read_plan": "store/manifest.py:decode_manifest",
    "store/run_folder.py:read_results": "store/journal.py:read_journal",
    "transport/kernel/image.py:load_image": "transport/kernel/image.py:parse_image",
}
"""Parsers that read a file and leave the rest to another one, which a harness reaches."""

_OWN = "its input is ours"
_BYTES = "reads a socket and looks at the count of bytes only"
_KERNEL = "passes the text of a file of /proc/sys on, bounded"
NOT_PARSERS: dict[Parser, str] = {
    "analysis/kernel_table/model.py:decode_table": _OWN,
    "app/reply_files.py:split_runs_and_replies": "sorts paths",
    "cli/options.py:read_options": "takes what click parsed",
    "probe/remote/reading.py:read_all": _BYTES,
    "probe/remote/reading.py:read_some": _BYTES,
    "probe/remote/reading.py:read_to_end": _BYTES,
    "probe/remote/reading.py:read_urgent": _BYTES,
    "probe/remote/reading.py:read_waitall": _BYTES,
    "probe/remote/witnesses.py:read_rest": _BYTES,
    "probe/remote/sysctl_copy.py:read_defaults": _KERNEL,
    "probe/remote/sysctls.py:read_sysctl": _KERNEL,
    "probe/remote/sysctls.py:read_sysctls": _KERNEL,
    "probe/remote/system.py:load_libc": "loads a library",
    "probe/unpacking/unpack.py:decode_base64": _OWN,
    "report/template_cache.py:load_bytecode": "Jinja2's own bytecode, of a folder that is checked",
    "transport/program_start.py:read_deadline": "returns a moment",
    "transport/ssh/key_files.py:read_key_files": "its private parts are called by a harness",
}
"""Functions with such a name that parse nothing of anybody else, and why."""


def parsers() -> Iterator[Parser]:
    """Yields every function with the name of a parser, methods too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        file = path.relative_to(PACKAGE)
        functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
        names = {f.name for f in functions if NAMES.match(f.name)}
        yield from (f"{file}:{name}" for name in sorted(names))


def reached(target: str) -> set[Parser]:
    """Returns the functions of fleetaudit that run for the seeds of a target."""
    harness = load_target(target)
    found = set[Parser]()
    files = dict[str, str]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        name = frame.f_code.co_filename
        if name not in files:
            files[name] = name.rpartition("/fleetaudit/")[2] if str(PACKAGE) in name else ""
        if files[name]:
            found.add(f"{files[name]}:{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for seed in harness.seeds():
            harness.TestOneInput(seed)
    finally:
        sys.setprofile(before)
    return found


@functools.cache
def by_harness() -> dict[Parser, str]:
    """Returns the first harness that reaches each function."""
    found = dict[Parser, str]()
    for target in target_names():
        for name in reached(target):
            found.setdefault(name, target)
    return found


def table() -> dict[Parser, str]:
    """Returns where each parser is covered, "" if it is not."""
    harnesses = by_harness()
    through = {name: harnesses.get(other, "") for name, other in THROUGH.items()}
    elsewhere = {**NOT_PARSERS, **through}
    return {name: harnesses.get(name) or elsewhere.get(name, "") for name in parsers()}


def main() -> int:
    """Prints the table; the exit status is 1 if a parser is covered nowhere."""
    rows = table()
    for name, where in rows.items():
        print(f"{name:<62} {where or 'NOT COVERED'}")
    return int(not all(rows.values()))


if __name__ == "__main__":
    sys.exit(main())
