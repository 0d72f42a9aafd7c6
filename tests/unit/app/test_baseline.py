"""Reading the file of waivers that `--waivers` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.app.baseline import read_waivers
from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Host, Inventory

INVENTORY = Inventory(sources=(), hosts=(Host(name="web1"),), groups={"all": ("web1",)})
FILE = """\
- finding: sysctl:net.ipv4.tcp_fin_timeout
  hosts: HOSTS
  owner: ann
  reason: The balancer wants it.
  expiry: 2026-12-31
"""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match=r"none\.yml"):
        read_waivers(str(tmp_path / "none.yml"), INVENTORY)


def test_without_a_file_there_are_no_waivers() -> None:
    assert read_waivers(None, INVENTORY).waivers == ()


def test_a_file_is_read_and_an_invalid_host_pattern_in_it_is_refused_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "waivers.yml"
    path.write_text(FILE.replace("HOSTS", "web1"))
    (waiver,) = read_waivers(str(path), INVENTORY).waivers
    assert (waiver.hosts, waiver.source, waiver.line) == ("web1", str(path), 1)
    path.write_text(FILE.replace("HOSTS", "'web1['"))
    with pytest.raises(InputError, match="bracket"):
        read_waivers(str(path), INVENTORY)
