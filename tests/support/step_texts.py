"""Every scenario that a playbook, the documentation or a test of this repository has."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleetaudit.model import Scenario, Step
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.step_order import step_families
from fleetaudit.playbook.steps import parse_step

ROOT = Path(__file__).parents[2]
PLAYBOOKS = (
    *("playbooks/strict.yml", "playbooks/unread-close.yml", "playbooks/timeouts.yml"),
    *("playbooks/restarts.yml", "playbooks/firewall.yml"),
    "docs/why/chat.yml",
)
MAX_STEPS = 64


def of_playbooks(paths: Sequence[Path] = ()) -> list[Scenario]:
    """Returns the scenarios of the shipped playbook and of others, by default this repository's:
    of one name the first.
    """
    found: dict[str, Scenario] = {}
    for path in (None, *(paths or [ROOT / each for each in PLAYBOOKS])):
        for play in load_playbook(path).plays:
            for scenario in play.scenarios:
                found.setdefault(scenario.name, scenario)
    return list(found.values())


def of_tests() -> list[Scenario]:
    """Returns a scenario for each text of the tests that is steps."""
    scenarios: list[Scenario] = []
    for text in dict.fromkeys(_texts()):
        steps = _steps_of(text)
        if 0 < len(steps) <= MAX_STEPS:
            scenarios.append(_scenario(f"text-{len(scenarios)}", text, steps))
    return scenarios


def _scenario(name: str, text: str, steps: tuple[Step, ...]) -> Scenario:
    """Returns a scenario over all families that its steps allow."""
    return Scenario(
        name=name,
        title=text,
        steps=steps,
        expect=("FIN",),
        because="a test has it.",
        families=step_families(steps, ("ipv4", "ipv6")),
    )


def shortest_with_each_word(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Returns a choice of scenarios that still has every actor with every verb and its first
    word.
    """
    chosen: dict[str, Scenario] = {}
    covered = set[tuple[str | int, ...]]()
    for scenario in sorted(scenarios, key=lambda each: len(each.steps)):
        words = {(scenario.families[0] == "unix", *step.call[:3]) for step in scenario.steps}
        if not words <= covered:
            covered |= words
            chosen[scenario.name] = scenario
    return list(chosen.values())


def _texts() -> Iterator[str]:
    """Yields the strings of the tests that may be steps, in the order of their files."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _steps_of(text: str) -> tuple[Step, ...]:
    """Returns the steps of a text, none if it is something else."""
    try:
        return tuple(parse_step(line) for line in text.split(";"))
    except ValueError:
        return ()
