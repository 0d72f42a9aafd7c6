"""The command `inventory` prints what is read, and no more of a secret than its file shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetaudit.cli import run_command_line
from tests import DATA

VAULT = DATA / "inventories" / "vault"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hosts").write_text(
        "lone\n[web]\nweb[1:2] x='{{ y }}'\n[prod:children]\nweb\n[web:vars]\ny=1,2\n"
    )
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command_line(["inventory", *arguments]) == 0
    return capsys.readouterr().out


def test_list_prints_the_hosts_that_the_limit_selects(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listing = json.loads(printed(capsys, "hosts", "--list", "-l", "web*:!web1"))
    assert listing == {
        "_meta": {
            "hostvars": {"web2": {"x": "{{ y }}", "y": [1, 2]}},
            "profile": "inventory_legacy",
        },
        "all": {"children": ["ungrouped", "prod"]},
        "prod": {"children": ["web"]},
        "web": {"hosts": ["web2"]},
    }


def test_host_graph_and_list_hosts_print_variables_the_graph_and_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert json.loads(printed(capsys, "hosts", "--host", "web1")) == {"x": "{{ y }}", "y": [1, 2]}
    assert printed(capsys, "hosts", "--list-hosts") == "lone\nweb1\nweb2\n"
    assert printed(capsys, "hosts", "--graph").splitlines() == [
        "@all:",
        "  |--@ungrouped:",
        "  |  |--lone",
        "  |--@prod:",
        "  |  |--@web:",
        "  |  |  |--web1",
        "  |  |  |--web2",
    ]


def test_what_is_printed_can_be_read_as_the_same_inventory(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = printed(capsys, "hosts", "--list")
    (folder / "hosts.json").write_text(listing)
    assert printed(capsys, "hosts.json", "--list") == listing


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["hosts"], 64),
        (["hosts", "--list", "--graph"], 64),
        (["hosts", "--host", "wbe1"], 66),
        (["hosts", "--list", "-l", "nobody"], 66),
        (["nowhere", "--list"], 66),
        (["hosts", "--list", "--vault-password-file", "nowhere"], 66),
    ],
)
def test_a_wrong_command_line_has_its_own_status(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["inventory", *arguments]) == status
    assert capsys.readouterr().out == ""


def test_a_misspelt_host_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    run_command_line(["inventory", "hosts", "--host", "wbe1"])
    assert "did you mean “web1”" in capsys.readouterr().err


def test_an_encrypted_value_stays_encrypted_with_and_without_its_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = str(VAULT / "hosts.ini")
    found = printed(
        capsys, source, "--host", "web1", "--vault-password-file", str(VAULT / "password")
    )
    assert "hunter2" not in found
    assert json.loads(found)["inline"]["__ansible_vault"].startswith("$ANSIBLE_VAULT;")
    assert json.loads(found)["from_file"] == "opened"


def test_a_vault_password_file_may_be_named_in_ansible_cfg(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.chmod(0o755)
    (folder / "ansible.cfg").write_text(f"[defaults]\nvault_password_file = {VAULT / 'password'}\n")
    assert (
        json.loads(printed(capsys, str(VAULT / "hosts.ini"), "--host", "web2"))["from_file"]
        == "opened"
    )


def test_notes_go_to_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "hosts").write_text("a\n")
    (folder / "host_vars").mkdir()
    (folder / "host_vars" / "a").write_text("x: 1\n")
    assert run_command_line(["inventory", "there/hosts", "--list-hosts"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "a\n"
    assert "host_vars in the current folder is not read" in captured.err
