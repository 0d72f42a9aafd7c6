"""Lies of a host, each together with three honest hosts. Of the numbers one value of each field is
tried, and over SSH what a replayed answer becomes; `make lies` runs them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.lies import evidence, numbers, shapes
from tests.hostile.lies.fleet import Fleet
from tests.hostile.lies.genuine import Genuine, Lie
from tests.hostile.lies.over_ssh import LyingServer, lying_server, ssh_lies

pytestmark = pytest.mark.ssh

OVER_SSH = ("its own answer", "the answer of last week", "no nonce", "RST before SYN")


def lies_of(genuine: Genuine) -> dict[str, Lie]:
    """Returns the lies whose names need no reply."""
    return {lie.name: lie for lie in (*evidence.lies(genuine), *shapes.lies(genuine))}


NAMES = tuple(lies_of(Genuine(Path("unused"))))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("lies"))


@pytest.fixture(scope="module")
def server(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LyingServer]:
    folder = tmp_path_factory.mktemp("ssh")
    with lying_server(fleet.genuine, folder) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_a_lie_costs_its_own_row_at_most(fleet: Fleet, name: str) -> None:
    assert fleet.check(lies_of(fleet.genuine)[name]).wrong == ()


def test_a_number_out_of_its_range_is_refused_whatever_field_it_is_in(fleet: Fleet) -> None:
    lies = [*numbers.lies(fleet.genuine)][:: numbers.PER_FIELD]
    assert len(lies) > 40
    wrong = {lie.name: fleet.check(lie).wrong for lie in lies}
    assert {name: each for name, each in wrong.items() if each} == {}


def test_there_are_at_least_200_lies(fleet: Fleet) -> None:
    assert len(NAMES) + len([*numbers.lies(fleet.genuine)]) >= 200


@pytest.mark.parametrize("name", OVER_SSH)
def test_a_lie_over_ssh_costs_its_own_row_at_most(server: LyingServer, name: str) -> None:
    lies = {lie.name: lie for lie in ssh_lies(server.genuine, server.nonces)}
    if name == "the answer of last week":
        server.check(lies["its own answer"])
    assert server.check(lies[name]).wrong == ()
