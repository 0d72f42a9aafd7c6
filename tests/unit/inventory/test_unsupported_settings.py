"""Unsupported settings of ansible.cfg: an error if they change what a run sees, else a note."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from fleetaudit.app.planning import (
    HostSelection,
    build_plan,
    read_inventory,
    read_playbooks,
)
from fleetaudit.cli import run_command_line
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.errors import InputError
from fleetaudit.model import Secret

BECOMES = "all: {hosts: {a: , b: {ansible_become: true}}}\n"
PARAMIKO = "all: {hosts: {a: {ansible_connection: paramiko}}}\n"
ONE = {"hosts.yml": "all: {hosts: {a: }}\n"}
INI = {"hosts": "[web]\na\n"}
Files = dict[str, str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir(mode=0o755)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
    return tmp_path / "here"


def write(files: Files) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def planned(
    source: str, options: ConnectionOptions | None = None, limit: str | None = None
) -> list[str]:
    """Reads an inventory and plans its hosts, as `run` does; returns the notes."""
    notes = list[str]()
    loaded = read_inventory((source,), None, report=notes.append)
    build_plan(
        loaded,
        read_playbooks(()),
        HostSelection(limit=limit),
        options or ConnectionOptions(),
        connects=False,
        report=notes.append,
    )
    return [note.removeprefix("fleetaudit: note: ") for note in notes]


# Each: ansible.cfg, the inventory, and what the setting would change.
CHANGES: dict[str, tuple[str, Files, str]] = {
    "mappings merge": (
        "[defaults]\nhash_behaviour = merge\n",
        {"hosts.yml": "all: {vars: {m: {a: 1}}, hosts: {a: {m: {b: 1}}}}\n"},
        "m, a mapping that is set in two places",
    ),
    "mappings merge in files": (
        "[defaults]\nhash_behaviour = merge\n",
        {**INI, "group_vars/all": "m: {a: 1}\n", "group_vars/web": "m: {b: 1}\n"},
        "m, a mapping that is set in two places",
    ),
    "an order of groups": (
        "[defaults]\nprecedence = groups_inventory, all_inventory\n",
        {"hosts.yml": "all: {vars: {x: 1}, hosts: {a: }}\n"},
        "which variable of a group wins",
    ),
    "an error for what is repeated": (
        "[defaults]\nduplicate_dict_key = error\n",
        {**INI, "group_vars/web": "x: 1\nx: 2\n"},
        "what a duplicate key means (group_vars/web:2)",
    ),
    "an ending less": (
        "[defaults]\nyaml_valid_extensions = .yaml\n",
        ONE,
        "whether or how hosts.yml is read",
    ),
    "an ending more": (
        "[defaults]\nyaml_valid_extensions = .yml, .yaml, .json, .vars\n",
        {**INI, "group_vars/web.vars": "x: 1\n"},
        "whether or how group_vars/web.vars is read",
    ),
    "a folder with an ending that is skipped": (
        "[defaults]\ninventory_ignore_extensions = .ini\n",
        {"inv/hosts.ini": "a\n", "inv/b": "b\n"},
        "which files of the folder inv are read (hosts.ini)",
    ),
    "a folder with an ending that is not skipped": (
        "[inventory]\nignore_extensions = .orig\n",
        {"inv/b": "b\n", "inv/b.bak": "a\n"},
        "which files of the folder inv are read (b.bak)",
    ),
    "a folder with a pattern": (
        "[inventory]\nignore_patterns = artifacts, credentials\n",
        {"inv/hosts": "a\n", "inv/artifacts/x": "b\n"},
        "which files of the folder inv are read (artifacts)",
    ),
    "a folder with a pattern that is not looked at": (
        "[defaults]\ninventory_ignore_patterns = (a+)+$\n",
        {"inv/hosts": "a\n"},
        "which files of the folder inv are read (hosts)",
    ),
    "a plug-in for variables": (
        "[defaults]\nvars_plugins_enabled = host_group_vars, community.sops.sops\n",
        ONE,
        "the variables of hosts (by the plugin community.sops.sops)",
    ),
    "no plug-in for YAML": (
        "[inventory]\nenable_plugins = script, ini\n",
        ONE,
        "(by the plugin yaml)",
    ),
    "no plug-in for INI": (
        "[inventory]\nenable_plugins = yaml, toml\n",
        INI,
        "(by the plugin ini)",
    ),
    "the plug-in for INI before the other": (
        "[inventory]\nenable_plugins = ini, yaml\n",
        ONE,
        "(by the plugin yaml)",
    ),
    "another transport": (
        "[defaults]\ntransport = local\n",
        ONE,
        "how 1 host of 1 would be reached (first: a)",
    ),
    "another ssh": ("[ssh_connection]\nssh_executable = /opt/ssh\n", ONE, "(first: a)"),
    "a token": ("[ssh_connection]\npkcs11_provider = /opt/p.so\n", ONE, "(first: a)"),
    "a key that is no file": ("[ssh_connection]\nprivate_key = hunter2\n", ONE, "(first: a)"),
    "a proxy of paramiko": (
        "[paramiko_connection]\nproxy_command = hunter2\n",
        {"hosts.yml": PARAMIKO},
        "(first: a)",
    ),
    "a proxy of the usual paramiko": (
        "[defaults]\ntransport = paramiko\n[paramiko_connection]\nproxy_command = x\n",
        ONE,
        "(first: a)",
    ),
    "flags": (
        "[privilege_escalation]\nbecome_flags = -i\n",
        {"hosts.yml": BECOMES},
        "how 1 host of 2 would be",
    ),
    "flags of sudo": ("[sudo_become_plugin]\nflags = -E\n", {"hosts.yml": BECOMES}, "(first: b)"),
    "a user of sudo": ("[sudo_become_plugin]\nuser = app\n", {"hosts.yml": BECOMES}, "(first: b)"),
    "a user of sudo other than who logs in": (
        "[sudo_become_plugin]\nuser = app\n",
        {"hosts.yml": "all: {hosts: {b: {ansible_become: true, ansible_user: root}}}\n"},
        "(first: b)",
    ),
    "a program of sudo": (
        "[sudo_become_plugin]\nexecutable = /opt/sudo\n",
        {"hosts.yml": BECOMES},
        "(first: b)",
    ),
    "a password of sudo": (
        "[sudo_become_plugin]\npassword = hunter2\n",
        {"hosts.yml": BECOMES},
        "(first: b)",
    ),
    "a folder of sudo": (
        "[sudo_become_plugin]\nchdir = /tmp\n",
        {"hosts.yml": BECOMES},
        "(first: b)",
    ),
    "a user of doas": (
        "[doas_become_plugin]\nuser = app\n",
        {
            "hosts.yml": "all: {hosts: {a: , b: {ansible_become: true, ansible_become_method: "
            "doas}}}\n"
        },
        "(first: b)",
    ),
}

# Each: ansible.cfg, the inventory, whether there is a note.
CHANGES_NOTHING: dict[str, tuple[str, Files, bool]] = {
    "mappings merge, and there are none": (
        "[defaults]\nhash_behaviour = merge\n",
        {"hosts.yml": "all: {vars: {m: 1}, hosts: {a: {m: {b: 1}}, b: {m: {c: 1}}}}\n"},
        True,
    ),
    "an order of groups without variables": (
        "[defaults]\nprecedence = groups_inventory, all_inventory\n",
        {"hosts.yml": "web: {hosts: {a: {x: 1}}}\n"},
        True,
    ),
    "the usual order of groups": (
        "[defaults]\nprecedence = all_inventory, groups_inventory, "
        "all_plugins_inventory, all_plugins_play, "
        "groups_plugins_inventory, groups_plugins_play\n",
        {"hosts.yml": "all: {vars: {x: 1}, hosts: {a: }}\n"},
        False,
    ),
    "an error for what is repeated, and nothing is": (
        "[defaults]\nduplicate_dict_key = error\n",
        ONE,
        False,
    ),
    "an ending more that no file has": (
        "[defaults]\nyaml_valid_extensions = .yml, .yaml, .json, .vars\n",
        ONE,
        True,
    ),
    "endings where no folder is read": (
        "[defaults]\ninventory_ignore_extensions = ~, .orig, .bak, .ini, .cfg\n",
        {"hosts.ini": "a\n"},
        True,
    ),
    "patterns where no folder is read": (
        "[inventory]\nignore_patterns = artifacts, credentials\n",
        ONE,
        True,
    ),
    "a folder without what is skipped": (
        "[defaults]\ninventory_ignore_extensions = .ini, "
        ".retry\n[inventory]\nignore_patterns = artifacts\n",
        {"inv/hosts.yml": "all: {hosts: {a: }}\n", "inv/group_vars/all": "x: 1\n"},
        True,
    ),
    "no variables and no plug-in for them": ("[defaults]\nvars_plugins_enabled = ,\n", ONE, True),
    "Ansible's own plug-ins": (
        "[inventory]\nenable_plugins = host_list, script, auto, yaml, ini, toml\n",
        ONE,
        False,
    ),
    "Ansible's own plug-ins by their long names": (
        "[inventory]\nenable_plugins = ansible.builtin.host_list, "
        "ansible.builtin.script, ansible.builtin.auto, "
        "ansible.builtin.yaml, ansible.builtin.ini, ansible.builtin.toml\n",
        ONE,
        False,
    ),
    "plug-ins with the needed one": (
        "[inventory]\nenable_plugins = netbox.netbox.nb_inventory, yaml\n",
        ONE,
        True,
    ),
    "plug-ins with the one for INI": ("[inventory]\nenable_plugins = auto, yaml, ini\n", INI, True),
    "another transport where every host says its own": (
        "[defaults]\ntransport = local\n",
        {
            "hosts.yml": "all: {vars: {ansible_connection: ssh}, hosts: {a: , b: "
            "{ansible_connection: local}}}\n"
        },
        True,
    ),
    "another ssh where every host says its own or needs none": (
        "[ssh_connection]\nssh_executable = /opt/ssh\n",
        {
            "hosts.yml": "all: {hosts: {a: {ansible_connection: local}, b: "
            "{ansible_connection: paramiko}, "
            "c: {ansible_connection: openssh, ansible_ssh_executable: /usr/bin/ssh}}}\n"
        },
        True,
    ),
    "a proxy of paramiko without paramiko": (
        "[paramiko_connection]\nproxy_command = x\n",
        ONE,
        True,
    ),
    "flags where nobody becomes another": (
        "[privilege_escalation]\nbecome_flags = -i\n",
        ONE,
        True,
    ),
    "flags that are Ansible's own": (
        "[sudo_become_plugin]\nflags = -H -S -n\n",
        {"hosts.yml": BECOMES},
        False,
    ),
    "flags where every host says its own": (
        "[sudo_become_plugin]\nflags = -i\n",
        {"hosts.yml": "all: {hosts: {a: {ansible_become: true, ansible_become_flags: -H}}}\n"},
        True,
    ),
    "a user of sudo where every host says its own": (
        "[sudo_become_plugin]\nuser = app\n",
        {"hosts.yml": "all: {hosts: {a: {ansible_become: true, ansible_become_user: db}}}\n"},
        True,
    ),
    "a user of doas where sudo is taken": (
        "[doas_become_plugin]\nuser = app\n",
        {"hosts.yml": BECOMES},
        True,
    ),
    "a password of sudo where every host has one": (
        "[sudo_become_plugin]\npassword = hunter2\n",
        {"hosts.yml": "all: {hosts: {a: {ansible_become: true, ansible_become_password: x}}}\n"},
        True,
    ),
    "a list of vaults": ("[defaults]\nvault_identity_list = a@b\n", ONE, True),
    "a question for the password of a vault": ("[defaults]\nask_vault_pass = true\n", ONE, True),
}


def source_of(files: Files) -> str:
    return next(iter(files)).partition("/")[0]


@pytest.mark.parametrize("case", CHANGES)
def test_a_setting_that_would_change_something_is_an_error_at_its_line_with_a_command(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, files, what = CHANGES[case]
    write({"ansible.cfg": "[defaults]\nforks = 7\n" + text.removeprefix("[defaults]\n"), **files})
    with pytest.raises(InputError) as caught:
        planned(source_of(files))
    error = caught.value
    assert error.source == "ansible.cfg"
    assert error.line == Path("ansible.cfg").read_text().count("\n")
    assert what in str(error)
    assert "hunter2" not in str(error)
    # What is printed does it, and leaves the rest of the file as it is.
    name, value = re.fullmatch(r"without this one setting:  export (\w+)=(.*)", error.hint).groups()  # type: ignore[union-attr]
    monkeypatch.setenv(name, "".join(shlex.split(value)))
    assert not any(
        name.lower().endswith(note.partition(" ")[0]) for note in planned(source_of(files))
    )
    assert read_inventory((source_of(files),), None).settings.forks == 7


@pytest.mark.parametrize("case", CHANGES_NOTHING)
def test_a_setting_that_changes_nothing_is_a_note_at_most(case: str) -> None:
    text, files, noted = CHANGES_NOTHING[case]
    write({"ansible.cfg": text, **files})
    notes = planned(source_of(files))
    assert all("ansible.cfg:" in note and "is not supported" in note for note in notes)
    assert bool(notes) == noted
    lines = text.splitlines()
    for note in notes:
        key, line = re.fullmatch(r"(.+) in ansible\.cfg:(\d+) is not .*", note).groups()  # type: ignore[union-attr]
        assert lines[int(line) - 1].startswith(f"{key.split()[-1]} ="), (
            "the name that is in that line"
        )
    assert "hunter2" not in "".join(notes)


def test_a_setting_in_the_environment_is_refused_with_the_command_to_unset_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write({"ansible.cfg": "[defaults]\ntransport = ssh\n", **ONE})
    monkeypatch.setenv("ANSIBLE_TRANSPORT", "winrm")
    with pytest.raises(InputError, match="transport") as caught:
        planned("hosts.yml")
    assert (caught.value.source, caught.value.hint) == (
        "ANSIBLE_TRANSPORT",
        "without it:  unset ANSIBLE_TRANSPORT",
    )


def test_a_list_of_hosts_needs_no_plugin_and_the_probe_of_this_machine_no_ansible_cfg(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write({"ansible.cfg": "[inventory]\nenable_plugins = yaml\n"})
    assert len(planned("a,b")) == 1
    write({"ansible.cfg": "[defaults]\nvars_plugins_enabled = community.sops.sops\n"})
    assert run_command_line(["probe"]) == 0
    assert "python" in capsys.readouterr().out


def test_only_selected_hosts_count() -> None:
    write(
        {"ansible.cfg": "[defaults]\ntransport = local\n", "hosts": "a ansible_connection=ssh\nb\n"}
    )
    assert len(planned("hosts", limit="a")) == 1
    with pytest.raises(InputError, match="how 1 host of 2"):
        planned("hosts")


def test_the_command_line_overrides_settings_of_the_sudo_plugin() -> None:
    write({"ansible.cfg": "[sudo_become_plugin]\nuser = app\npassword = x\n", **ONE})
    options = ConnectionOptions(become=True, become_user="db", become_password=Secret("x"))
    assert len(planned("hosts.yml", options)) == 2
    with pytest.raises(InputError, match="user"):
        planned("hosts.yml", ConnectionOptions(become=True, become_password=Secret("x")))


def test_a_password_for_sudo_in_the_environment_is_refused_only_if_it_would_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(ONE)
    monkeypatch.setenv("ANSIBLE_BECOME_PASS", "hunter2")
    assert len(planned("hosts.yml")) == 1
    with pytest.raises(InputError) as caught:
        planned("hosts.yml", ConnectionOptions(become=True))
    assert "hunter2" not in str(caught.value)


def test_become_allow_same_user_becomes_the_login_user() -> None:
    inventory = "all: {hosts: {a: {ansible_user: root, ansible_become: true}}}\n"
    write(
        {
            "ansible.cfg": "[privilege_escalation]\nbecome_allow_same_user = true\n",
            "hosts.yml": inventory,
        }
    )
    loaded = read_inventory(("hosts.yml",), None)
    plan = build_plan(
        loaded, read_playbooks(()), HostSelection(), ConnectionOptions(), connects=False
    )
    assert plan.hosts[0].target.become is not None  # type: ignore[union-attr]
    Path("ansible.cfg").unlink()
    plan = build_plan(
        read_inventory(("hosts.yml",), None),
        read_playbooks(()),
        HostSelection(),
        ConnectionOptions(),
        connects=False,
    )
    assert plan.hosts[0].target.become is None  # type: ignore[union-attr]
