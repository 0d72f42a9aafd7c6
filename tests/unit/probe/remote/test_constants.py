"""Numbers that differ between architectures."""

from __future__ import annotations

import os
import runpy
import termios

import pytest

from fleetaudit.probe.remote import constants

POWER = (0x4004667F, 0x40047473)
"""FIONREAD and TIOCOUTQ (SIOCOUTQ) of arch/powerpc/include/uapi/asm/ioctls.h: _IOR, not the numbers
of asm-generic/ioctls.h that the others have.
"""


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [("ppc64le", POWER), ("s390x", (0x541B, 0x5411)), ("armv7l", (0x541B, 0x5411))],
)
def test_what_asks_a_socket_for_its_queues(
    machine: str, numbers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: (*here[:4], machine))
    there = runpy.run_path(constants.__file__)
    assert (there["FIONREAD"], there["SIOCOUTQ"]) == numbers


def test_this_machine_has_those_of_its_c_library() -> None:
    assert (constants.FIONREAD, constants.SIOCOUTQ) == (termios.FIONREAD, termios.TIOCOUTQ)
