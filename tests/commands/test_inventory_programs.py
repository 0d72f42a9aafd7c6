"""Inventories that are programs: how they start, what they may print, when they are stopped."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fleetaudit.errors import InputError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.builder import InventoryBuilder
from fleetaudit.inventory.script import read_script
from tests.support.timing import BUSY_S
from tests.unit.inventory.test_sources import names, refused, write


def test_a_program_gets_no_shell_and_no_terminal(tmp_path: Path) -> None:
    text = """#!/bin/sh
test -t 0 && exit 9
read line && exit 8
case $1 in
--list) echo '{"web": ["a;touch ran"], "_meta": {"hostvars": {}}}' | sed 's/;touch ran//' ;;
esac
"""
    program = write(tmp_path / "my inv;touch ran.sh", text, executable=True)
    assert names(load_inventory([str(program)])) == ["a"]
    assert not (tmp_path / "ran").exists()


def test_a_program_without_meta_runs_once_for_each_host(tmp_path: Path) -> None:
    text = """#!/bin/sh
echo "$@" >> calls
case $1 in --list) echo '{"web": {"hosts": ["b", "a"]}}';; *) echo "{\\"name\\": \\"$2\\"}";; esac
"""
    program = write(
        tmp_path / "inv.sh", text.replace("calls", str(tmp_path / "calls")), executable=True
    )
    inventory = load_inventory([str(program)])
    assert {host.name: host.variables for host in inventory.hosts} == {
        "b": {"name": "b"},
        "a": {"name": "a"},
    }
    assert (tmp_path / "calls").read_text().splitlines() == ["--list", "--host b", "--host a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\necho oh no >&2; exit 3\n", "ended with status 3: oh no"),
        ("#!/bin/sh\nkill -9 $$\n", "ended with status -9"),
        ("#!/bin/sh\necho no json\n", "printed no JSON"),
        ("#!/bin/sh\n", "printed no JSON"),
        ("#!/bin/sh\necho '[]'\n", "not a mapping of groups"),
        ("#!/bin/sh\necho '{}'\n", "no host in it"),
        ("#!/nowhere/python\n", "cannot be run"),
        ("#!/bin/sh\nprintf '\\377'\n", "is not UTF-8"),
        (
            "#!/bin/sh\ntest $1 = --list && echo '{\"a\": [\"h\"]}' || echo '[]'\n",
            "printed no mapping of variables",
        ),
    ],
)
def test_a_failing_program_is_an_error_with_its_name(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in str(refused(write(tmp_path / "inv.sh", text, executable=True)))


def test_a_program_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    program = write(
        tmp_path / "inv.sh",
        f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/pid\nwait\n",
        executable=True,
    )
    began = time.monotonic()
    with pytest.raises(InputError, match=r"did not end within 0\.5 s"):
        read_script(program, "inv.sh", InventoryBuilder(), deadline_s=0.5)
    assert time.monotonic() - began < 60 + BUSY_S
    child = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() - began < 60 + BUSY_S


def test_a_program_that_prints_without_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetaudit.inventory.script.MAX_FILE_BYTES", 100_000)
    program = write(
        tmp_path / "inv.sh", "#!/bin/sh\nwhile :; do echo 0123456789012345; done\n", executable=True
    )
    with pytest.raises(InputError, match="printed more than"):
        load_inventory([str(program)])


def test_a_program_that_writes_much_to_stderr_does_not_block(tmp_path: Path) -> None:
    text = (
        '#!/bin/sh\nhead -c 300000 /dev/zero >&2\necho \'{"a": ["h"], "_meta": {"hostvars":'
        " {}}}'\n"
    )
    assert names(load_inventory([str(write(tmp_path / "inv.sh", text, executable=True))])) == ["h"]
