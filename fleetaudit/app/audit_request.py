"""The request of `fleetaudit run`: its options, checked and parsed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from fleetaudit.store.retention import RetentionPolicy

    from .command_line import CommandLine
    from .connection_arguments import ConnectionArguments
    from .options import CommandOptions
    from .planning import HostSelection
    from .resume import UnfinishedRun


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `fleetaudit run` that do not concern connections, checked and parsed.

    `shard` is (part, parts); `shard_text` is the same as it was typed. `deadline_s` ends the whole
    run. `scheduled` is whether the run is unattended (--cron). `engine` is
    the address of the Dask scheduler whose workers audit the hosts, None for this machine.
    """

    playbooks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    shard_text: str | None = None
    formats: tuple[str, ...] = ("html",)
    fail_on: tuple[str, ...] = ("warning",)
    waivers: str | None = None
    baseline: str = "last"
    keep: RetentionPolicy | None = None
    deadline_s: float | None = None
    scheduled: bool = False
    report_latest: bool = True
    needs_drift: bool = False
    """Whether somebody is notified of what changed since the last run."""
    report_url: str | None = None
    engine: str | None = None

    def selection(self, limit: str | None) -> HostSelection:
        """Returns the hosts and scenarios that the options select.

        `limit` is a pattern of Ansible, None for every host of the inventory.
        """
        from .planning import HostSelection

        return HostSelection(limit=limit, tags=self.tags, skip_tags=self.skip_tags)


class AuditRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that defines one run: inventories, options, the output folder.

    `resumed` is the run to finish, None for a new run. `command_options` are the options as they
    were typed, for messages and the manifest.
    """

    sources: tuple[str, ...]
    output: Path
    run: RunOptions
    connection: ConnectionArguments
    command_options: CommandOptions
    command_line: CommandLine
    resumed: UnfinishedRun | None = None
