"""Reference pages and man pages, made from the program itself, so that they are always current.

    python -m tools.reference FOLDER      writes one man page per command into FOLDER

`pages()` returns the Markdown of the reference pages: every command with its options (from click),
every playbook key (from the published JSON Schema), every step (from the step language). The site
(tools/site.py) adds them when it is built.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fleetaudit import __version__
from fleetaudit.cli import fleetaudit
from fleetaudit.playbook.phrases import PHRASES
from fleetaudit.playbook.steps import SOCKET_OPTIONS
from tools import kernel_table_page

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "fleetaudit" / "schema" / "playbook.schema.json"

RANGE = re.compile(r"([\d.]+)<=x<=([\d.]+)")
"""How click writes the range of a number."""


def pages() -> dict[str, str]:
    """Returns the Markdown of each generated page, by its path in the site."""
    return {
        "reference/commands.md": commands_page(),
        "reference/playbook-keys.md": playbook_page(json.loads(SCHEMA.read_text("utf-8"))),
        "reference/steps.md": steps_page(),
        "reference/kernel-builds.md": kernel_table_page.page(),
    }


# ---- commands


def walk(command: click.Command, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yields a context of a command and of every command below it."""
    settings = command.context_settings
    context = click.Context(command, info_name=command.name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from walk(below, context)


def usage_of(context: click.Context) -> str:
    """Returns the usage of a command on one line, without the word "Usage:"."""
    return " ".join(context.get_usage().removeprefix("Usage: ").split())


def options_of(context: click.Context) -> Iterator[tuple[str, str]]:
    """Yields each option of a command with its meaning, default and environment variable."""
    for option in context.command.get_params(context):
        record = option.get_help_record(context)
        if record is None or not isinstance(option, click.Option):
            continue
        names, meaning = record
        if option.envvar:
            meaning = f"{meaning}  [environment: {option.envvar}]"
        yield names, RANGE.sub(r"\1 to \2", " ".join(meaning.split()))


def paragraphs_of(command: click.Command) -> Iterator[tuple[str, bool]]:
    r"""Yields each paragraph of a help text, and whether it keeps its lines ("\b", as in click)."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        kept = paragraph.startswith("\b\n")
        yield paragraph.removeprefix("\b\n"), kept


def commands_page() -> str:
    """Returns the page of every command and option."""
    parts = [
        "# Commands and options",
        "`fleetaudit COMMAND --help` prints the same text. The environment variables are on"
        " [a page of their own](../environment.md).",
    ]
    for context in walk(fleetaudit):
        parts += [f"## {context.command_path}", *_command_parts(context)]
    return "\n\n".join(parts) + "\n"


def _command_parts(context: click.Context) -> Iterator[str]:
    """Yields the Markdown of one command: usage, help text, table of options."""
    yield f"```text\n{usage_of(context)}\n```"
    for text, kept in paragraphs_of(context.command):
        yield f"```text\n{text}\n```" if kept else text
    rows = [
        f"| <code>{_cell(names)}</code> | {_cell(meaning)} |"
        for names, meaning in options_of(context)
    ]
    yield "\n".join(["| option | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Returns a text as one cell of a Markdown table."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "&#124;")


# ---- keys of a playbook


def playbook_page(schema: dict[str, Any]) -> str:
    """Returns the page of every key of a playbook, a section per mapping of the schema."""
    parts = [
        "# Keys of a playbook",
        "A playbook is a list of plays. [Expectations](../playbooks.md) explains what the keys are"
        " for. Editors that know JSON Schema complete these keys:"
        " [playbook.schema.json](../schema/playbook.schema.json).",
    ]
    for name, one in schema["$defs"].items():
        parts += [f"## {_title(name)}", one.get("description", ""), _keys_table(one, schema)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _title(name: str) -> str:
    """Returns a definition's name as a heading: "ExposureRuleFile" is "Exposure rule"."""
    words = re.findall("[A-Z][a-z]+", name.removesuffix("File"))
    return " ".join(words).capitalize()


def _keys_table(one: dict[str, Any], schema: dict[str, Any]) -> str:
    required = one.get("required", [])
    rows = [
        f"| `{key}`{' (required)' if key in required else ''} | {_cell(_type(value))} |"
        f" {_cell(_description(value, schema))} |"
        for key, value in one["properties"].items()
    ]
    return "\n".join(["| key | value | meaning |", "|---|---|---|", *rows])


def _type(value: dict[str, Any]) -> str:
    """Returns the type of a value in a few words: "integer 1 to 20", "list of text"."""
    if "$ref" in value:
        return f"[{(title := _title(_target(value)))}](#{title.lower().replace(' ', '-')})"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(map(_type, value["anyOf"])))
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    return _plain_type(value)


