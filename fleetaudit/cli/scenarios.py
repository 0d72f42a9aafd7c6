"""`fleetaudit scenarios`: prints the catalogue of a playbook, each scenario with its steps."""

from __future__ import annotations

import click

from . import console


@click.command(short_help="List the scenarios, with their steps.")
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Default: unread-close.",
)
def scenarios(playbooks: tuple[str, ...]) -> None:
    """Prints every scenario of the playbooks: its steps, what is expected, and why."""
    from fleetaudit.report.text_lines import wrap
    from fleetaudit.text.sanitize import terminal_line

    width = console.width()
    lines = list[str]()
    for playbook in read_playbooks(playbooks):
        for play in playbook.plays:
            for s in play.scenarios:
                lines += [f"{s.name}  ({', '.join(s.families)})", f"  {terminal_line(s.title)}"]
                lines += [f"    - {terminal_line(step.text)}" for step in s.steps]
                control = f"; control: {s.control}" if s.control else ""
                expect = (
                    f"expect: {' or '.join(s.expect)} ({s.severity})"
                    if s.expect
                    else "no expectation"
                )
                lines.append(f"  {expect}{control}")
                lines += (
                    [*wrap([f"because: {terminal_line(s.because)}"], width, "  "), ""]
                    if s.because
                    else [""]
                )
    console.print_result("".join(line + "\n" for line in lines))
