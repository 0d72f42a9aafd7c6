"""Attacks by inputs: every way to start a program, and one in forty of the others.

`make inputs` has all of them.
"""

from __future__ import annotations

import os

import pytest

from tests.hostile.inputs import __main__ as inputs
from tests.hostile.inputs.attack import Attack, missing_programs

pytestmark = pytest.mark.ssh
_ALL = inputs.attacks()
_SLOW = ("a pipe as", "/proc/kmsg as", "~")
_OTHERS = [a for a in _ALL if "--no-exec" not in a.name and not a.name.startswith(_SLOW)]
CHOSEN = [a for a in _ALL if "--no-exec" in a.name] + _OTHERS[::40]


@pytest.mark.parametrize("attack", [pytest.param(a, id=a.name[:80]) for a in CHOSEN])
def test_an_input_does_no_harm(attack: Attack) -> None:
    if missing := missing_programs():
        assert not os.environ.get("CI"), f"missing on this CI machine: {', '.join(missing)}"
        pytest.skip(f"missing: {', '.join(missing)}")
    seen = attack.run()
    assert not seen.wrong, seen


def test_the_names_of_the_attacks_are_unique() -> None:
    names = [attack.name for attack in _ALL]
    assert len(names) == len(set(names)) > 800
