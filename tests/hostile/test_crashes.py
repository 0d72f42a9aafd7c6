"""A command that fails or dies at any moment costs nothing: part of what `make crashes` tries.

Of the calls of each command only some fail here; all kinds of fault do.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .crashes.cases import all_cases
from .crashes.worlds import Worlds

pytestmark = pytest.mark.ssh  # it needs a C compiler and starts programs
SHARE = 150
"""Every how many moments one is tried; `make crashes` tries all."""


WORLDS = Worlds()
CASES = {case.name: case for case in all_cases(WORLDS, SHARE)}


@pytest.fixture(scope="module", autouse=True)
def worlds() -> Iterator[None]:
    with WORLDS:
        yield


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_as_it_must_be(name: str) -> None:
    assert not CASES[name].run().wrong