def _plain_type(value: dict[str, Any]) -> str:
    kind = value.get("type", "any value")
    if kind == "array":
        return f"list of: {_type(value.get('items', {}))}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"mapping to: {_type(inner)}" if isinstance(inner, dict) else "mapping"
    if kind == "null":
        return "nothing"
    plain: str = {"string": "text", "boolean": "true or false"}.get(kind, kind)
    return plain + _range(value)


def _range(value: dict[str, Any]) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    if low is None and high is None:
        return ""
    return f" from {low} to {high}" if None not in (low, high) else f" (at least {low})"


def _target(value: dict[str, Any]) -> str:
    return str(value["$ref"]).rsplit("/", 1)[-1]


def _description(value: dict[str, Any], schema: dict[str, Any]) -> str:
    """Returns the description of a value, its own or that of its type, and its default."""
    texts = [value.get("description", "")]
    texts += [one.get("description", "") for one in value.get("anyOf", [])]
    if "$ref" in value:
        texts.append(schema["$defs"][_target(value)].get("description", ""))
    text = next(filter(None, texts), "")
    default = value.get("default")
    return (
        f"{text} Default: `{default}`."
        if default not in (None, "", [], {}) and (not isinstance(default, dict))
        else text
    )


# ---- steps


def steps_page() -> str:
    """Returns the page of every step and socket option of the step language."""
    rows = [f"| `{phrase.pattern}` |" for phrase in PHRASES]
    options = ", ".join(f"`{name}`" for name in sorted(SOCKET_OPTIONS))
    return "\n\n".join(
        [
            "# Steps",
            "Every step that a scenario may have, as the parser knows it. SIDE is `closer` or"
            " `peer`, N a number of bytes, TIME such as `50 ms`. [Scenarios and steps]"
            "(../scenarios.md) says what each step does.",
            "\n".join(["| step |", "|---|", *rows]),
            f"Socket options: {options}.\n",
        ]
    )


# ---- man pages


def man_pages() -> dict[str, str]:
    """Returns the man page of each command in man(7) macros, by file name ("fleetaudit-run.1")."""
    found = {}
    for context in walk(fleetaudit):
        found[f"{context.command_path.replace(' ', '-')}.1"] = _man_page(context)
    return found


def _man_page(context: click.Context) -> str:
    """Returns one man page: name, synopsis, description, options, commands, see also."""
    command, title = context.command, context.command_path.replace(" ", "-")
    summary = command.get_short_help_str(200).rstrip(".")
    lines = [
        f'.TH "{title.upper()}" "1" "" "fleetaudit {__version__}" "fleetaudit"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(summary)}",
        ".SH SYNOPSIS",
        f".B {_roff(usage_of(context))}",
        ".SH DESCRIPTION",
    ]
    for text, kept in paragraphs_of(command):
        lines += [".nf", *map(_roff, text.splitlines()), ".fi"] if kept else [".PP", _roff(text)]
    lines.append(".SH OPTIONS")
    for names, meaning in options_of(context):
        lines += [".TP", f".B {_roff(names)}", _roff(meaning)]
    return "\n".join([*lines, *_see_also(context)]) + "\n"


def _see_also(context: click.Context) -> list[str]:
    """Returns the sections that lead from one man page to the others."""
    if not isinstance(context.command, click.Group):
        return [".SH SEE ALSO", ".BR fleetaudit (1)"]
    title = context.command_path.replace(" ", "-")
    names = context.command.list_commands(context)
    return [".SH SEE ALSO", *(f".BR {_roff(f'{title}-{name}')} (1)" for name in names)]


def _roff(text: str) -> str:
    """Returns text that roff prints as it is: no line begins a request, a hyphen is a minus."""
    escaped = " ".join(text.split()) if "\n" in text else text
    escaped = escaped.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main(arguments: list[str]) -> int:
    """Writes the man pages into the folder that the command line names."""
    (folder,) = map(Path, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in man_pages().items():
        (folder / name).write_text(text, "utf-8")
    print(f"{folder}: {len(man_pages())} man pages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
