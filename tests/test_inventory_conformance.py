"""Holds inventories against what Ansible itself makes of them: recorded, and live where ansible-inventory is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.inventory import load_inventory
from fleetaudit.model import Inventory

DATA = Path(__file__).parent / "data" / "inventories"
CORPUS = sorted(DATA.glob("*.yml"))
Facts = dict[str, Any]


def facts_of(inventory: Inventory) -> Facts:
    """What Ansible prints too: the hosts of each group that has any, in order, and the variables of each host."""
    return {
        "groups": {g: list(hosts) for g, hosts in inventory.groups.items() if hosts and g != "all"},
        "hosts": {h.name: h.variables for h in inventory.hosts},
    }


def facts_of_listing(listing: Facts) -> Facts:
    """The same out of `ansible-inventory --list`: members level by level, as Ansible's own get_hosts walks."""
    variables = listing.pop("_meta")["hostvars"]
    groups = dict[str, list[str]]()
    for name in listing:
        found, queue, seen = dict[str, None](), [name], {name}
        while queue:
            group = listing.get(queue.pop(0), {})
            found.update(dict.fromkeys(group.get("hosts", ())))
            fresh = [child for child in group.get("children", ()) if child not in seen]
            seen.update(fresh)
            queue += fresh
        groups[name] = list(found)
    hosts = groups.pop("all")
    return {
        "groups": {g: members for g, members in groups.items() if members},
        "hosts": {name: variables.get(name, {}) for name in hosts},
    }


def ansible_inventory() -> str:
    found = os.environ.get("FLEETAUDIT_ANSIBLE_INVENTORY") or shutil.which("ansible-inventory")
    if not found:
        pytest.skip("ansible-inventory is not on PATH (or name it in FLEETAUDIT_ANSIBLE_INVENTORY)")
    return found


def listing_of(program: str, folder: Path, *sources: str) -> Facts:
    config = folder / "empty.cfg"
    config.write_text("")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_CONFIG": str(config), "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    arguments = [word for source in sources for word in ("-i", source)]
    done = subprocess.run(
        [program, *arguments, "--list"], env=environment, capture_output=True, check=True, timeout=60, text=True
    )
    listing: Facts = json.loads(done.stdout)
    return listing


def test_the_corpus_is_there_and_each_of_it_has_what_ansible_printed() -> None:
    assert len(CORPUS) >= 10
    assert {p.stem for p in CORPUS} == {p.stem for p in DATA.glob("*.json")}


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_groups_hosts_and_variables_are_those_that_ansible_printed(path: Path) -> None:
    recorded = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert facts_of(load_inventory([str(path)])) == facts_of_listing(recorded)


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_groups_hosts_and_variables_are_those_that_ansible_prints_today(path: Path, tmp_path: Path) -> None:
    listing = listing_of(ansible_inventory(), tmp_path, str(path))
    assert facts_of(load_inventory([str(path)])) == facts_of_listing(listing)


def test_several_sources_merge_as_in_ansible(tmp_path: Path) -> None:
    program = ansible_inventory()
    sources = [str(DATA / "nesting.yml"), "web1,new1,new2:2222", str(DATA / "ungrouped.yml"), str(DATA / "bodies.yml")]
    assert facts_of(load_inventory(sources)) == facts_of_listing(listing_of(program, tmp_path, *sources))


def test_the_way_out_that_errors_name_gives_an_inventory_that_is_read(tmp_path: Path) -> None:
    program = ansible_inventory()
    ini = tmp_path / "hosts.ini"
    ini.write_text("[web]\nweb[1:3] ansible_port=2222\n[web:vars]\nansible_user=audit\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text("ansible_host: 192.0.2.1\n")
    done = subprocess.run(
        [program, "-i", str(ini), "--list", "--yaml"], capture_output=True, check=True, timeout=60, text=True
    )
    (tmp_path / "new").mkdir()
    converted = tmp_path / "new" / "hosts.yml"
    converted.write_text(done.stdout)
    inventory = load_inventory([str(converted)])
    assert inventory.groups["web"] == ("web1", "web2", "web3")
    wanted = {"ansible_port": 2222, "ansible_user": "audit", "ansible_host": "192.0.2.1"}
    assert [host.variables for host in inventory.hosts] == [wanted] * 3
