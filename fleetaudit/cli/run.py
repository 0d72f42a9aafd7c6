"""`fleetaudit run`: audits the hosts of an inventory and writes a run's folder."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import __version__
from . import clock, outputs, screen, words

if TYPE_CHECKING:
    from datetime import datetime

    from ..archive import RunFolder
    from ..compare import Comparison
    from ..engine import Outcome, Stop
    from ..inventory.connection import ConnectionOptions
    from ..model import AuditRun, HostKeyPolicy, Plan, RunInfo, Severity

NOT_MET, NOT_AUDITED, BUG = 2, 4, 1


@click.command(short_help="Audit the hosts of an inventory.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option("-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help="Default: unread-close.")
@click.option("-l", "--limit", metavar="PATTERN", help="Only the hosts of this pattern, as in Ansible.")
@click.option(
    "-f",
    "--forks",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=32,
    show_default=True,
    envvar="FLEETAUDIT_FORKS",
    help="How many hosts at once.",
)
@click.option("-u", "--user", metavar="USER", help="Log in as this user, where the inventory names none.")
@click.option("--private-key", metavar="FILE", help="Log in with this key, where the inventory names none.")
@click.option(
    "-T",
    "--timeout",
    type=words.Seconds(0.1, 3600),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    envvar="FLEETAUDIT_TIMEOUT",
    help="Seconds for a connection to come about.",
)
@click.option(
    "--host-deadline",
    type=words.Seconds(1, 86400),
    metavar="SECONDS",
    default=120.0,
    show_default=True,
    help="Seconds for everything about one host, retries included.",
)
@click.option(
    "--retries", type=click.IntRange(0, 10), metavar="N", default=2, show_default=True, help="After transient failures."
)
@click.option(
    "--host-key-policy",
    type=click.Choice(["strict", "accept-new", "off"]),
    default="strict",
    show_default=True,
    envvar="FLEETAUDIT_HOST_KEY_POLICY",
)
@click.option("--known-hosts", metavar="FILE", help="Instead of your own known_hosts.")
@click.option("-o", "--output-dir", metavar="DIR", help="Default: reports.")
@click.option("--format", "formats", metavar="LIST", default="html", show_default=True, help="Of html, json and text.")
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="The least severity of a finding that makes the exit status 2.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only problems.")
@click.option("-v", "--verbose", count=True, help="A line a host; twice: what is tried.")
def run(inventories: tuple[str, ...], **options: object) -> int:
    """Audits every host and writes reports/TIME/report.html.

    INVENTORY is an Ansible inventory, or a list of hosts with a comma in it; without one it is inventory.yml.
    Exit status: 0 all well, 2 expectations not met, 4 some host not audited, 6 both.
    """
    words.refuse_unsupported()
    return _run(words.sources(inventories), _Options(**options))  # type: ignore[arg-type]  # click typed them


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of `run`, as click typed them."""

    playbooks: tuple[str, ...]
    limit: str | None
    forks: int
    user: str | None
    private_key: str | None
    timeout: float
    host_deadline: float
    retries: int
    host_key_policy: HostKeyPolicy
    known_hosts: str | None
    output_dir: str | None
    formats: str
    fail_on: Severity
    quiet: bool
    verbose: int


def _run(sources: tuple[str, ...], options: _Options) -> int:
    formats = words.comma_list(options.formats, words.FORMATS, "--format")
    screen.set_up_log(options.verbose)
    from .. import archive, engine
    from ..compare import compare
    from .planning import plan_of
    from .signals import Signals

    output = words.output_folder(options.output_dir)
    plan = plan_of(sources, options.playbooks, options.limit, _connection(options))
    stop = engine.Stop()
    with archive.locked(output), Signals(stop) as signals, archive.create(output, started := clock.now()) as folder:
        outcome = _audit(plan, folder, stop, options)
        whole = _whole(plan, outcome, _info(plan, folder.id, started, sources, options))
        folder.finish(whole)
        comparison = compare(whole)
        reports = outputs.write_all(folder, whole, formats, comparison) or [folder.path / archive.RUN]
        if not outcome.interrupted:
            folder.point_latest()
    _show(comparison, reports[0], options)
    if outcome.bugs:
        screen.tell(f"{outcome.bugs} of the hosts not audited met a bug in fleetaudit; its traceback is in the log")
        return BUG
    return signals.status or status_of(whole, options.fail_on)


def status_of(run: AuditRun, fail_on: Severity) -> int:
    """Returns 0, 2 (an unwaived finding at or above `fail_on`), 4 (some host not audited) or 6 (both)."""
    from ..model import SEVERITIES, NotAudited

    grave = SEVERITIES[SEVERITIES.index(fail_on) :]
    short = any(f.waived is None and f.severity in grave for host in run.hosts for f in host.findings)
    missing = any(isinstance(host, NotAudited) for host in run.hosts)
    return (NOT_MET if short else 0) | (NOT_AUDITED if missing else 0)


def _connection(options: _Options) -> ConnectionOptions:
    from ..inventory.connection import ConnectionOptions

    if options.private_key:
        words.existing_file(options.private_key, "--private-key")
    if options.known_hosts and options.host_key_policy == "strict":
        words.existing_file(options.known_hosts, "--known-hosts")
    return ConnectionOptions(
        user=options.user,
        private_key=options.private_key,
        known_hosts=(str(Path(options.known_hosts).expanduser()),) if options.known_hosts else (),
        host_key_policy=options.host_key_policy,
        timeout_s=options.timeout,
    )


def _audit(plan: Plan, folder: RunFolder, stop: Stop, options: _Options) -> Outcome:
    from ..engine import Settings, audit
    from ..judge import judge
    from ..model import HostResult
    from ..transport.dispatch import Transports
    from .progress import Progress

    settings = Settings(forks=options.forks, host_deadline_s=options.host_deadline, retries=options.retries)
    transports = Transports(accept_file=folder.output / "known_hosts")
    with Progress(len(plan.hosts), quiet=options.quiet, verbose=options.verbose > 0) as progress:

        def came(result: HostResult) -> None:
            folder.append(result)
            progress.came(result)

        return audit(plan, run=transports.run, settings=settings, judge=judge, on_result=came, stop=stop)


def _info(plan: Plan, id_: str, started: datetime, sources: tuple[str, ...], options: _Options) -> RunInfo:
    from ..model import RunInfo

    return RunInfo(
        id=id_,
        started=clock.rfc3339(started),
        finished=clock.rfc3339(clock.now()),
        fleetaudit=__version__,
        playbooks=plan.playbooks,
        controller=f"Python {platform.python_version()} on {platform.system()} {platform.release()}",
        inventory=sources,
        limit=options.limit,
    )


def _whole(plan: Plan, outcome: Outcome, info: RunInfo) -> AuditRun:
    from ..model import AuditRun
    from .planning import scenario_rows

    return AuditRun(run=info, scenarios=scenario_rows(plan), hosts=outcome.results)


def _show(comparison: Comparison, report: Path, options: _Options) -> None:
    from ..report.terminal import summary

    text = summary(comparison, width=screen.width(), problems_only=options.quiet)
    if text or not options.quiet:
        with contextlib.suppress(screen.ReaderGoneError):  # `| head`: the run is done and on the disk all the same
            screen.out(f"{text}\nReport: {report}\n" if text else f"Report: {report}\n")
