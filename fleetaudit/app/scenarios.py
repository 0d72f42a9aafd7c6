"""The catalogue of playbooks as text: each scenario with its steps, each watch and each service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter

from fleetaudit.model import Play, Scenario, Service
from fleetaudit.playbook.expectation_tests import describe_bounds
from fleetaudit.report.text_lines import wrap
from fleetaudit.text.sanitize import terminal_line

from .planning import read_playbooks


def render_scenarios(playbooks: Sequence[str], *, width: int) -> str:
    """Returns every scenario of the playbooks: its steps, what is expected, and why; then for how
    long hosts are watched, and which services are asked.

    `playbooks` are paths or names of shipped ones, () for the default one; `width` is in columns.
    Raises `NothingToDoError` for a missing playbook, `InputError` for what makes no sense in one.
    """
    plays = [*chain.from_iterable(map(attrgetter("plays"), read_playbooks(playbooks)))]
    scenarios = chain.from_iterable(map(attrgetter("scenarios"), plays))
    texts = [_scenario_text(scenario, width) for scenario in scenarios]
    services = chain.from_iterable(map(attrgetter("services"), plays))
    return "".join([*texts, *map(_watch_text, plays), *map(_service_text, services)])


def _scenario_text(scenario: Scenario, width: int) -> str:
    """Returns the text of one scenario, with an empty line at its end."""
    return "".join(f"{line}\n" for line in _lines(scenario, width))


def _lines(scenario: Scenario, width: int) -> Iterator[str]:
    """Yields the lines of one scenario, the last one empty."""
    yield f"{scenario.name}  ({', '.join(scenario.families)})"
    yield f"  {terminal_line(scenario.title)}"
    for step in scenario.steps:
        yield f"    - {terminal_line(step.text)}"
    expectation = _expectation(scenario)
    if scenario.control:
        expectation += f"; control: {scenario.control}"
    yield f"  {expectation}"
    if scenario.because:
        yield from wrap([f"because: {terminal_line(scenario.because)}"], width, "  ")
    yield ""


def _expectation(scenario: Scenario) -> str:
    """Returns what is expected, and how severe anything else is."""
    if not scenario.expect:
        return "no expectation"
    return f"expect: {' or '.join(scenario.expect)} ({scenario.severity})"


def _watch_text(play: Play) -> str:
    """Returns for how long the hosts of a play are watched, with an empty line at its end; "" if
    they are not.
    """
    if play.watch is None:
        return ""
    lines = [
        f"watch  ({play.watch.seconds:g} s)",
        f"  Which programs of “hosts: {terminal_line(play.hosts)}” reset connections; needs root",
        *_watch_expectations(play),
        "",
    ]
    return "".join(f"{line}\n" for line in lines)


def _service_text(service: Service) -> str:
    """Returns what a service is asked, with an empty line at its end."""
    return (
        f"service {service.name}\n"
        f"  {service.target} on {service.address}, only with `fleetaudit services`:"
        f" {', '.join(service.checks)}\n\n"
    )


def _watch_expectations(play: Play) -> Iterator[str]:
    """Yields a line for each expectation of a watch."""
    for name, expectations in play.watch_expect.items():
        for each in expectations:
            bounds = " and ".join(describe_bounds(each.at_least, each.at_most))
            yield f"  expect: {name} {bounds} ({each.severity})"
