"""The README promises only what is there: commands, options, targets, files, and a playbook that
parses.
"""

from __future__ import annotations

import re
import shlex
import textwrap

import click
import pytest

from fleetaudit import errors
from fleetaudit.cli import fleetaudit
from fleetaudit.playbook import parse_playbook
from tests import ROOT
from tools import reference

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [
    textwrap.dedent(b).strip() for b in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", README, re.M)
]
COMMANDS = sorted(
    {
        line.split("#")[0].split("|")[0].strip()
        for b in BLOCKS
        for line in b.splitlines()
        if line.startswith("fleetaudit ")
    }
)


def parse_command(line: str) -> click.Context:
    """Returns the context of a command line as click parses it; raises `click.UsageError` as click
    does.
    """
    program, *arguments = shlex.split(line)
    assert program == "fleetaudit"
    context, name = click.Context(fleetaudit), None
    command: click.Command = fleetaudit
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
    return command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_parses(line: str) -> None:
    assert parse_command(line)


@pytest.mark.parametrize(
    "line",
    [
        "fleetaudit nonsense",
        "fleetaudit run inventory.yml --nonsense",
        "fleetaudit run inventory.yml --forks many",
        "fleetaudit diff ONE",
        "fleetaudit diff ONE TWO THREE",
        "fleetaudit explain latest",
        "fleetaudit policy nonsense RUN HOST",
    ],
)
def test_a_command_that_does_not_parse_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse_command(line)


def test_every_verb_has_a_help_text_and_is_in_the_readme() -> None:
    for verb, command in fleetaudit.commands.items():
        assert command.help, verb
        assert re.search(rf"\b{verb}\b", README), f"the README does not name {verb}"


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_linked_file_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    documents += (ROOT / "docs").rglob("*.md")
    generated = {(ROOT / "docs" / path).resolve() for path in reference.pages()}
    for document in documents:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
            target = (document.parent / link).resolve()
            assert target.exists() or target in generated, f"{document.name} links to {link}"


def test_every_file_that_the_readme_names_exists() -> None:
    names = set(re.findall(r"`((?:docs|fleetaudit|playbooks|requirements)/[\w./-]+)`", README))
    assert len(names) > 15
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_readmes_playbook_parses() -> None:
    (text,) = [b for b in BLOCKS if b.startswith("- name:")]
    assert parse_playbook(text, source="README.md").plays[0].scenarios


def test_the_readmes_exit_statuses_are_those_of_the_errors() -> None:
    table = {
        int(n) for row in re.findall(r"^\| ([0-9, ]+) \|", README, re.M) for n in row.split(",")
    }
    own = {
        e.exit_status
        for e in vars(errors).values()
        if isinstance(e, type) and issubclass(e, errors.FleetauditError)
    }
    assert own - {errors.FleetauditError.exit_status} <= table
