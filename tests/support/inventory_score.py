"""Counts what the conformance tests really compared, and prints it in one line when the tests are
over.

Rules: a test says what it found by `record_property`, which goes with its report, so that the count
is right in one process and in several (xdist sends the reports to the one that prints). What did
not run is not counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

VERSION, SAME, REFUSED, MADE_UP, MADE_UP_REFUSED = (
    "ansible-core",
    "same",
    "refused",
    "made up",
    "made up, refused",
)
"""What a test may record: the version of Ansible; of an inventory whether it is read in the same
way (1 or 0), or why it is refused; of the generated ones how many are read in the same way and how
many were compared, and how many were refused.
"""


class Score:
    """The plugin that counts."""

    def __init__(self) -> None:
        self.version = "?"
        self.same = list[int]()
        self.refused = Counter[str]()
        self.made_up = [0, 0]
        self.made_up_refused = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found: list[tuple[str, Any]] = report.user_properties if report.when == "call" else []
        for name, value in found:
            if name == VERSION:
                self.version = value
            elif name == SAME:
                self.same.append(value)
            elif name == REFUSED:
                self.refused[value] += 1
            elif name == MADE_UP:
                self.made_up = [self.made_up[0] + value[0], self.made_up[1] + value[1]]
            elif name == MADE_UP_REFUSED:
                self.made_up_refused += value

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.same:
            terminalreporter.write_line(self.line())

    def line(self) -> str:
        """Returns the sentence, made of nothing but what was counted."""
        text = (
            f"inventory conformance: {sum(self.same)} of {len(self.same)} supported inventories"
            " equal to ansible-core"
        )
        text += f" {self.version}"
        if self.made_up[1]:
            same, compared = self.made_up
            text += f"; made up: {same} of {compared} equal, {self.made_up_refused} more refused"
        if self.refused:
            text += f"; refused on purpose: {self.refused.total()} ({'; '.join(self.refused)})"
        return text


def pytest_configure(config: pytest.Config) -> None:
    """Registers the counter, in the process that prints."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Score(), "inventory-score")
