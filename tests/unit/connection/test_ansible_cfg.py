"""ansible.cfg: found where Ansible finds it; every setting about connections or merging counts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fleetaudit.connection.ansible_cfg import AnsibleSettings, load_ansible_settings
from fleetaudit.errors import ConfigError, InputError

NOWHERE = Path("/nowhere/ansible.cfg")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir(mode=0o755)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def loaded(
    here: Path, *sources: str, system: Path = NOWHERE, **environment: str
) -> AnsibleSettings:
    return load_ansible_settings(
        sources, environment={"HOME": str(here.parent / "home"), **environment}, system=system
    )


def test_without_any_ansible_cfg_nothing_is_set(here: Path) -> None:
    assert loaded(here) == AnsibleSettings()


def test_every_setting_about_connections_has_its_type_and_line(here: Path) -> None:
    text = """[defaults]
remote_user = audit   ; who
Remote_Port: 2222
private_key_file = keys/id
timeout=30
forks = 50
host_key_checking = True
vault_password_file = ~/vault
[ssh_connection]
ssh_args = -C -o ControlMaster=auto
ssh_common_args = "-o Compression=yes"
ssh_extra_args =
[privilege_escalation]
become = no
become_method = sudo
become_user = root
"""
    Path("ansible.cfg").write_text(text)
    found = loaded(here)
    assert (found.remote_user, found.remote_port, found.timeout, found.forks) == (
        "audit",
        2222,
        30,
        50,
    )
    assert found.private_key_file == str(here / "keys" / "id")
    assert found.vault_password_file == str(Path("~/vault").expanduser())
    assert (found.host_key_checking, found.become) == (True, False)
    assert (found.become_method, found.become_user) == ("sudo", "root")
    assert found.ssh_args == "-C -o ControlMaster=auto"
    assert found.ssh_common_args == "-o Compression=yes"
    assert found.ssh_extra_args is None
    assert found.origins["remote_user"] == "ansible.cfg:2"
    assert found.origins["remote_port"] == "ansible.cfg:3"
    assert found.origins["become"] == "ansible.cfg:14"
    assert found.notes == ()


def test_the_first_place_that_ansible_looks_in_counts(here: Path) -> None:
    places = {
        "named": here.parent / "named.cfg",
        "here": here / "ansible.cfg",
        "home": here.parent / "home" / ".ansible.cfg",
        "system": here.parent / "system.cfg",
    }
    for name, path in places.items():
        path.write_text(f"[defaults]\nremote_user={name}\n")
    assert (
        loaded(here, ANSIBLE_CONFIG=str(places["named"]), system=places["system"]).remote_user
        == "named"
    )
    for name, path in list(places.items())[1:]:
        assert loaded(here, system=places["system"]).remote_user == name
        path.unlink()


def test_ansible_config_may_name_the_folder_of_an_ansible_cfg(here: Path) -> None:
    (here.parent / "home" / "ansible.cfg").write_text("[defaults]\nremote_user=audit\n")
    assert loaded(here, ANSIBLE_CONFIG=str(here.parent / "home")).remote_user == "audit"


def test_a_missing_file_in_ansible_config_is_an_error(here: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        loaded(here, ANSIBLE_CONFIG="missing.cfg")


def test_an_ansible_cfg_in_a_world_writable_folder_is_not_read_and_there_is_a_note(
    here: Path,
) -> None:
    Path("ansible.cfg").write_text("[defaults]\nremote_user=evil\n")
    here.chmod(0o777)
    found = loaded(here)
    assert found.remote_user is None
    assert "anybody may write there" in found.notes[0]


def test_the_environment_overrides_the_file(here: Path) -> None:
    Path("ansible.cfg").write_text("[defaults]\nremote_user=file\nforks=3\n")
    found = loaded(here, ANSIBLE_REMOTE_USER="env", ANSIBLE_PRIVATE_KEY_FILE="k")
    assert (found.remote_user, found.forks, found.private_key_file) == ("env", 3, "k")
    assert found.origins == {
        "remote_user": "ANSIBLE_REMOTE_USER",
        "forks": "ansible.cfg:3",
        "private_key_file": "ANSIBLE_PRIVATE_KEY_FILE",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[defaults]\nremote_user = {{ hunter2 }}\n", 2),
        ("[defaults]\nforks = hunter2\n", 2),
        ("[defaults]\nremote_port = 0\n", 2),
        ("[privilege_escalation]\nbecome = hunter2\n", 2),
        ("remote_user = hunter2\n", 1),
        ("[defaults]\nhunter2\n", 0),
    ],
)
def test_an_invalid_value_is_refused_at_its_line(here: Path, text: str, line: int) -> None:
    Path("ansible.cfg").write_text(text)
    with pytest.raises(InputError) as caught:
        loaded(here)
    assert (caught.value.source, caught.value.line) == ("ansible.cfg", line)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "hash_behaviour = replace",
        "transport = ssh",
        "ssh_executable = ssh",
        "stdout_callback = yaml",
    ],
)
def test_a_setting_that_asks_for_what_is_done_anyway_is_ignored(here: Path, text: str) -> None:
    Path("ansible.cfg").write_text(f"[defaults]\n{text}\n[ssh_connection]\npipelining = True\n")
    assert msgspec.structs.replace(loaded(here), transport=None, origins={}) == AnsibleSettings()


def test_a_setting_about_merging_is_kept_with_its_origin_also_from_the_environment(
    here: Path,
) -> None:
    Path("ansible.cfg").write_text("[defaults]\n\nhash_behaviour = merge\n")
    (one,) = loaded(here).unsupported
    (other,) = loaded(here, ANSIBLE_HASH_BEHAVIOUR="merge").unsupported
    assert (one.name, one.value, one.origin) == ("hash_behaviour", "merge", "ansible.cfg:3")
    assert (other.name, other.value, other.origin) == (
        "hash_behaviour",
        "merge",
        "ANSIBLE_HASH_BEHAVIOUR",
    )


@pytest.mark.parametrize("value", ["replace", ""])
def test_an_empty_variable_of_the_environment_overrides_the_file(here: Path, value: str) -> None:
    Path("ansible.cfg").write_text("[defaults]\nhash_behaviour = merge\n")
    assert loaded(here, ANSIBLE_HASH_BEHAVIOUR=value).unsupported == ()


def test_host_keys_are_checked_whatever_ansible_cfg_says_and_there_is_a_note(here: Path) -> None:
    Path("ansible.cfg").write_text("[defaults]\nhost_key_checking = False\n")
    assert "ansible.cfg:2 is not supported: host keys are checked" in loaded(here).notes[0]


def test_an_ansible_cfg_next_to_the_inventory_is_not_read_and_there_is_a_note(here: Path) -> None:
    other = here.parent / "home"
    (other / "ansible.cfg").write_text("[defaults]\nremote_user=x\n")
    (other / "hosts").write_text("a\n")
    found = loaded(here, "a,b", "../home/hosts", "../home")
    assert found.remote_user is None
    assert len(found.notes) == 1
    assert "../home/ansible.cfg is not read" in found.notes[0]
    assert loaded(here, "../home/hosts", ANSIBLE_CONFIG="../home/ansible.cfg").notes == ()
