"""Parses the text of options that is more than a word or a number."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from fleetaudit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from fleetaudit.engine.batches import BatchSize
    from fleetaudit.store.retention import RetentionPolicy

Text = TypeVar("Text", str, str | None)
Value = TypeVar("Value")

_SCHEMES = {"dask": "tcp", "dask+tls": "tls"}
"""How Dask writes a scheme of --engine."""
_ENGINE = r"(dask|dask\+tls)://((?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})/?"


def parse_tags(text: str) -> tuple[str, ...]:
    """Returns the tags of a list with commas, as -t takes it: each once, without empty ones."""
    tags = (tag.strip() for tag in text.split(","))
    return tuple(dict.fromkeys(filter(None, tags)))


def parse_list(text: str, allowed: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of "a,b", each once, in the order of `allowed`.

    Raises `UsageError` with the name of the `option` for a word that is not allowed.
    """
    words = {word.strip() for word in text.split(",")}
    for word in sorted(words):
        if word not in allowed:
            raise UsageError(f"{option}: “{word}” is none of {', '.join(allowed)}")
    return tuple(word for word in allowed if word in words)


def parse_shard_option(text: str | None) -> tuple[int, int] | None:
    """Returns part and parts of --shard ("2/5" is (2, 5)), None without one.

    Raises `UsageError` for anything else.
    """
    from fleetaudit.playbook.shards import parse_shard

    if not text:
        return None
    try:
        return parse_shard(text)
    except ValueError as e:
        raise UsageError(f"--shard: {e}") from e


def _parse_value(parse: Callable[[Text], Value], text: Text, option: str) -> Value:
    """Returns what `parse` makes of a text; raises `UsageError` for a `ValueError`."""
    try:
        return parse(text)
    except ValueError as e:
        raise UsageError(f"{option}: {e}") from e


def parse_serial_option(text: str | None, option: str = "--serial") -> tuple[BatchSize, ...]:
    """Returns the sizes of --serial, () without one.

    Raises `UsageError` with the name of the `option` for anything else.
    """
    from fleetaudit.engine.batches import parse_serial

    if text is None:
        return ()
    return _parse_value(parse_serial, text, option)


def parse_rate_option(text: str | None, option: str = "--rate") -> float:
    """Returns how many connections a second --rate allows, infinity without one.

    Raises `UsageError` with the name of the `option` for anything else.
    """
    from fleetaudit.engine.pace import parse_rate

    return _parse_value(parse_rate, text, option)


def parse_keep_option(text: str | None, option: str = "--keep") -> RetentionPolicy | None:
    """Returns the policy of --keep, None without one.

    Raises `UsageError` with the name of the `option` for text that is no policy.
    """
    from fleetaudit.store.retention import parse_retention

    if not text:
        return None
    return _parse_value(parse_retention, text, option)


def parse_notify_command(text: str, option: str = "--notify") -> tuple[str, ...]:
    """Returns the program and the arguments of --notify.

    Raises `UsageError` for an unclosed quotation and for an empty command.
    """
    words = tuple(_parse_value(shlex.split, text, f"{option} {text!r}"))
    if not words:
        raise UsageError(f"{option}: no command")
    return words


def parse_report_url(text: str, option: str = "--report-url") -> str:
    """Returns the URL of --report-url; raises `UsageError` if it is not one that can be printed.

    `option` names the option, or what else the URL comes from, in the message.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[\x21-\x7e]+", text):
        raise UsageError(
            f"{option} {text!r}: not a URL; expected one such as https://ops.example.org/fleet"
        )
    return text


def parse_publish_folder(text: str | None) -> Path | None:
    """Returns the folder of --publish, None without one."""
    from fleetaudit.text.files import expand_home

    return expand_home(text) if text else None


def parse_publish_mode(text: str, option: str = "--publish-mode") -> int:
    """Returns the mode of --publish-mode, such as 0o644 for "0644".

    Raises `UsageError` with the name of the `option` for one that the files of a site must not
    have.
    """
    from fleetaudit.store.site_folder import parse_mode

    return _parse_value(parse_mode, text, option)


def parse_engine(text: str | None) -> str | None:
    """Returns the address of --engine as Dask writes it, None without one: "tcp://host:8786" for
    "dask://host:8786", "tls://…" for "dask+tls://…".

    Raises `UsageError` for anything else.
    """
    import re

    if not text:
        return None
    match = re.fullmatch(_ENGINE, text.strip(), re.ASCII)
    if match is None:
        raise UsageError(
            f"--engine: not the address of a Dask scheduler: {text!r}\n"
            "  write it as dask://HOST:8786, or dask+tls://HOST:8786 for TLS"
        )
    scheme, place = match.groups()
    return f"{_SCHEMES[scheme]}://{place}"
