"""The request of `fleetaudit run`: its options, checked and parsed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleetaudit.errors import UsageError

if TYPE_CHECKING:
    from fleetaudit.engine.batches import BatchSize
    from fleetaudit.model import Watch
    from fleetaudit.store.retention import RetentionPolicy

    from .command_line import CommandLine
    from .connection_arguments import ConnectionArguments
    from .options import CommandOptions
    from .planning import HostSelection
    from .resume import UnfinishedRun


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `fleetaudit run` that do not concern connections, checked and parsed.

    `watch` is what `fleetaudit watch` asks, in the place of `playbooks`; None for other commands.
    `shard` is (part, parts); `shard_text` is the same as it was typed. `serial` are the sizes of
    the batches; `max_fail_percentage` of one may fail. `deadline_s` ends the whole run. `scheduled`
    is whether the run is unattended (--cron). `engine` is the address of the Dask scheduler whose
    workers audit the hosts, None for this machine. `asks_services` is whether the services of the
    playbooks are asked, too.
    """

    playbooks: tuple[str, ...] = ()
    watch: Watch | None = None
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    shard_text: str | None = None
    serial: tuple[BatchSize, ...] = ()
    max_fail_percentage: float | None = None
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
    publish: Path | None = None
    """The folder of the site to publish, None for none."""
    publish_mode: int = 0o600
    engine: str | None = None
    asks_services: bool = False

    def selection(self, limit: str | None) -> HostSelection:
        """Returns the hosts that the options select, and what is done there.

        `limit` is a pattern of Ansible, None for every host of the inventory.
        """
        from .planning import HostSelection

        return HostSelection(
            limit=limit,
            tags=self.tags,
            skip_tags=self.skip_tags,
            asks_services=self.asks_services,
        )


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

    def refuse_contradictions(self) -> None:
        """Raises `UsageError` for options that contradict each other.

        Workers take batches of their own at the same time, and count neither connections nor
        failures together.
        """
        here_only = {
            "--serial": bool(self.run.serial),
            "--max-fail-percentage": self.run.max_fail_percentage is not None,
            "--rate": self.connection.rate is not None,
        }
        if self.run.engine and (set_ := [option for option in here_only if here_only[option]]):
            raise UsageError(
                f"{', '.join(set_)}: not possible with --engine, whose workers audit at the same"
                " time; leave out either of them"
            )
