"""Makes the crontab line, or the systemd units, of a job that audits every night.

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
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fleetaudit.errors import NothingToDoError, UsageError
from fleetaudit.inventory.patterns import select_hosts
from fleetaudit.store.disk import write_atomically
from fleetaudit.text.files import expand_home

from . import schedule_units
from .baseline import read_waivers
from .command_line import source_arguments
from .planning import read_inventory, read_playbooks
from .reporter import Report
from .time_of_day import TimeOfDay

_OF_THIS_PROCESS = re.compile(
    r"//?(?:dev/(?:stdin|stdout|stderr|tty|fd(?:/.*)?)|proc(?:/.*)?)", re.DOTALL
)
"""Names that mean something else, or nothing, to another process."""
_UNITS = Path("/etc/systemd/system")
_FLAGS = {"playbooks": "--playbook", "formats": "--format"}
"""The flags of options whose name differs from the flag."""

OptionValues = Mapping[str, str | bool | tuple[str, ...] | None]


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The job: inventories, time of day, and the options of `run` by name, as they were typed."""

    sources: tuple[str, ...]
    at: TimeOfDay
    options: OptionValues

    def text(self, name: str) -> str | None:
        """Returns an option that has text as its value, None if it is not set."""
        value = self.options.get(name)
        if isinstance(value, str):
            return value
        return None


class ScheduleTexts(msgspec.Struct, frozen=True):
    """The crontab line, and the systemd units that do the same."""

    crontab_line: str
    service: str
    timer: str

    def write_units(self, folder: Path, report: Report) -> None:
        """Writes the units into a folder, and reports the commands that install them.

        Everybody can read the files, as systemd has it; existing ones are replaced. Raises
        `NothingToDoError` if there is no such folder, `OutputError` if it cannot be written.
        """
        if not folder.is_dir():
            raise NothingToDoError(f"-o {folder}: no such folder")
        units = {"fleetaudit.service": self.service, "fleetaudit.timer": self.timer}
        for name, content in units.items():
            write_atomically(folder / name, content.encode(), mode=0o644)
        names = " ".join(shlex.quote(str(folder / name)) for name in units)
        report(f"fleetaudit: wrote {names}; to start them:")
        copy = "" if folder.resolve() == _UNITS else f"sudo cp {names} {_UNITS} && "
        report(
            f"  {copy}sudo systemctl daemon-reload && sudo systemctl enable --now fleetaudit.timer"
        )


def make_schedule(request: ScheduleRequest, report: Report) -> ScheduleTexts:
    """Returns the texts of the job, after reading what the job will read.

    `report` gets notes and warnings: a password file that is not there yet, a day on which the
    clocks skip the time. Raises `UsageError` for a name that a crontab or a unit cannot hold and
    for a file that only this process has, and otherwise as the job would.
    """
    for name in ("become_password_file", "connection_password_file", "vault_password_file"):
        if named := request.text(name):
            _check_password_file(named, "--" + name.replace("_", "-"), report)
    _read_inputs(request, report)
    try:
        job = schedule_units.Job(
            command=(
                *_program(),
                "run",
                "--cron",
                *_arguments(request.options),
                *source_arguments(request.sources),
            ),
            folder=str(Path.cwd()),
            hour=request.at.hour,
            minute=request.at.minute,
            written=_site_folder(request, report),
        )
        texts = ScheduleTexts(
            crontab_line=schedule_units.crontab_line(job),
            service=schedule_units.service(job, user=getpass.getuser()),
            timer=schedule_units.timer(job),
        )
    except ValueError as e:
        raise UsageError(f"schedule: {e}") from e
    _warn_of_missing_time(request.at, report)
    return texts


def _site_folder(request: ScheduleRequest, report: Report) -> str:
    """Returns the absolute path of the folder that the job publishes into, "" for none.

    The sandbox of systemd lets nobody create it there, so a missing one is a warning.
    """
    publish = request.text("publish")
    if publish is None:
        return ""
    folder = Path.cwd() / expand_home(publish)
    if not folder.is_dir():
        report(
            f"fleetaudit: warning: --publish {publish}: no such folder yet; a systemd service needs"
            f" it:  mkdir -p {shlex.quote(str(folder))}"
        )
    return str(folder)


def _read_inputs(request: ScheduleRequest, report: Report) -> None:
    """Reads what the job will read; raises as the job would."""
    playbooks = request.options.get("playbooks")
    read_playbooks(playbooks if isinstance(playbooks, tuple) else ())
    vault = request.text("vault_password_file")
    if vault and not expand_home(vault).exists():  # a warning says so already
        return
    no_exec = request.options.get("no_exec") is True
    inventory = read_inventory(request.sources, vault, no_exec=no_exec, report=report).inventory
    read_waivers(request.text("waivers"), inventory)
    if (limit := request.text("limit")) is not None:
        select_hosts(inventory, limit)


def _warn_of_missing_time(at: TimeOfDay, report: Report) -> None:
    """Warns of a day without this time, because the clocks are put forward."""
    day = at.first_day_without()
    if day is None:
        return
    hours = (*range(at.hour + 1, 24), *range(at.hour))
    times = (TimeOfDay(hour, at.minute) for hour in hours)
    other = next(time for time in times if time.first_day_without() is None)
    report(
        f"fleetaudit: warning: --at {at}: the clocks are put forward on {day}, which has no such"
        f" time here and may have no run; every day has --at {other}"
    )


def _check_password_file(named: str, option: str, report: Report) -> None:
    """Raises `UsageError` for a file that only this process has.

    A file that is missing may still be created, so it is only a warning.
    """
    path = expand_home(named)
    is_temporary = named == "-" or named.startswith("<(")
    if is_temporary or _OF_THIS_PROCESS.fullmatch(os.path.abspath(path)):  # noqa: PTH100
        raise UsageError(f"{option} {named}: not there any more when the job runs; name a file")
    if not path.exists():
        report(f"fleetaudit: warning: {option} {named}: no such file yet; the job needs it")


def _program() -> tuple[str, ...]:
    """Returns the command of this very installation: neither cron nor systemd knows the user's
    PATH.
    """
    started = Path(sys.argv[0])
    if started.name == "fleetaudit" and (found := shutil.which(str(started))):
        return (os.path.abspath(found),)  # noqa: PTH100 — not resolved: a link may be what an upgrade moves
    return sys.executable, "-m", "fleetaudit"


def _arguments(options: OptionValues) -> Iterator[str]:
    """Yields the options as arguments of a command line."""
    for name, value in options.items():
        flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
        if value is True:
            yield flag
        for text in _texts(value):
            yield flag
            yield text


def _texts(value: str | bool | tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the texts that an option has as its value, none for a switch or if it is not set."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, str):
        return (value,)
    return ()
