"""--no-exec: no host that makes this machine start a program is reached, and the others are."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from fleetaudit.connection.ansible_cfg import AnsibleSettings
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.connection.target import resolve_target
from fleetaudit.errors import InputError
from fleetaudit.inventory import load_inventory
from fleetaudit.model import LocalTarget, NotAudited, SshTarget, Target

NO_EXEC = ConnectionOptions(no_exec=True)
REFUSED = {
    # variables of the host: what the reason has
    "ansible_ssh_common_args: '-o ProxyCommand=nc'": "-o ProxyCommand in ansible_ssh_common_args",
    "ansible_ssh_args: '-oproxycommand=nc'": "-o proxycommand in ansible_ssh_args",
    "ansible_ssh_extra_args: '-F ./config'": "-F in ansible_ssh_extra_args",
    "ansible_ssh_extra_args: '-CF./config'": "-F in ansible_ssh_extra_args",
    "ansible_ssh_args: '-o LocalCommand=x'": "-o LocalCommand in",
    "ansible_ssh_args: '-o KnownHostsCommand=x'": "-o KnownHostsCommand in",
    "ansible_ssh_args: '-o Include=x'": "-o Include in",
    "ansible_ssh_args: '-o \"Match exec x\"'": "-o Match in",
    "ansible_ssh_args: '-o PKCS11Provider=x'": "-o PKCS11Provider in ansible_ssh_args",
    "ansible_ssh_args: '-I x'": "-I in ansible_ssh_args",
    "ansible_ssh_args: '-o SecurityKeyProvider=x'": "-o SecurityKeyProvider in",
    "ansible_ssh_args: '-o XAuthLocation=x -o ProxyUseFdpass=yes'": "-o ProxyUseFdpass in",
    "ansible_connection: openssh": "the system's ssh",
    "ansible_connection: openssh, ansible_ssh_executable: x": "the system's ssh",
    "ansible_connection: local": "makes this machine run the probe",
    "ansible_connection: kernel, kernel_image: x": "QEMU",
    'ansible_connection: \'{{ "lo" ~ "cal" }}\'': "makes this machine run the probe",
}
ALLOWED = (
    "x: 1",
    "ansible_ssh_common_args: '-J gate'",
    "ansible_ssh_common_args: '-F none -J gate'",
    "ansible_ssh_common_args: '-o ProxyCommand=none -o ConnectTimeout=3'",
    "ansible_connection: paramiko",
    "ansible_become: true, ansible_become_exe: x",  # on the host
    "ansible_python_interpreter: x",
)


def target_of(
    tmp_path: Path, variables: str, options: ConnectionOptions = NO_EXEC
) -> Target | NotAudited:
    (tmp_path / "hosts.yml").write_text(f"all:\n  hosts:\n    web: {{{variables}}}\n")
    inventory = load_inventory([str(tmp_path / "hosts.yml")])
    return resolve_target(inventory.hosts[0], options, inventory)


@pytest.mark.parametrize("variables", REFUSED)
def test_a_host_that_starts_a_program_is_not_audited_with_its_place(
    tmp_path: Path, variables: str
) -> None:
    found = target_of(tmp_path, variables)
    assert isinstance(found, NotAudited), found
    assert REFUSED[variables] in found.reason
    assert "hosts.yml:3" in found.reason
    assert "--no-exec allows no program" in found.reason
    assert found.hint


@pytest.mark.parametrize("variables", ALLOWED)
def test_a_host_that_starts_none_is_reached(tmp_path: Path, variables: str) -> None:
    found = target_of(tmp_path, variables)
    assert isinstance(found, SshTarget)
    assert (found.no_exec, found.client) == (True, "paramiko")


def test_ansible_cfg_starts_none_either(tmp_path: Path) -> None:
    settings = AnsibleSettings(ssh_args="-o ProxyCommand=nc", origins={"ssh_args": "ansible.cfg:2"})
    found = target_of(tmp_path, "x: 1", msgspec.structs.replace(NO_EXEC, settings=settings))
    assert isinstance(found, NotAudited)
    assert "-o ProxyCommand in ssh_args in ansible.cfg:2" in found.reason


def test_this_machine_is_audited_where_the_command_line_names_it() -> None:
    inventory = load_inventory(["localhost,"])
    (host,) = inventory.hosts
    assert isinstance(resolve_target(host, NO_EXEC, inventory), LocalTarget)
    chosen = msgspec.structs.replace(
        NO_EXEC, become=True, settings=AnsibleSettings(become_exe="/tmp/x")
    )
    found = resolve_target(host, chosen, inventory)
    assert isinstance(found, NotAudited)
    assert "would be started on this machine" in found.reason


@pytest.mark.parametrize(
    "variables", ["ansible_python_interpreter: /tmp/x", "ansible_become_exe: /tmp/x"]
)
def test_no_file_chooses_what_starts_on_this_machine(tmp_path: Path, variables: str) -> None:
    (tmp_path / "hosts.yml").write_text(f"all:\n  vars: {{ansible_become: yes, {variables}}}\n")
    inventory = load_inventory(["localhost,", str(tmp_path / "hosts.yml")])
    found = resolve_target(inventory.hosts[0], NO_EXEC, inventory)
    assert isinstance(found, NotAudited)
    assert "would be started on this machine" in found.reason


def test_an_inventory_that_is_a_program_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "hosts"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\necho '{{}}'\n")
    program.chmod(0o700)
    with pytest.raises(InputError, match="a program, and --no-exec allows none"):
        load_inventory([str(program)], no_exec=True)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "variables",
    [
        "ansible_ssh_common_args: '-o IdentityFile=/x/${HOME}'",
        "ansible_ssh_args: '-o IdentityAgent=$HOME'",
        "ansible_ssh_extra_args: '-i /x/${HOME}'",
        "ansible_ssh_private_key_file: '/x/${HOME}'",
        'ansible_private_key_file: \'{{ "/x/$" ~ "{HOME}" }}\'',
    ],
)
def test_no_variable_of_this_machines_environment_gets_into_a_reason(
    tmp_path: Path, variables: str
) -> None:
    found = target_of(tmp_path, variables)
    assert isinstance(found, NotAudited), found
    assert "hosts.yml:3 has a variable of this machine's environment" in found.reason
    assert isinstance(target_of(tmp_path, variables, ConnectionOptions()), SshTarget)


@pytest.mark.parametrize(
    "option",
    [
        "UserKnownHostsFile=./kh",
        "globalknownhostsfile ./kh",
        "RevokedHostKeys=./none",
        "CASignatureAlgorithms=+ssh-rsa",
    ],
)
def test_the_inventory_does_not_decide_which_host_keys_are_trusted(
    tmp_path: Path, option: str
) -> None:
    variables = f"ansible_ssh_common_args: '-C -o \"{option}\"'"
    found = target_of(tmp_path, variables)
    assert isinstance(found, NotAudited)
    assert "decides which host keys are trusted" in found.reason
    assert "--known-hosts FILE" in found.hint
    assert isinstance(target_of(tmp_path, variables, ConnectionOptions()), SshTarget)


@pytest.mark.parametrize("value", ["none", "NONE", "/dev/null", '"none"'])
@pytest.mark.parametrize("options", [NO_EXEC, ConnectionOptions()])
def test_no_inventory_makes_revoked_keys_trusted_again(
    tmp_path: Path, value: str, options: ConnectionOptions
) -> None:
    arguments = f"-o IdentitiesOnly=yes -o 'RevokedHostKeys={value}'"
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "web.json").write_text(
        json.dumps({"ansible_ssh_common_args": arguments})
    )
    found = target_of(tmp_path, "x: 1", options)
    assert isinstance(found, SshTarget)
    assert found.late_arguments == ("-o", "IdentitiesOnly=yes")


@pytest.mark.parametrize(
    "link",
    ["group_vars/all.yml", "group_vars/all/x.yml", "host_vars/web/x.yml", "more", "group_vars"],
)
def test_a_link_out_of_the_folder_of_an_inventory_is_refused(tmp_path: Path, link: str) -> None:
    secret = tmp_path / "home" / "all.yml"
    secret.parent.mkdir()
    secret.write_text("password: CANARY\n")
    folder = tmp_path / "hosts"
    path = folder / link
    path.parent.mkdir(parents=True)
    (folder / "a.yml").write_text("all: {hosts: {web: {}}}\n")
    path.symlink_to(secret.parent if link == "group_vars" else secret)
    with pytest.raises(InputError, match="a link out of the inventory's folder, and --no-exec"):
        load_inventory([str(folder)], no_exec=True)


def test_a_link_within_the_folder_of_an_inventory_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "hosts"
    (folder / "group_vars" / "all").mkdir(parents=True)
    (folder / "host_vars").mkdir()
    (folder / "a.yml").write_text("all: {hosts: {web: {}}}\n")
    (folder / "group_vars" / "all" / "x.yml").write_text("ansible_user: audit\n")
    (folder / "host_vars" / "web.yml").symlink_to("../group_vars/all/x.yml")
    linked = tmp_path / "link"
    linked.symlink_to(folder)
    (host,) = load_inventory([str(linked)], no_exec=True).hosts
    assert host.variables["ansible_user"] == "audit"


def test_a_link_to_itself_is_an_error_about_the_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "x").symlink_to("x")
    with pytest.raises(InputError, match="hosts/x"):
        load_inventory([str(tmp_path / "hosts")], no_exec=True)
