"""Says how many resets there were, and where, for the page and the text. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.text.phrases import count_noun

from .model import WatchedHost, WatchTable


def at_least(is_partial: bool) -> str:
    """Returns what stands before a count that is not complete."""
    return "at least " * is_partial


def describe_resets(table: WatchTable, noun: str) -> str:
    """Returns the number of resets with a noun: "at least 40 connections"."""
    return f"{at_least(table.is_partial)}{count_noun(table.resets, noun)}"


def on_hosts(table: WatchTable) -> str:
    """Returns where resets were seen: " on 3 of 12 watched hosts in 60 s".

    In a run that watched one host, it is " in 60 s".
    """
    resetting = sum(bool(host.rows) for host in table.hosts)
    share = f" on {resetting:,} of {count_noun(len(table.hosts), 'watched host')}"
    return f"{share * (table.asked > 1)} in {_watch_length(table.hosts)}"


def _watch_length(hosts: Iterable[WatchedHost]) -> str:
    """Returns for how long hosts were watched: "60 s", "58 to 60 s"."""
    seconds = sorted({round(host.watched.seconds) for host in hosts})
    return " to ".join(f"{n:,}" for n in dict.fromkeys((seconds[0], seconds[-1]))) + " s"
