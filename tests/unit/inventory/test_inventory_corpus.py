"""Inventories are read as Ansible read them: compared with its recorded output, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.printing import render_list
from fleetaudit.model import Inventory
from tests import DATA
from tests.support.inventory_cases import CASES

INVENTORIES = DATA / "inventories"
CORPUS = sorted(INVENTORIES.glob("*.yml"))


def everybody(inventory: Inventory) -> list[str]:
    return [host.name for host in inventory.hosts]


def test_every_inventory_of_the_corpus_has_ansibles_output() -> None:
    assert len(CORPUS) >= 10
    assert {p.stem for p in CORPUS} == {p.stem for p in INVENTORIES.glob("*.json")}
    assert len(CASES) >= 100


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_the_listing_is_what_ansible_printed(path: Path) -> None:
    inventory = load_inventory([str(path)])
    recorded = path.with_suffix(".json").read_text("utf-8")
    assert json.loads(render_list(inventory, everybody(inventory))) == json.loads(recorded)


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_a_listing_read_again_gives_the_same_inventory(path: Path) -> None:
    inventory, again = load_inventory([str(path)]), load_inventory([str(path.with_suffix(".json"))])
    assert render_list(again, everybody(again)) == render_list(inventory, everybody(inventory))
