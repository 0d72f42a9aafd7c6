"""`fleetaudit schedule`: prints a crontab line, or a systemd service and its timer, that audits every night."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import sys
from pathlib import Path

import click

from ..errors import UsageError
from . import news, screen, words

_OF_THIS_PROCESS = re.compile(r"//?(?:dev/(?:stdin|stdout|stderr|tty|fd(?:/.*)?)|proc(?:/.*)?)", re.DOTALL)
"""Names that mean something else, or nothing, to another process."""


@click.command(short_help="Print a crontab line, or systemd units.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option("-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help="As in run.")
@click.option("-l", "--limit", metavar="PATTERN", help="As in run.")
@click.option("-b", "--become", is_flag=True, help="As in run.")
@click.option(
    "--become-password-file", metavar="FILE", help="As in run; whoever the job runs as must be able to read it."
)
@click.option("--connection-password-file", metavar="FILE", help="As in run; as above.")
@click.option("--vault-password-file", metavar="FILE", help="As in run; as above.")
@click.option("-o", "--output-dir", metavar="DIR", help="As in run; for --systemd the default is /var/lib/fleetaudit.")
@click.option("--format", "formats", metavar="LIST", help="As in run.")
@click.option("--waivers", metavar="FILE", help="As in run.")
@click.option("--baseline", metavar="last|RUN|FILE|none", help="As in run.")
@click.option("--keep", metavar="30d|N", help="As in run.")
@click.option("--fail-on", metavar="LIST", help="As in run.")
@click.option("--notify", metavar="COMMAND", help="As in run.")
@click.option("--report-url", metavar="BASE", help="As in run.")
@click.option("--at", metavar="HH:MM", default="02:17", show_default=True, help="When, every day, in local time.")
@click.option("--cron", "as_cron", is_flag=True, help="A crontab line (the default).")
@click.option("--systemd", "as_systemd", is_flag=True, help="A service and a timer.")
def schedule(
    inventories: tuple[str, ...],
    at: str,
    as_cron: bool,
    as_systemd: bool,
    **options: str | bool | tuple[str, ...] | None,
) -> None:
    """Prints what runs `fleetaudit run --cron` every night; it installs nothing."""
    from .. import schedule as text

    if as_cron and as_systemd:
        raise UsageError("schedule: --cron or --systemd, not both")
    hour, minute = _time(at)
    # What makes no sense is said now, and not in the first night.
    keep, fail_on, formats, notify = (str(options[name] or "") for name in ("keep", "fail_on", "formats", "notify"))
    words.keep(keep)
    if formats:
        words.comma_list(formats, words.RUN_FORMATS, "--format")
    if fail_on:
        words.comma_list(fail_on, words.FAIL_ON, "--fail-on")
    if notify:
        news.command_of(notify)
    if options["report_url"]:
        news.url(str(options["report_url"]))
    for name in ("become_password_file", "connection_password_file", "vault_password_file"):
        if named := options[name]:
            _refuse_gone_by_then(str(named), "--" + name.replace("_", "-"))
    sources = words.sources(inventories)
    try:
        job = text.Job(
            command=(*_program(), "run", "--cron", *_words(options), *sources),
            folder=str(Path.cwd()),
            hour=hour,
            minute=minute,
        )
        if as_systemd:
            user = getpass.getuser()
            screen.out(f"{text.service(job, user=user)}\n# ---- fleetaudit.timer\n{text.timer(job)}")
        else:
            screen.out(text.crontab_line(job))
    except ValueError as e:
        raise UsageError(f"schedule: {e}") from e


def _time(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if not match:
        raise UsageError(f"--at {text}: wanted is a time of day, such as 02:17")
    return int(match[1]), int(match[2])


def _refuse_gone_by_then(named: str, option: str) -> None:
    """Raises `UsageError` for what is there for this process alone; a file may still come to be, so it is only told."""
    path = Path(named).expanduser()
    if named == "-" or named.startswith("<(") or _OF_THIS_PROCESS.fullmatch(os.path.abspath(path)):  # noqa: PTH100
        raise UsageError(f"{option} {named}: not there any more when the job runs; name a file")
    if not path.exists():
        screen.tell(f"fleetaudit: warning: {option} {named}: no such file yet; the job needs it")


def _program() -> tuple[str, ...]:
    """Returns the command of this very installation: neither cron nor systemd knows the user's PATH."""
    started = Path(sys.argv[0])
    if started.name == "fleetaudit" and (found := shutil.which(str(started))):
        return (os.path.abspath(found),)  # noqa: PTH100 — not resolved: a link may be what an upgrade moves
    return sys.executable, "-m", "fleetaudit"


def _words(options: dict[str, str | bool | tuple[str, ...] | None]) -> list[str]:
    """Returns the options as words again."""
    said = list[str]()
    for name, value in options.items():
        option = {"playbooks": "--playbook", "formats": "--format"}.get(name, "--" + name.replace("_", "-"))
        if isinstance(value, bool):
            said += [option] if value else []
            continue
        for one in value if isinstance(value, tuple) else (value,):
            said += [option, one] if one is not None else []
    return said
