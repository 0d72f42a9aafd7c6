"""Parses the text of options that is more than a word or a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetaudit.errors import UsageError

if TYPE_CHECKING:
    from fleetaudit.store.retention import RetentionPolicy


def parse_tags(text: str) -> tuple[str, ...]:
    """Returns the tags of a list with commas, as -t takes it."""
    tags = (tag.strip() for tag in text.split(","))
    return tuple(dict.fromkeys(filter(None, tags)))


def parse_list(text: str, allowed: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of "a,b" in the order of `allowed`; raises `UsageError` for any other."""
    words = {word.strip() for word in text.split(",")}
    for word in sorted(words):
        if word not in allowed:
            raise UsageError(f"{option}: “{word}” is none of {', '.join(allowed)}")
    return tuple(word for word in allowed if word in words)


def parse_shard_option(text: str | None) -> tuple[int, int] | None:
    """Returns part and parts of --shard, None without one; raises `UsageError`."""
    from fleetaudit.playbook.shards import parse_shard

    try:
        return parse_shard(text) if text else None
    except ValueError as e:
        raise UsageError(f"--shard: {e}") from e


def parse_keep_option(text: str | None, option: str = "--keep") -> RetentionPolicy | None:
    """Returns the policy of --keep, None without one; raises `UsageError`."""
    from fleetaudit.store.retention import parse_retention

    try:
        return parse_retention(text) if text else None
    except ValueError as e:
        raise UsageError(f"{option}: {e}") from e
