"""`fleetaudit merge`: makes one run of several, and of replies that were fetched by other means."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

from fleetaudit.app import clock
from fleetaudit.errors import InputError, NothingToDoError, UsageError

from . import completion, console, params

if TYPE_CHECKING:
    from fleetaudit.model import AuditRun, Plan

BUG = 1


@click.command(short_help="Make one run of several, or of replies fetched by other means.")
@click.argument(
    "paths",
    metavar="RUN|REPLY...",
    type=params.RunPath(),
    shell_complete=completion.complete_runs,
    nargs=-1,
    required=True,
)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="The playbook that was given to `fleetaudit probe`. Default: unread-close.",
)
@click.option(
    "-i",
    "--inventory",
    "inventories",
    metavar="INVENTORY",
    multiple=True,
    help="Inventory of the replies; a host without a reply is reported as not audited.",
)
@click.option("-l", "--limit", metavar="PATTERN", help="Only these hosts of -i.")
@click.option("--vault-password-file", metavar="FILE", help="File with the ansible-vault password.")
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
@click.option(
    "--format", "formats", metavar="LIST", default="html", show_default=True, help="As in run."
)
@click.option("--fail-on", metavar="LIST", default="warning", show_default=True, help="As in run.")
def merge(
    paths: tuple[Path, ...],
    playbooks: tuple[str, ...],
    inventories: tuple[str, ...],
    limit: str | None,
    vault_password_file: str | None,
    output_dir: str | None,
    formats: str,
    fail_on: str,
) -> int:
    """Writes one run with the hosts of every RUN and REPLY.

    RUN is the folder of a run or its run.json. REPLY is a file with the output of the program that `fleetaudit probe`
    prints, named after its host (web7, web7.reply or web7.txt), or a folder of such files. For replies, give the same
    -p as to `probe`. With -i, a host without a reply is in the run as not audited.

    \b
    fleetaudit merge shard1/latest shard2/latest
    fleetaudit merge web7.reply db1.reply
    fleetaudit merge -p PLAYBOOK -i INVENTORY replies/

    A host may be in one of them only. The exit status is that of one run of all these hosts.
    """  # noqa: D301 - \b is for click: it keeps these lines apart
    from msgspec.structs import replace

    from fleetaudit.app.fetched_replies import split_runs_and_replies
    from fleetaudit.app.merge import merge_runs
    from fleetaudit.app.run_output import write_run
    from fleetaudit.report.terminal import summary
    from fleetaudit.store import latest
    from fleetaudit.store.jobs import job_name
    from fleetaudit.store.lock import hold_lock
    from fleetaudit.store.run_file import read_run
    from fleetaudit.store.run_folder import create_run_folder
    from fleetaudit.store.run_search import find_runs

    from .run import exit_status, has_bug

    wanted, grave = (
        params.parse_list(formats, params.RUN_FORMATS, "--format"),
        params.parse_list(fail_on, params.FAIL_ON, "--fail-on"),
    )
    if not inventories:
        if click.get_current_context().get_parameter_source("limit") is ParameterSource.COMMANDLINE:
            raise UsageError("-l selects hosts of an inventory: name it with -i")
        limit = None  # a configuration's is for its inventory
    output, width = params.output_folder(output_dir), console.width()
    run_paths, files = split_runs_and_replies(paths)
    runs = [(path, read_run(path)) for path in run_paths]
    bugs = 0
    if files or inventories:
        asked = _Asked(playbooks, inventories, limit, vault_password_file)
        elsewhere = frozenset(host.name for _, run in runs for host in run.hosts)
        from_replies, bugs = _run_of(files, asked, elsewhere)
        runs.append((files[0].parent if files else Path(inventories[0]), from_replies))
    _refuse_twice(runs)
    whole = merge_runs(runs)
    with hold_lock(output), create_run_folder(output, clock.current_time()) as folder:
        earlier = find_runs(output).finished
        info = replace(
            whole.run, id=folder.id, job=job_name(whole.run), scheduled=False, sequence=0
        )
        whole = replace(whole, run=latest.with_sequence_number(earlier, info))

        def with_status(run: AuditRun) -> AuditRun:
            status = BUG if bugs or has_bug(run) else exit_status(run, grave)
            return replace(run, run=replace(run.run, status=status))

        for host in whole.hosts:
            folder.append(host)
        done = write_run(
            folder,
            whole,
            formats=wanted,
            settled=with_status,
            show=lambda comparison: summary(comparison, width=width),
        )
        latest.update_latest(
            output,
            earlier,
            done.run.run,
            note=console.print_message,
            later_note=console.print_message,
        )
    console.print_report(f"{summary(done.comparison, width=width)}\nReport: {done.reports[0]}\n")
    if bugs := bugs + done.bugs:
        console.print_message(
            f"{bugs} of the hosts not audited failed because of a bug in fleetaudit; its traceback"
            " is in the log"
        )
        return BUG
    return exit_status(done.run, grave)


def _refuse_twice(runs: Iterable[tuple[Path, AuditRun]]) -> None:
    from fleetaudit.text.host_ranges import fold_hosts

    seen = dict[str, Path]()
    for path, run in runs:
        if twice := [host.name for host in run.hosts if host.name in seen]:
            raise InputError(
                f"also in {seen[twice[0]]}: {', '.join(fold_hosts(twice).ranges)}",
                source=str(path),
                hint="leave one of the two out, or audit each host once",
            )
        seen.update((host.name, path) for host in run.hosts)


class _Asked(NamedTuple):
    """The options that select the plan of the replies: playbook, inventory, limit."""

    playbooks: tuple[str, ...]
    inventories: tuple[str, ...]
    limit: str | None
    vault_password_file: str | None


def _run_of(files: list[Path], asked: _Asked, elsewhere: Collection[str]) -> tuple[AuditRun, int]:
    """Returns the run of the replies in `files`, and how many of its hosts a bug in fleetaudit
    cost.

    A host without a reply is not missing if it is `elsewhere`, in one of the runs.
    """
    from msgspec.structs import replace

    from fleetaudit.app import fetched_replies

    plan, found = _planned(files, asked)
    here = tuple(host for host in plan.hosts if host.name in found or host.name not in elsewhere)
    plan = replace(plan, hosts=here)
    folder = files[0].parent if files else Path("replies")
    call = fetched_replies.ProbeCall(
        playbooks=asked.playbooks, inventories=asked.inventories, folder=folder
    )
    hosts, bugs = fetched_replies.audit_replies(plan, found, call)
    return fetched_replies.run_of_replies(
        plan, hosts, inventory=asked.inventories, limit=asked.limit
    ), bugs


def _planned(files: list[Path], asked: _Asked) -> tuple[Plan, dict[str, Path]]:
    """Returns the plan of the hosts, and the file of each host that has one."""
    from fleetaudit.app import fetched_replies
    from fleetaudit.app.planning import build_offline_plan, read_inventory, read_playbooks
    from fleetaudit.model import LocalTarget

    playbooks = read_playbooks(asked.playbooks)
    if asked.inventories:
        inventory = read_inventory(
            asked.inventories, asked.vault_password_file, tell=console.print_message
        ).inventory
        plan = build_offline_plan(inventory, playbooks, asked.limit)
        matched = (host.name for host in plan.hosts if isinstance(host.target, LocalTarget))
        return plan, fetched_replies.replies_by_host(files, matched)
    found = fetched_replies.replies_by_host(files, None)
    try:
        return build_offline_plan(fetched_replies.inventory_of_names(found), playbooks, None), found
    except NothingToDoError as e:  # a play is for a group, and the name of a file has no group
        raise NothingToDoError(f"{e}\n  name the inventory with that group:  -i INVENTORY") from e
