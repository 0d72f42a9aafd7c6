"""The command that the user typed, with some options replaced, to be typed again. Pure.

Rules: every line that is printed can be pasted. Options from a configuration or the environment are
not repeated: they apply again.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from .options import CommandOptions, Option

PASSWORD_OPTIONS = (
    ("ask_pass", "connection_password_file"),
    ("ask_become_pass", "become_password_file"),
)
"""For each password the option that prompts for it, and the option that names a file with it."""
NOT_REPEATED = frozenset(
    (
        "limit",
        "resume",
        "shard",
        "serial",
        "max_fail_percentage",
        "quiet",
        "verbose",
        "cron",
        "notify",
        "report_url",
        "publish",
        "publish_mode",
        "keep",
        "run_deadline",
        "check",
    )
)
"""Options that concern one run rather than how a host is reached, or that select other hosts."""


class CommandLine(msgspec.Struct, frozen=True):
    """One command line: its `verb`, inventories, and options as (name, arguments).

    `names` maps an option as typed to its name. `folder` is the folder to type it in, "" for the
    current one.
    """

    verb: str
    sources: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    names: Mapping[str, str] | None = None
    folder: str = ""

    def line(self, limit: str | None = None, *, verb: str | None = None) -> str:
        """Returns the line for a shell, for the hosts of `limit` or for all.

        `verb` replaces the command: "run" takes the connection options of "doctor", too.
        """
        more: tuple[str, ...] = ()
        if limit:
            more = ("-l", limit)
        return self._line(verb or self.verb, more, frozenset())

    def for_host(self, host: str, options: Sequence[str]) -> str:
        """Returns the line for one host, with `options` before the typed ones.

        Each of `options` replaces the typed one of the same name, and an option for a password
        replaces both sources of that password. It is an `engine.RepeatCommand`.
        """
        limit = () if "-l" in options else ("-l", host)
        return self.with_options((*limit, *options))

    def with_options(self, options: Sequence[str]) -> str:
        """Returns the line with `options`, which replace typed ones as in `for_host`."""
        names = self.names or {}
        replaced = frozenset(names[word] for word in options if word in names)
        pairs = [pair for pair in PASSWORD_OPTIONS if not replaced.isdisjoint(pair)]
        return self._line(self.verb, options, replaced.union(*pairs))

    def _line(self, verb: str, more: Sequence[str], replaced: frozenset[str]) -> str:
        """Returns the line without the `replaced` options, and with `more` arguments."""
        kept = (words for name, words in self.options if name not in replaced)
        options = [*itertools.chain.from_iterable(kept), *more]
        sources = source_arguments(self.sources)
        words = (*sources, *options)
        if sources[:1] == ("--",):
            words = (*options, *sources)
        line = shlex.join(("fleetaudit", verb, *words))
        if self.folder:
            return f"cd {shlex.quote(self.folder)} && {line}"
        return line


def source_arguments(sources: Sequence[str]) -> tuple[str, ...]:
    """Returns inventories as arguments of a command line.

    They follow "--", and so have to be its last arguments, if one of them looks like an option.
    """
    if any(source.startswith("-") for source in sources):
        return ("--", *sources)
    return tuple(sources)


def make_command_line(
    options: CommandOptions, sources: Sequence[str], *, folder: str = ""
) -> CommandLine:
    """Returns the command with its `options` in force.

    `sources` are its inventories as typed, `folder` the folder to type it in, "" for the current
    one. Options of `NOT_REPEATED`, of the environment and with their default value are left out.
    """
    repeated = tuple(
        (name, tuple(_arguments(option)))
        for name, option in options.by_name.items()
        if option.is_repeated and name not in NOT_REPEATED
    )
    return CommandLine(options.verb, tuple(sources), repeated, options.names_by_flag(), folder)


def _arguments(option: Option) -> Iterator[str]:
    """Yields the arguments that set an option, with its longest flag."""
    flag = max(option.flags, key=len)
    if option.value is True:
        yield flag
        return
    for value in option.value if isinstance(option.value, tuple) else (option.value,):
        yield flag
        yield f"{value:g}" if isinstance(value, float) else str(value)
