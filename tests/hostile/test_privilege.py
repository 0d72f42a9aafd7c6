"""The cases of `make privilege`, by their names.

Of the many comparisons with OpenSSH's client every fourth runs here; of the logins and controllers,
which take seconds each, one of each kind (`WHOLE_AUDITS`); of everything else all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .privilege import certificates, controller, logins
from .privilege.__main__ import CASES
from .privilege.world import World, world

pytestmark = pytest.mark.ssh


WHOLE_AUDITS = {
    "restrict,command= in authorized_keys",
    "certificate: force-command and source-address",
    "certificate: source-address of another machine",
    "one exact line of sudoers",
    "controller without any privilege, paramiko",
}
ALWAYS = {name for name in certificates.CASES if name.startswith("HostKeyAlias")}
LEFT_OUT = {name for i, name in enumerate(certificates.CASES) if i % 4} - ALWAYS
LEFT_OUT |= (logins.CASES.keys() | controller.CASES.keys()) - WHOLE_AUDITS


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    """Returns the servers and keys of this section, started as they are needed."""
    with world() as made:
        yield made


@pytest.mark.parametrize("name", [name for name in CASES if name not in LEFT_OUT])
def test_a_case_is_as_it_must_be(name: str, here: World) -> None:
    assert CASES[name](here).wrong == ()


def test_every_whole_audit_is_a_case() -> None:
    assert CASES.keys() > WHOLE_AUDITS
