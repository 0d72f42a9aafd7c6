"""The view of the way from the kernel to the service that loses answers."""

from __future__ import annotations

import msgspec

from .summary import Sentence


class StoryStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the way, with the numbers of this run.

    `link` is the anchor of its section, "" if the page has none. `command` is what to type if the
    step was not measured, or if it could not be; "" if it was. `is_typed`: it is a command.
    """

    title: str
    link: str
    sentence: Sentence
    command: str = ""
    is_typed: bool = True


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The way from the kernel to the cure; `has_culprits` if hosts were watched or asked.

    Otherwise the page only says how to do both. `steps` begin with the kernel, the counters, the
    programs and the services.
    """

    steps: tuple[StoryStep, ...]
    has_culprits: bool

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that name programs and ask services, if this run did not."""
        return tuple(step.command for step in self.steps[2:4] if step.command)
