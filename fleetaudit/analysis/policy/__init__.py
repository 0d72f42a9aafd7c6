"""Makes a playbook of expectations from a run: the behaviour of one host, or of most hosts. Pure.

`behaviour` finds what the hosts have in common, `playbook_text` writes it as a playbook.
"""

from .behaviour import (
    LEFT_OUT,
    Behaviour,
    behaviour_of_host,
    behaviour_of_majority,
)
from .playbook_text import render_playbook

__all__ = [
    "LEFT_OUT",
    "Behaviour",
    "behaviour_of_host",
    "behaviour_of_majority",
    "render_playbook",
]
