"""`fleetaudit schedule`: a crontab line, or a systemd service and its timer, that audits every
night.

Rules: nothing is installed. Inventories, playbooks and waivers are read now, so that errors do not
wait for the night.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from fleetaudit.errors import UsageError

from . import console, params
from .connection_options import no_exec_option

OptionValues = Mapping[str, str | bool | tuple[str, ...] | None]

_CHECKS: dict[str, Callable[[str], object]] = {
    "keep": params.parse_keep_option,
    "formats": params.parse_formats,
    "fail_on": params.parse_fail_on,
    "notify": params.parse_notify_command,
    "report_url": params.parse_report_url,
    "publish_mode": params.parse_publish_mode,
}
"""What parses the text of an option; each raises `UsageError`."""


@click.command(short_help="Print a crontab line, or systemd units.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option("-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help="As in run.")
@click.option("-l", "--limit", metavar="PATTERN", help="As in run.")
@click.option("-b", "--become", is_flag=True, help="As in run.")
@click.option(
    "--become-password-file",
    metavar="FILE",
    help="As in run; the user of the job must be able to read it.",
)
@click.option("--connection-password-file", metavar="FILE", help="As in run; as above.")
@click.option("--vault-password-file", metavar="FILE", help="As in run; as above.")
@no_exec_option
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
@click.option("--publish", metavar="DIR", help="As in run.")
@click.option("--publish-mode", metavar="MODE", help="As in run.")
@click.option(
    "--at",
    metavar="HH:MM",
    default="04:17",
    show_default=True,
    help="Time of day, in local time.",
)
@click.option("--cron", "as_cron", is_flag=True, help="Print a crontab line (the default).")
@click.option("--systemd", "as_systemd", is_flag=True, help="Print a systemd service and a timer.")
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
    if as_cron and as_systemd:
        raise UsageError("schedule: --cron or --systemd, not both")
    if units and not as_systemd:
        raise UsageError(
            "schedule: -o needs --systemd, whose files it takes; use --output-dir for the folder"
            " that the job writes to"
        )
    from fleetaudit.app.time_of_day import TimeOfDay

    time = TimeOfDay.parse(at)
    _check(options)
    from fleetaudit.app.connection_arguments import refuse_typed_programs

    refuse_typed_programs(options)
    from fleetaudit.app.schedule import ScheduleRequest, make_schedule

    request = ScheduleRequest(
        sources=params.inventory_sources(inventories), at=time, options=options
    )
    texts = make_schedule(request, console.print_message)
    if not as_systemd:
        console.print_result(texts.crontab_line)
    elif units is None:
        console.print_result(f"{texts.service}\n# ---- fleetaudit.timer\n{texts.timer}")
    else:
        texts.write_units(units, console.print_message)


def _check(options: OptionValues) -> None:
    """Raises `UsageError` for values that the job would refuse: errors must come now, not in the
    first night.
    """
    for name, parse in _CHECKS.items():
        if value := options[name]:
            parse(str(value))
