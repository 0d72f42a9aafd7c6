"""Hosts that fail equally are one cause everywhere, and the next command can be pasted."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec

import fleetaudit
from fleetaudit.analysis.causes import (
    HOST_PLACEHOLDER,
    cause_title,
    group_by_cause,
    is_command,
)
from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.errors import FailureKind, rerun_hint, rerun_options
from fleetaudit.model import NotAudited
from fleetaudit.report.html import render
from fleetaudit.report.terminal import summary
from fleetaudit.store.run_file import encode_run, read_run
from tests.support import sources
from tests.support.runs import run_of, small_fleet

SOURCES = sorted(Path(fleetaudit.__file__).parent.rglob("*.py"))


def refusing(n: int, **more: str) -> NotAudited:
    host = NotAudited(
        name=f"srv{n:03}",
        stage="connect",
        reason=f"198.51.100.{n} port 22: connection refused",
        hint=f"ssh 198.51.100.{n} true",
        kind="connection refused",
    )
    return msgspec.structs.replace(host, **more)


def test_addresses_are_details_of_the_cause_on_page_and_terminal() -> None:
    comparison = compare(run_of([refusing(n) for n in range(2, 62)]))
    (cause,) = comparison.causes
    assert cause.title == "connect: connection refused"
    assert cause.hosts.ranges == ("srv[002-061]",)
    assert len(cause.details) + cause.undetailed == 60
    assert cause.details[0].reason == "198.51.100.2 port 22: connection refused"
    page = render(comparison, generated="")
    assert page.count("<h3><bdi>connect: connection refused</bdi>") == 1
    assert "srv[002-061]" in page
    text = summary(comparison)
    assert "  connect: connection refused: 60 hosts srv[002-061]\n" in text
    assert "198.51.100.3" not in text


def test_a_failing_jump_host_is_another_cause_than_hosts_that_fail_equally() -> None:
    behind = [
        refusing(n, at="jump host gate", reason=f"jump host gate: {n}: refused") for n in (7, 8)
    ]
    causes, anchors = group_by_cause([refusing(2), *behind])
    assert [c.title for c in causes] == [
        "connect: connection refused",
        "connect: connection refused (jump host gate)",
    ]
    assert causes[1].hosts.ranges == ("srv[007-008]",)
    assert anchors == {"srv002": "cause-1", "srv007": "cause-2", "srv008": "cause-2"}


def test_a_run_of_an_earlier_version_is_grouped_by_its_text(tmp_path: Path) -> None:
    old = [refusing(n, kind="", reason=f"srv{n:03}: no answer") for n in (2, 3)] + [
        refusing(4, kind="", reason="gone")
    ]
    causes, _ = group_by_cause(old)
    assert [(c.title, c.hosts.count, c.details) for c in causes] == [
        (f"connect: {HOST_PLACEHOLDER}: no answer", 2, ()),
        ("connect: gone", 1, ()),
    ]
    stored = json.loads(encode_run(run_of(old)))
    for host in stored["hosts"]:
        del host["kind"], host["at"]
    (tmp_path / "run.json").write_text(json.dumps(stored))
    assert compare(read_run(tmp_path)).causes == causes


def test_another_address_is_not_a_change_and_another_kind_is() -> None:
    before, after = (
        run_of([refusing(2)]),
        run_of([refusing(2, reason="198.51.100.9 port 22: connection refused")]),
    )
    assert compute_drift(before, after).is_unchanged
    (change,) = compute_drift(before, run_of([refusing(2, kind="timed out")])).changes
    assert (change.before, change.after) == (
        "not audited: connect: connection refused",
        "not audited: connect: timed out",
    )


def test_many_newly_lost_hosts_are_one_row_of_the_changes() -> None:
    well = small_fleet().hosts[:1]
    audited = [msgspec.structs.replace(well[0], name=f"srv{n:03}") for n in range(2, 62)]
    drift = compute_drift(run_of(audited), run_of([refusing(n) for n in range(2, 62)]))
    changes = compare(run_of([refusing(n) for n in range(2, 62)]), drift).changes
    assert changes is not None
    assert [(row.effect, row.hosts.count) for row in changes.rows] == [("newly not audited", 60)]


def test_the_documentation_names_every_kind() -> None:
    text = (Path(fleetaudit.__file__).parent.parent / "docs" / "formats.md").read_text("utf-8")
    section = text.partition("## Why hosts were not audited")[2].partition("\n## ")[0]
    named = {
        word
        for line in section.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`(.+?)`", line)
    }
    assert named == set(get_args(FailureKind)) - {""}


def test_no_name_of_a_kind_depends_on_the_host() -> None:
    for kind in get_args(FailureKind):
        assert re.fullmatch(r"[A-Za-z_ ]*", kind)
        assert len(kind) <= 30


# ---- next commands -------------------------------------------------------------------------------


def test_a_repeated_option_replaces_the_one_that_was_typed() -> None:
    from fleetaudit.app.command_line import CommandLine

    options = (
        ("connection_password_file", ("--connection-password-file", "p")),
        ("host_key_policy", ("--host-key-policy", "off")),
        ("user", ("--user", "root")),
    )
    names = {"-k": "ask_pass", "--host-key-policy": "host_key_policy"}
    command = CommandLine("run", ("inv.yml",), options, names, "/srv/a b")
    assert (
        command.for_host("h", ("-k",))
        == "cd '/srv/a b' && fleetaudit run inv.yml --host-key-policy off --user root -l h -k"
    )
    assert command.for_host("h", ("--host-key-policy", "accept-new")).endswith(
        "run inv.yml --connection-password-file p --user root -l h --host-key-policy accept-new"
    )


def test_a_hint_to_repeat_differs_from_other_hints() -> None:
    assert rerun_options(rerun_hint("-l", "a b")) == ("-l", "a b")
    assert rerun_options("fleetaudit run inventory.yml") == ()
    assert rerun_options("ssh web1 true") == ()


def test_no_command_in_a_message_has_an_ellipsis() -> None:
    """Such a line cannot be pasted; `rerun_hint` makes whole ones."""
    command = re.compile(
        r"\b(?:fleetaudit|ssh|sudo|ssh-[a-z]+|ansible-inventory|file|cat|ls)(?:"
        r" |$)[^.;\n]*(?:…|\.\.\.)"
    )
    for path in SOURCES:
        cut = [text for text in texts(path) if "…" in text or "..." in text]
        assert not [text for text in cut if command.search(text)], path


def test_a_hint_with_a_command_is_only_the_command() -> None:
    """What follows a semicolon is run as well; advice stands behind a # or is a sentence of its
    own.
    """
    for path in SOURCES:
        for text in filter(is_command, hints(path)):
            parts = re.split(r"; | && | \|\|? ", text.partition("  #")[0])
            assert all(is_command(part) or part.startswith("X") for part in parts), (path, text)


def hints(path: Path) -> Iterator[str]:
    """Yields the next commands and sentences that a file gives to its errors."""
    for node in ast.walk(sources.syntax_tree(path)):
        if isinstance(node, ast.keyword) and node.arg in ("hint", "there", "here"):
            yield from (
                shown(part)
                for part in ast.walk(node.value)
                if isinstance(part, ast.JoinedStr | ast.Constant)
            )


def shown(node: ast.expr) -> str:
    """Returns a string of the source, with X where an f-string has a value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
        )
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_no_command_on_the_page_or_in_the_documentation_has_an_ellipsis() -> None:
    root = Path(fleetaudit.__file__).parent
    pages = [
        *root.glob("report/templates/*"),
        root.parent / "README.md",
        *(root.parent / "docs").glob("*.md"),
    ]
    for path in pages:
        lines = path.read_text("utf-8").splitlines()
        assert not [
            line for line in lines if re.search(r"fleetaudit [a-z]+ [^`#]*(?:…|\.\.\.)", line)
        ], path.name


def texts(path: Path) -> Iterator[str]:
    """Yields what a file may print: its strings but the docstrings, f-strings with X where a value
    goes.
    """
    tree = sources.syntax_tree(path)
    silent = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield shown(node)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent | inside
        ):
            yield node.value


def test_a_sentence_is_not_a_command_and_the_title_has_the_reason_if_there_is_no_kind() -> None:
    assert is_command("ssh -p 22 web1 true")
    assert is_command("/usr/bin/ssh web1 true")
    assert not is_command("install python3 (python3-minimal will do) on the host, then run again")
    assert not is_command("give it more memory (kernel_memory: 256)")
    assert is_command("sysctl -w net.ipv4.tcp_fin_timeout=60")
    assert is_command("apt-get install linux-image-amd64")
    assert not is_command("ask the net team")
    assert cause_title(refusing(2, kind="")) == "connect: 198.51.100.2 port 22: connection refused"
