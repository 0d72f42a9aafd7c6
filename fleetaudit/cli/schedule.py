"""`fleetaudit schedule`: a crontab line, or a systemd service and its timer, that audits every
night.

Rules: nothing is installed. Inventories, playbooks and waivers are read now, so that errors do not
wait for the night.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import click

from fleetaudit.app import clock
from fleetaudit.app import notify as news
from fleetaudit.errors import NothingToDoError, UsageError
from fleetaudit.text.files import expand_home

from . import console, params

_OF_THIS_PROCESS = re.compile(
    r"//?(?:dev/(?:stdin|stdout|stderr|tty|fd(?:/.*)?)|proc(?:/.*)?)", re.DOTALL
)
"""Names that mean something else, or nothing, to another process."""
_UNITS = Path("/etc/systemd/system")


@click.command(short_help="Print a crontab line, or systemd units.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option("-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help="As in run.")
@click.option("-l", "--limit", metavar="PATTERN", help="As in run.")
@click.option("-b", "--become", is_flag=True, help="As in run.")
@click.option(
    "--become-password-file",
    metavar="FILE",
    help="As in run; whoever the job runs as must be able to read it.",
)
@click.option("--connection-password-file", metavar="FILE", help="As in run; as above.")
@click.option("--vault-password-file", metavar="FILE", help="As in run; as above.")
@click.option(
    "--output-dir",
    metavar="DIR",
    help="As in run; for --systemd the default is /var/lib/fleetaudit.",
)
@click.option("--format", "formats", metavar="LIST", help="As in run.")
@click.option("--waivers", metavar="FILE", help="As in run.")
@click.option("--baseline", metavar="last|RUN|FILE|none", help="As in run.")
@click.option("--keep", metavar="30d|N", help="As in run.")
@click.option("--fail-on", metavar="LIST", help="As in run.")
@click.option("--notify", metavar="COMMAND", help="As in run.")
@click.option("--report-url", metavar="BASE", help="As in run.")
@click.option(
    "--at",
    metavar="HH:MM",
    default="04:17",
    show_default=True,
    help="When, every day, in local time.",
)
@click.option("--cron", "as_cron", is_flag=True, help="A crontab line (the default).")
@click.option("--systemd", "as_systemd", is_flag=True, help="A service and a timer.")
@click.option(
    "-o",
    "units",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the service and the timer of --systemd into this folder.",
)
def schedule(
    inventories: tuple[str, ...],
    at: str,
    as_cron: bool,
    as_systemd: bool,
    units: Path | None,
    **options: str | bool | tuple[str, ...] | None,
) -> None:
    """Prints a crontab line or systemd units that run `fleetaudit run --cron` every night; installs
    nothing.

    The inventory, playbooks and waivers are checked now, so that the first night does not fail
    because of them.
    """
    from fleetaudit.app import schedule_units as text

    if as_cron and as_systemd:
        raise UsageError("schedule: --cron or --systemd, not both")
    if units and not as_systemd:
        raise UsageError(
            "schedule: -o needs --systemd, whose files it takes; use --output-dir for the folder"
            " that the job writes to"
        )
    hour, minute = _time(at)
    _check(options)
    sources = params.inventory_sources(inventories)
    _read(sources, options)
    dashes = ("--",) if any(source.startswith("-") for source in sources) else ()
    try:
        job = text.Job(
            command=(*_program(), "run", "--cron", *_words(options), *dashes, *sources),
            folder=str(Path.cwd()),
            hour=hour,
            minute=minute,
        )
        user = getpass.getuser()
        service, timer = text.service(job, user=user), text.timer(job)
        line = text.crontab_line(job)
    except ValueError as e:
        raise UsageError(f"schedule: {e}") from e
    _tell_of_a_missing_hour(hour, minute)
    if not as_systemd:
        console.print_result(line)
    elif units is None:
        console.print_result(f"{service}\n# ---- fleetaudit.timer\n{timer}")
    else:
        _write(units, service, timer)


def _check(options: dict[str, str | bool | tuple[str, ...] | None]) -> None:
    """Raises `UsageError` for values that the job would refuse: errors must come now, not in the
    first night.
    """
    keep, fail_on, formats, notify = (
        str(options[name] or "") for name in ("keep", "fail_on", "formats", "notify")
    )
    params.parse_keep_option(keep)
    if formats:
        params.parse_list(formats, params.RUN_FORMATS, "--format")
    if fail_on:
        params.parse_list(fail_on, params.FAIL_ON, "--fail-on")
    if notify:
        news.parse_notify_command(notify)
    if options["report_url"]:
        news.parse_report_url(str(options["report_url"]))
    for name in ("become_password_file", "connection_password_file", "vault_password_file"):
        if named := options[name]:
            _refuse_gone_by_then(str(named), "--" + name.replace("_", "-"))


def _read(
    sources: tuple[str, ...], options: dict[str, str | bool | tuple[str, ...] | None]
) -> None:
    """Reads what the job will read; raises as the job would."""
    from fleetaudit.app.baseline import read_waivers
    from fleetaudit.app.planning import read_inventory, read_playbooks
    from fleetaudit.inventory.patterns import select_hosts

    playbooks = options["playbooks"]
    read_playbooks(playbooks if isinstance(playbooks, tuple) else ())
    vault, limit, waivers = (options[name] for name in ("vault_password_file", "limit", "waivers"))
    if vault and not expand_home(str(vault)).exists():  # a warning says so already
        return
    inventory = read_inventory(
        sources, str(vault) if vault else None, tell=console.print_message
    ).inventory
    read_waivers(str(waivers) if waivers else None, inventory)
    if limit is not None:
        select_hosts(inventory, str(limit))


def _write(folder: Path, service: str, timer: str) -> None:
    """Writes the units, and prints the commands that install them."""
    from fleetaudit.store.disk import write_atomically

    if not folder.is_dir():
        raise NothingToDoError(f"-o {folder}: no such folder")
    files = [folder / "fleetaudit.service", folder / "fleetaudit.timer"]
    for path, content in zip(files, (service, timer), strict=True):
        write_atomically(path, content.encode(), mode=0o644)
    names = " ".join(shlex.quote(str(path)) for path in files)
    console.print_message(f"fleetaudit: wrote {names}; to start them:")
    copy = "" if folder.resolve() == _UNITS else f"sudo cp {names} {_UNITS} && "
    console.print_message(
        f"  {copy}sudo systemctl daemon-reload && sudo systemctl enable --now fleetaudit.timer"
    )


def _tell_of_a_missing_hour(hour: int, minute: int) -> None:
    """Warns of a day without this time, because the clocks are put forward."""
    if (day := _day_without(hour, minute)) is None:
        return
    other = next(h for h in (*range(hour + 1, 24), *range(hour)) if _day_without(h, minute) is None)
    console.print_message(
        f"fleetaudit: warning: --at {hour:02}:{minute:02}: the clocks are put forward on {day},"
        " which has no such time here and may have no run; every day has --at"
        f" {other:02}:{minute:02}"
    )


def _day_without(hour: int, minute: int) -> date | None:
    """Returns the first day within two years without this time of day in the time zone of this
    machine.
    """
    today = clock.current_time().date()
    for day in (today + timedelta(days=n) for n in range(731)):
        wanted = (day.year, day.month, day.day, hour, minute)
        if time.localtime(time.mktime((*wanted, 0, 0, 0, -1)))[:5] != wanted:
            return day
    return None


def _time(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if not match:
        raise UsageError(f"--at {text}: not a time of day; expected one such as 04:17")
    return int(match[1]), int(match[2])


def _refuse_gone_by_then(named: str, option: str) -> None:
    """Raises `UsageError` for what is there for this process alone; a file may still come to be, so
    it is only told.
    """
    path = expand_home(named)
    if named == "-" or named.startswith("<(") or _OF_THIS_PROCESS.fullmatch(os.path.abspath(path)):  # noqa: PTH100
        raise UsageError(f"{option} {named}: not there any more when the job runs; name a file")
    if not path.exists():
        console.print_message(
            f"fleetaudit: warning: {option} {named}: no such file yet; the job needs it"
        )


def _program() -> tuple[str, ...]:
    """Returns the command of this very installation: neither cron nor systemd knows the user's
    PATH.
    """
    started = Path(sys.argv[0])
    if started.name == "fleetaudit" and (found := shutil.which(str(started))):
        return (os.path.abspath(found),)  # noqa: PTH100 — not resolved: a link may be what an upgrade moves
    return sys.executable, "-m", "fleetaudit"


def _words(options: dict[str, str | bool | tuple[str, ...] | None]) -> list[str]:
    """Returns the options as words again."""
    said = list[str]()
    for name, value in options.items():
        option = {"playbooks": "--playbook", "formats": "--format"}.get(
            name, "--" + name.replace("_", "-")
        )
        if isinstance(value, bool):
            said += [option] if value else []
            continue
        for one in value if isinstance(value, tuple) else (value,):
            said += [option, one] if one is not None else []
    return said
