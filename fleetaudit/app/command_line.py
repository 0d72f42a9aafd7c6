"""The command that the user typed, with some options replaced, to be typed again.

Rules: every line that is printed can be pasted. Options from a configuration or the environment are
not repeated: they apply again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
from click.core import ParameterSource

from fleetaudit.cli.connection_options import PAIRS

NOT_REPEATED = frozenset(
    (
        "limit",
        "resume",
        "shard",
        "quiet",
        "verbose",
        "cron",
        "notify",
        "report_url",
        "keep",
        "run_deadline",
        "check",
    )
)
"""Options that concern one run rather than how a host is reached, or that name other hosts."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One command line: its `verb`, inventories, and options as (name, words). `folder` is the
    folder to type it in, "" for the current one; `names` maps an option as written to its name.
    """

    verb: str
    sources: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]
    names: Mapping[str, str]
    folder: str = ""

    def line(self, limit: str | None = None, *, verb: str | None = None) -> str:
        """Returns the line for a shell, for the hosts of `limit` or for all."""
        return self._line(verb or self.verb, ("-l", limit) if limit else (), frozenset())

    def for_host(self, host: str, options: Sequence[str]) -> str:
        """Returns the line for one host, with `options` before the typed ones. It is an
        `engine.Again`.
        """
        limit = () if "-l" in options else ("-l", host)
        replaced = {self.names[word] for word in options if word in self.names}
        for pair in PAIRS:
            replaced |= set(pair) if replaced & set(pair) else set()
        return self._line(self.verb, (*limit, *options), replaced)

    def _line(self, verb: str, more: Sequence[str], replaced: frozenset[str] | set[str]) -> str:
        options = [
            *(word for name, words in self.options if name not in replaced for word in words),
            *more,
        ]
        first, last = self.sources, tuple[str, ...]()
        if any(
            source.startswith("-") for source in self.sources
        ):  # a name that looks like an option
            first, last = (), ("--", *self.sources)
        line = shlex.join(("fleetaudit", verb, *first, *options, *last))
        return f"cd {shlex.quote(self.folder)} && {line}" if self.folder else line


def command_line_of(
    context: click.Context,
    sources: Sequence[str],
    options: Mapping[str, object],
    *,
    folder: str = "",
) -> CommandLine:
    """Returns the command of the context, with its `options` in force."""
    names = {
        opt: parameter.name or "" for parameter in context.command.params for opt in parameter.opts
    }
    return CommandLine(
        str(context.info_name), tuple(sources), tuple(_repeated(context, options)), names, folder
    )


def _repeated(
    context: click.Context, options: Mapping[str, object]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in options or name in NOT_REPEATED or not isinstance(parameter, click.Option):
            continue
        of_environment = context.get_parameter_source(name) is ParameterSource.ENVIRONMENT
        value = options[name]
        unset = value is None or value is False or value == ()  # and 0 is a number
        if unset or of_environment or value == parameter.get_default(context):
            continue
        yield name, tuple(_words(max(parameter.opts, key=len), value))


def _words(option: str, value: object) -> Iterator[str]:
    if value is True:
        yield option
        return
    for one in value if isinstance(value, tuple) else (value,):
        yield option
        yield f"{one:g}" if isinstance(one, float) else str(one)
