"""The cases of `make privilege`, by their names.

Of the many comparisons with OpenSSH's client every third runs here; of
everything else all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .privilege import certificates
from .privilege.__main__ import CASES
from .privilege.world import World, world

pytestmark = pytest.mark.ssh


LEFT_OUT = {name for i, name in enumerate(certificates.CASES) if i % 3}


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    """Returns the servers and keys of this section, started as they are needed."""
    with world() as made:
        yield made


@pytest.mark.parametrize("name", [name for name in CASES if name not in LEFT_OUT])
def test_a_case_is_as_it_must_be(name: str, here: World) -> None:
    assert CASES[name](here).wrong == ()
