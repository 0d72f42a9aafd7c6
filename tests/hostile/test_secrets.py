"""A part of `make secrets`: a run of each kind. No secret is in anything that it writes, prints,
starts or leaves; `make secrets` has every run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sshd import require

from .secrets.attacks import attacks
from .secrets.canaries import Canaries
from .secrets.cases import run_attack, secret_cases
from .secrets.world import World, world

pytestmark = [pytest.mark.ssh, pytest.mark.sudo]

CHOSEN = (
    "login",
    "a host that prints a wrong password",
    "built-in: sudo, wrong password",
    "built-in: printing-sudo",
    "openssh: su",
    "jump host: login and sudo",
    "vault: login and sudo",
    "built-in: a key with a line that is wrong",
    "a fault in verdict.decode_opened",
    "SIGSEGV after become",
)
ATTACKS = {attack.name: attack for attack in attacks()}


@pytest.fixture(scope="module")
def hosts() -> Iterator[World]:
    require("ssh", "sudo", "su", "strace", "nsenter", "openssl")
    with world() as found:
        yield found


@pytest.mark.parametrize("name", CHOSEN)
def test_no_secret_is_in_anything_that_a_run_leaves(hosts: World, name: str) -> None:
    assert run_attack(hosts, ATTACKS[name]).wrong == ()


def test_the_search_finds_what_is_planted(hosts: World) -> None:
    planted = next(iter(secret_cases(hosts)))
    assert planted.run().wrong == ()


def test_every_name_of_a_run_is_its_own() -> None:
    assert len(ATTACKS) == len([*attacks()])
    assert set(CHOSEN) <= ATTACKS.keys()


def test_canaries_are_new_each_time() -> None:
    assert not Canaries().found_in(Canaries()["login"].encode())
