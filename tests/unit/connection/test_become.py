"""The user that the probe runs as: Ansible's settings, precedence and passwords."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.app.planning import (
    HostSelection,
    build_plan,
    read_inventory,
    read_playbooks,
)
from fleetaudit.connection.ansible_cfg import AnsibleSettings, load_ansible_settings
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.errors import InputError
from fleetaudit.inventory.values import EncryptedText
from fleetaudit.inventory.vault import load_vault
from fleetaudit.model import (
    Become,
    HostPlan,
    KernelTarget,
    LocalTarget,
    NotAudited,
    Plan,
    Secret,
    SshTarget,
)
from fleetaudit.store.manifest import manifest_hosts
from tests import DATA
from tests.support.target_of import target

INVENTORIES = DATA / "inventories"
SECRET = "hunter2"


def become(options: ConnectionOptions | None = None, /, **variables: Any) -> Become | None:
    found = target(options, **variables)
    assert isinstance(found, SshTarget | LocalTarget), found
    return found.become


def refused(options: ConnectionOptions | None = None, /, **variables: Any) -> NotAudited:
    found = target(options, **variables)
    assert isinstance(found, NotAudited), found
    assert found.hint
    assert SECRET not in str(found)
    return found


# ---- whether, and as whom


def test_without_a_setting_the_probe_becomes_no_other_user() -> None:
    assert become() is None
    assert (
        become(
            ansible_become_user="root", ansible_become_password=SECRET, ansible_become_method="su"
        )
        is None
    )
    assert become(ConnectionOptions(become_user="root", become_password=Secret(SECRET))) is None


@pytest.mark.parametrize("connection", ["ssh", "local", "openssh", "paramiko"])
def test_with_ansible_become_the_probe_becomes_root_by_sudo(connection: str) -> None:
    assert become(ansible_become="yes", ansible_connection=connection) == Become()


@pytest.mark.parametrize("no", [False, "no", "False", 0])
def test_ansible_become_false_overrides_the_command_line_and_ansible_cfg(
    no: object,
) -> None:
    options = ConnectionOptions(become=True, settings=AnsibleSettings(become=True))
    assert become(options, ansible_become=no, ansible_become_user="root") is None
    assert become(options) == Become()
    assert become(ConnectionOptions(settings=AnsibleSettings(become=True))) == Become()


def test_variables_override_the_command_line_which_overrides_ansible_cfg() -> None:
    settings = AnsibleSettings(
        become=True, become_user="cfg", become_method="doas", become_exe="/cfg/doas"
    )
    assert become(ConnectionOptions(settings=settings)) == Become(
        method="doas", user="cfg", program="/cfg/doas"
    )
    options = ConnectionOptions(settings=settings, become_user="cli", become_method="sudo")
    assert become(options) == Become(method="sudo", user="cli", program="/cfg/doas")
    found = become(
        options,
        ansible_become_user="var",
        ansible_become_method="community.general.doas",
        ansible_become_exe="d",
    )
    assert found == Become(method="doas", user="var", program="d")


def test_the_spelling_of_the_method_overrides_the_common_one_and_others_are_ignored() -> None:
    found = become(
        ansible_become=True,
        ansible_become_user="common",
        ansible_sudo_user="own",
        ansible_doas_user="others",
        ansible_become_exe="common",
        ansible_sudo_exe="/own/sudo",
        ansible_become_password="1",
        ansible_become_pass="2",
        ansible_sudo_pass="3",
    )
    assert found == Become(user="own", program="/own/sudo", password=Secret("3"))


def test_a_login_as_the_become_user_needs_no_sudo_as_in_ansible() -> None:
    assert become(ansible_become=True, ansible_user="root") is None
    assert become(ansible_become=True, ansible_user="root", ansible_become_user="web") == Become(
        user="web"
    )
    assert become(ConnectionOptions(user="root", become=True)) is None


def test_a_kernel_is_root_already() -> None:
    options = ConnectionOptions(become=True, become_password=Secret(SECRET))
    assert target(options, ansible_connection="kernel", kernel_image="/k") == KernelTarget(
        image="/k"
    )


# ---- what is not ignored


def test_an_unsupported_method_is_refused_with_its_origin() -> None:
    for method in ("pbrun", "dzdo", "community.general.pbrun", "ksu", "runas"):
        found = refused(ansible_become=True, ansible_become_method=method)
        assert (found.stage, found.reason) == (
            "become",
            "ansible_become_method in inv/hosts.yml:11 is not supported; expected sudo, doas or su",
        )
    options = ConnectionOptions(
        settings=AnsibleSettings(
            become=True, become_method="dzdo", origins={"become_method": "a:3"}
        )
    )
    assert (
        refused(options).reason
        == "become_method in a:3 is not supported; expected sudo, doas or su"
    )


def test_su_takes_its_own_spellings_and_flags_of_the_environment_and_the_shell() -> None:
    found = become(
        ansible_become=True,
        ansible_become_method="ansible.builtin.su",
        ansible_become_user="common",
        ansible_su_user="app",
        ansible_su_exe="/opt/su",
        ansible_su_pass=SECRET,
        ansible_become_flags="-P",
        ansible_su_flags="- -s '/bin/a shell' -mp --shell=/bin/sh",
    )
    flags = ("-", "-s", "/bin/a shell", "-mp", "--shell=/bin/sh")
    assert found == Become(
        method="su", user="app", program="/opt/su", password=Secret(SECRET), flags=flags
    )
    assert become(ansible_become=True, ansible_become_method="su") == Become(method="su")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("-P", "-P"),
        ("--pty", "--"),
        (f"-c {SECRET}", "-c"),
        ("- -G wheel", "-G"),
        (SECRET, "a word that is not an option"),
        ("-s 'x", "an unclosed quotation"),
        ("- x", "a word that is not an option"),
    ],
)
def test_flags_of_su_that_change_what_it_runs_are_named_without_their_values(
    flags: str, named: str
) -> None:
    found = refused(ansible_become=True, ansible_become_method="su", ansible_become_flags=flags)
    assert found.reason == f"ansible_become_flags in inv/hosts.yml:12 is not supported: {named}"


@pytest.mark.parametrize("name", ["ansible_become_usr", "ansible_becomeuser", "ansible_sudo_chdir"])
def test_an_unknown_become_variable_is_refused(name: str) -> None:
    found = refused(ansible_become=True, **{name: SECRET})
    assert found.stage == "become"
    assert found.reason == f"{name} in inv/hosts.yml:11 is not supported"


@pytest.mark.parametrize("flags", ["-H -S -n", "-HSn", "-n", "-H", ""])
def test_flags_that_ask_for_what_is_done_anyway_are_ignored(flags: str) -> None:
    assert become(ansible_become=True, ansible_become_flags=flags) == Become()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("-i", "-i"),
        ("-H -E", "-E"),
        ("--preserve-env=X", "a word that is not a short flag"),
        (f"-u {SECRET}", "-u"),
        (SECRET, "a word that is not a short flag"),
        ("-H 'x", "an unclosed quotation"),
    ],
)
def test_flags_that_ask_for_something_else_are_named_without_their_values(
    flags: str, named: str
) -> None:
    found = refused(ansible_become=True, ansible_become_flags=flags)
    assert found.reason == f"ansible_become_flags in inv/hosts.yml:11 is not supported: {named}"


def test_become_settings_of_ansible_cfg_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nconnection_password_file = c\nask_pass = true\n[privilege_escalation]\nbecome"
        " = true\nbecome_exe = /opt/sudo\nbecome_flags = -H -S -n\nbecome_ask_pass = no\n"
    )
    settings = load_ansible_settings(
        environment={"ANSIBLE_BECOME_PASSWORD_FILE": "/b"}, system=tmp_path / "none"
    )
    assert (settings.become, settings.become_exe) == (True, "/opt/sudo")
    assert (settings.connection_password_file, settings.become_password_file) == (
        str(tmp_path / "c"),
        "/b",
    )
    assert settings.notes == ("ask_pass in ansible.cfg:3 is not supported: -k asks",)
    (tmp_path / "ansible.cfg").write_text("[privilege_escalation]\nbecome_flags = -i\n")
    (flags,) = load_ansible_settings(environment={}, system=tmp_path / "none").unsupported
    assert (flags.name, flags.origin) == ("become_flags", "ansible.cfg:2")
    (tmp_path / "hosts.yml").write_text(
        "all: {vars: {ansible_become: true}, hosts: {a: , b: {ansible_become_method: doas}}}\n"
    )
    for method in ("sudo", "doas"):
        for key in ("user", "executable", "flags", "password"):
            (tmp_path / "ansible.cfg").write_text(f"[{method}_become_plugin]\n{key} = {SECRET}\n")
            with pytest.raises(InputError, match=key) as caught:
                build_plan(
                    read_inventory(("hosts.yml",), None),
                    read_playbooks(()),
                    HostSelection(),
                    ConnectionOptions(),
                    connects=False,
                )
            assert SECRET not in str(caught.value)


# ---- passwords


@pytest.mark.parametrize("name", ["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])
def test_a_login_password_of_the_inventory_overrides_that_of_the_command_line(name: str) -> None:
    options = ConnectionOptions(password=Secret("cli"))
    assert target(options) == SshTarget(address="web1", password=Secret("cli"))
    assert target(options, **{name: SECRET}) == SshTarget(address="web1", password=Secret(SECRET))


@pytest.mark.parametrize("name", ["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])
def test_an_empty_password_excludes_the_host_from_that_of_the_command_line(name: str) -> None:
    options = ConnectionOptions(password=Secret("cli"), become=True, become_password=Secret("cli"))
    assert target(options, **{name: ""}) == SshTarget(
        address="web1", become=Become(password=Secret("cli"))
    )
    for of_sudo in ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"):
        assert become(options, **{of_sudo: ""}) == Become()
        assert become(options, **{of_sudo: None}) == Become(password=Secret("cli"))
    assert become(options, ansible_become_password="", ansible_sudo_pass=SECRET) == Become(
        password=Secret(SECRET)
    )


def test_an_encrypted_password_is_decrypted_for_its_host_alone() -> None:
    locked = EncryptedText((INVENTORIES / "vault" / "value.txt").read_text())
    opened = ConnectionOptions(vault=load_vault(INVENTORIES / "vault" / "password"), become=True)
    found = target(opened, ansible_password=locked, ansible_become_pass=locked)
    plain = Secret("web1.example.com")
    assert found == SshTarget(address="web1", password=plain, become=Become(password=plain))
    assert "--vault-password-file" in refused(ansible_password=locked).hint


def test_no_password_goes_to_a_host_whose_key_is_not_checked() -> None:
    off = ConnectionOptions(host_key_policy="off", become=True)
    assert isinstance(target(off), SshTarget)
    found = refused(off, ansible_password=SECRET)
    assert (found.stage, "not checked" in found.reason, "accept-new" in found.hint) == (
        "authenticate",
        True,
        True,
    )
    assert refused(off, ansible_become_pass=SECRET).stage == "become"
    assert become(off, ansible_become_pass=SECRET, ansible_connection="local") == Become(
        password=Secret(SECRET)
    )


def test_the_systems_ssh_gets_no_password() -> None:
    found = refused(ansible_connection="openssh", ansible_password=SECRET)
    assert (found.stage, "a password only on a terminal" in found.reason) == ("authenticate", True)
    # That of the command line is for those who can use it.
    assert target(
        ConnectionOptions(password=Secret(SECRET)), ansible_connection="openssh"
    ) == SshTarget(address="web1", client="openssh")


def test_a_target_never_shows_its_passwords() -> None:
    found = target(ansible_password=SECRET, ansible_become=True, ansible_become_pass=SECRET)
    assert isinstance(found, SshTarget)
    assert SECRET not in repr(found)
    with pytest.raises((TypeError, NotImplementedError)):
        msgspec.json.encode(found)
    with pytest.raises(TypeError):
        json.dumps(Secret(SECRET))


def _asked_nothing(place: SshTarget) -> HostPlan:
    return HostPlan(
        name="a",
        groups=(),
        target=place,
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def test_the_record_of_a_run_has_no_password() -> None:
    def encode(password: Secret | None) -> str:
        place = SshTarget(address="a", password=password, become=Become(password=password))
        (host,) = manifest_hosts(Plan(playbooks=(), hosts=(_asked_nothing(place),)))
        return host.connection

    assert encode(Secret("one")) == encode(Secret("two"))
    assert encode(Secret("one")) != encode(None)
