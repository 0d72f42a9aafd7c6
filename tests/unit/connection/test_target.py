"""From variables to targets: Ansible's precedence; no variable that matters is ignored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.connection.ansible_cfg import AnsibleSettings
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.connection.ssh_arguments import (
    first_openssh_only_argument,
    first_significant_argument,
)
from fleetaudit.connection.target import resolve_target
from fleetaudit.errors import InputError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.values import EncryptedText, Unsafe
from fleetaudit.inventory.vault import Vault, load_vault
from fleetaudit.model import (
    Host,
    Interpreter,
    Inventory,
    KernelTarget,
    LocalTarget,
    NotAudited,
    SshClient,
    SshTarget,
)
from tests import DATA
from tests.support.target_of import target

INVENTORIES = DATA / "inventories"
SECRET = "hunter2"


def test_a_host_without_variables_is_reached_by_its_name_with_the_options() -> None:
    options = ConnectionOptions(
        user="audit",
        private_key="k",
        known_hosts=("kh",),
        host_key_policy="accept-new",
        timeout_s=3,
    )
    assert target(options) == SshTarget(
        address="web1",
        user="audit",
        private_keys=("k",),
        known_hosts=("kh",),
        host_key_policy="accept-new",
        connect_timeout_s=3,
    )
    assert target() == SshTarget(address="web1", port=22, user=None)


@pytest.mark.parametrize("name", ["ansible_host", "ansible_user", "ansible_private_key_file"])
def test_a_text_without_an_end_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} of “web1” is longer than 16384 characters"):
        target(**{name: "a" * 16_385})
    target(**{name: "a" * 16_384})


@pytest.mark.parametrize("name", ["ansible_ssh_args", "ansible_ssh_common_args"])
def test_arguments_without_an_end_cost_their_host_alone(name: str) -> None:
    found = target(**{name: "-o User=" + "a" * 10_000_000})
    assert isinstance(found, NotAudited)
    assert f"{name} in " in found.reason
    assert "more than 65536 characters" in found.reason


def test_variables_override_the_command_line() -> None:
    options = ConnectionOptions(user="audit", private_key="k", timeout_s=3)
    found = target(
        options, ansible_user="root", ansible_private_key_file="/keys/id", ansible_ssh_timeout=30
    )
    assert found == SshTarget(
        address="web1", user="root", private_keys=("/keys/id",), connect_timeout_s=30
    )


def test_an_old_spelling_overrides_the_new_one_wherever_either_is_set(tmp_path: Path) -> None:
    text = """
web:
  hosts:
    web1: {ansible_host: new, ansible_port: 1, ansible_user: new, ansible_private_key_file: new}
  vars: {ansible_ssh_host: old, ansible_ssh_port: 2, ansible_ssh_user: old,
    ansible_ssh_private_key_file: old}
"""
    (tmp_path / "hosts.yml").write_text(text)
    (host,) = load_inventory([str(tmp_path / "hosts.yml")]).hosts
    assert resolve_target(host, ConnectionOptions()) == SshTarget(
        address="old", port=2, port_is_explicit=True, user="old", private_keys=("old",)
    )


def test_an_empty_or_null_variable_is_not_set() -> None:
    found = target(
        ConnectionOptions(user="audit"),
        ansible_user="",
        ansible_host=None,
        ansible_ssh_common_args="",
        ansible_password=None,
    )
    assert found == SshTarget(address="web1", user="audit")


@pytest.mark.parametrize(
    "connection",
    [
        "ssh",
        "smart",
        "paramiko",
        "paramiko_ssh",
        "ansible.builtin.ssh",
        "ansible.builtin.paramiko_ssh",
    ],
)
def test_every_spelling_of_ssh_is_an_ssh_target(connection: str) -> None:
    assert target(ansible_connection=connection, ansible_port="2222") == SshTarget(
        address="web1", port=2222, port_is_explicit=True
    )


def test_a_local_connection_ignores_what_only_ssh_uses() -> None:
    assert (
        target(ansible_connection="local", ansible_host="x", ansible_ssh_common_args="-J jump")
        == LocalTarget()
    )


def test_the_home_folder_is_expanded_in_keys_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/audit")
    found = target(ConnectionOptions(known_hosts=("~/kh",)), ansible_ssh_private_key_file="~/id")
    assert found == SshTarget(
        address="web1", private_keys=("/home/audit/id",), known_hosts=("/home/audit/kh",)
    )


# ---- kernels


def test_a_kernel_image_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "hosts.yml").write_text(
        "k: {hosts: {k1: {kernel_image: images/vmlinuz}, k2: }}\n"
    )
    (tmp_path / "two" / "hosts.yml").write_text(
        "k: {vars: {kernel_image: vmlinuz, ansible_connection: kernel}}\n"
    )
    inventory = load_inventory(
        [str(tmp_path / "one" / "hosts.yml"), str(tmp_path / "two" / "hosts.yml")]
    )
    images = [resolve_target(host, ConnectionOptions()) for host in inventory.hosts]
    assert images == [
        KernelTarget(image=str(tmp_path / "one" / "images" / "vmlinuz")),
        KernelTarget(image=str(tmp_path / "two" / "vmlinuz")),
    ]


def test_a_kernel_gets_its_memory_its_command_line_and_its_sysctls() -> None:
    found = target(
        ansible_connection="kernel",
        kernel_image="/boot/vmlinuz",
        kernel_memory="512",
        kernel_append="tsc=unstable quiet",
        kernel_sysctls={"net.ipv4.tcp_rfc1337": 1, "net.ipv4.tcp_rmem": "4096 87380 6291456"},
        ansible_become=True,
        ansible_ssh_common_args="-J jump",
    )
    assert found == KernelTarget(
        image="/boot/vmlinuz",
        memory_mib=512,
        append="tsc=unstable quiet",
        sysctls={"net.ipv4.tcp_rfc1337": "1", "net.ipv4.tcp_rmem": "4096 87380 6291456"},
    )


# ---- not audited, and not in another way


@pytest.mark.parametrize(
    "name",
    [
        "ansible_ssh_args",
        "ansible_ssh_common_args",
        "ansible_ssh_extra_args",
        "ansible_ssh_executable",
        "ansible_private_key",
        "ansible_ssh_private_key",
        "ansible_ssh_pkcs11_provider",
    ],
)
def test_an_unsupported_variable_makes_the_host_not_audited_and_is_named(name: str) -> None:
    found = target(a=1, **{name: SECRET})
    assert isinstance(found, NotAudited)
    assert (found.name, found.groups, found.stage) == ("web1", ("web",), "inventory")
    assert f"{name} in inv/hosts.yml:11 " in found.reason
    assert found.hint
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    "name", ["ansible_paramiko_proxy_command", "ansible_paramiko_user", "ansible_paramiko_host"]
)
def test_variables_of_the_paramiko_plugin_are_refused_with_paramiko(name: str) -> None:
    assert isinstance(target(ansible_connection="paramiko", **{name: SECRET}), NotAudited)


def test_a_template_that_cannot_be_rendered_makes_the_host_not_audited() -> None:
    for name in (
        "ansible_host",
        "ansible_port",
        "ansible_user",
        "ansible_connection",
        "ansible_ssh_private_key_file",
    ):
        found = target(**{name: SECRET + "{{ missing }}"})
        assert isinstance(found, NotAudited)
        assert (
            found.reason
            == f"{name} in inv/hosts.yml:10 of “web1” needs “missing”, which is not set"
        )
        assert SECRET not in str(found)
    assert isinstance(target(anything_else="{{ x }}"), SshTarget)


def test_templates_are_rendered_for_each_host_in_their_own_types() -> None:
    found = target(
        ansible_host="{{ inventory_hostname }}.{{ domain }}",
        domain="example.com",
        ansible_port="{{ base + 22 }}",
        base=2200,
        ansible_user="{{ 'audit' if 'web' in group_names else 'root' }}",
        ansible_ssh_common_args="{{ jump | default('') }}",
        ansible_become="{{ false }}",
    )
    assert found == SshTarget(
        address="web1.example.com", port=2222, port_is_explicit=True, user="audit"
    )


def test_a_template_reaches_the_inventory_variables_of_other_hosts() -> None:
    one = Host(
        name="one", variables={"ansible_host": "{{ hostvars['two'].address }}"}, origin="h:1"
    )
    two = Host(
        name="two", variables={"address": "{{ prefix }}.2", "prefix": "192.0.2"}, origin="h:2"
    )
    inventory = Inventory(sources=("h",), hosts=(one, two), groups={})
    assert resolve_target(one, ConnectionOptions(), inventory) == SshTarget(address="192.0.2.2")


def test_unsafe_text_is_not_a_template() -> None:
    assert target(ansible_user=Unsafe("{{ x }}")) == SshTarget(address="web1", user="{{ x }}")


def test_an_encrypted_value_is_decrypted_only_where_a_host_needs_it() -> None:
    locked = EncryptedText((INVENTORIES / "vault" / "value.txt").read_text())
    opened = ConnectionOptions(vault=load_vault(INVENTORIES / "vault" / "password"))
    assert target(opened, ansible_host=locked) == SshTarget(address="web1.example.com")
    assert target(ansible_host="a", something_else=locked) == SshTarget(address="a")
    found = target(ansible_host=locked)
    assert isinstance(found, NotAudited)
    assert (
        "ansible_host in inv/hosts.yml:10 of “web1” cannot be used: it is encrypted" in found.reason
    )
    assert "--vault-password-file" in found.hint
    other = target(ConnectionOptions(vault=Vault(b"another")), ansible_host=locked)
    assert isinstance(other, NotAudited)
    assert "another password" in other.reason


# ---- ansible.cfg


def test_the_command_line_overrides_ansible_cfg_and_variables_override_both() -> None:
    settings = AnsibleSettings(
        remote_user="cfg", remote_port=2200, private_key_file="/cfg", timeout=7
    )
    assert target(ConnectionOptions(settings=settings)) == SshTarget(
        address="web1",
        port=2200,
        port_is_explicit=True,
        user="cfg",
        private_keys=("/cfg",),
        connect_timeout_s=7,
    )
    options = ConnectionOptions(settings=settings, user="cli", private_key="/cli", timeout_s=3)
    assert target(options, ansible_port=22) == SshTarget(
        address="web1",
        port=22,
        port_is_explicit=True,
        user="cli",
        private_keys=("/cli",),
        connect_timeout_s=3,
    )
    assert target(options, ansible_user="var", ansible_timeout=9) == SshTarget(
        address="web1",
        port=2200,
        port_is_explicit=True,
        user="var",
        private_keys=("/cli",),
        connect_timeout_s=9,
    )


@pytest.mark.parametrize("name", ["ssh_args", "ssh_common_args", "ssh_extra_args"])
def test_ssh_arguments_of_ansible_cfg_are_not_ignored(name: str) -> None:
    arguments = {name: f"-C -o PKCS11Provider={SECRET}"}
    settings = AnsibleSettings(**arguments, origins={name: "ansible.cfg:3"})  # type: ignore[arg-type]
    found = target(ConnectionOptions(settings=settings), ansible_connection="paramiko")
    assert isinstance(found, NotAudited)
    assert found.reason == f"{name} in ansible.cfg:3 is not supported: -o PKCS11Provider"
    by_ssh = target(ConnectionOptions(settings=settings))
    assert isinstance(by_ssh, SshTarget)
    assert by_ssh.client == "openssh"
    assert (*by_ssh.arguments, *by_ssh.late_arguments) == ("-C", "-o", f"PKCS11Provider={SECRET}")
    assert target(ConnectionOptions(settings=settings), **{f"ansible_{name}": "-C"}) == SshTarget(
        address="web1"
    )


@pytest.mark.parametrize(("more", "client"), [("", "paramiko"), (" -K", "openssh")])
def test_significant_arguments_go_in_ansibles_order_to_a_client_that_can_follow_them(
    more: str, client: SshClient
) -> None:
    found = target(
        ansible_ssh_args="-F cfg -vvv",
        ansible_ssh_common_args="-J jump -tt",
        ansible_ssh_extra_args="-oUserKnownHostsFile=/dev/null -Cq" + more,
        ansible_port=22,
    )
    assert found == SshTarget(
        address="web1",
        client=client,
        arguments=("-F", "cfg"),
        late_arguments=("-J", "jump", "-C", *more.split()),
        port_is_explicit=True,
    )


@pytest.mark.parametrize(
    ("arguments", "beyond"),
    [
        ("-J jump -F cfg -i key -4 -C -p 22 -l me -o ControlMaster=auto -S /x", None),
        ("-o ProxyCommand='nc %h %p' -oCiphers=aes128-ctr -o 'HostKeyAlias web'", None),
        (
            (
                "-o GSSAPIAuthentication=no -o PKCS11Provider=none -o"
                " PreferredAuthentications=publickey,password"
            ),
            None,
        ),
        ("-L 1:a:1 -D 1080 -o LocalForward='1 a:1'", None),
        ("-N", None),  # nobody follows it: see for_openssh
        ("-C -I /lib/token.so", "-I"),
        ("-CK", "-K"),
        ("-o GSSAPIAuthentication=yes", "-o GSSAPIAuthentication"),
        (f"-o PKCS11Provider={SECRET}", "-o PKCS11Provider"),
        ("-oProxyUseFdpass=yes", "-o ProxyUseFdpass"),
        ("-o PreferredAuthentications=gssapi-with-mic", "-o PreferredAuthentications"),
        ("-o SomethingNew=1", "-o SomethingNew"),
    ],
)
def test_arguments_that_only_openssh_can_follow_are_named(
    arguments: str, beyond: str | None
) -> None:
    assert first_openssh_only_argument(arguments) == beyond


def test_the_systems_ssh_is_the_client_if_the_inventory_or_the_command_line_says_so() -> None:
    by_name = target(ansible_connection="openssh", ansible_ssh_executable="/opt/ssh")
    assert by_name == SshTarget(address="web1", client="openssh", program="/opt/ssh")
    options = ConnectionOptions(client="openssh")
    assert target(options) == SshTarget(address="web1", client="openssh")
    assert target(options, ansible_connection="paramiko") == SshTarget(address="web1")
    assert target(options, ansible_connection="local") == LocalTarget()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("-N", "-N"),
        ("-Cf", "-f"),
        ("-W a:1", "-W"),
        ("-E /tmp/log", "-E"),
        ("-p", "-p without its value"),
        (f"-J jump {SECRET}", "a word that is not an option"),
        ("-o StdinNull=yes", "-o StdinNull"),
        ("-o 'x", "an unclosed quotation"),
    ],
)
def test_arguments_that_make_ssh_another_program_are_refused_by_name(
    arguments: str, named: str
) -> None:
    found = target(ansible_connection="openssh", ansible_ssh_common_args=arguments)
    assert isinstance(found, NotAudited)
    assert found.reason == f"ansible_ssh_common_args in inv/hosts.yml:11 is not supported: {named}"
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("arguments", "matters"),
    [
        ("-C -o ControlMaster=auto -o ControlPersist=60s", None),
        ("-oControlPath=/x -o 'TCPKeepAlive yes' -q -tt", None),
        ("-oControlPath=/x -o 'ServerAliveInterval 30' -q -tt", "-o ServerAliveInterval"),
        ("-o ConnectTimeout=30", "-o ConnectTimeout"),
        ("-o UserKnownHostsFile=~/.ssh/fleet", "-o UserKnownHostsFile"),
        ("-o StrictHostKeyChecking=yes", "-o StrictHostKeyChecking"),
        ("-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null", None),
        ("-o PreferredAuthentications=publickey -o PasswordAuthentication=no", None),
        ("-J jump", "-J"),
        ("-p 2222", "-p"),
        ("-oProxyJump=x", "-o ProxyJump"),
        ("-o IdentityFile=~/k", "-o IdentityFile"),
        ("-o PreferredAuthentications=password", "-o PreferredAuthentications"),
        ("-F none", "-F"),
        (SECRET, "a word that is not an option"),
        ("-o 'x", "an unclosed quotation"),
        ("-o", "-o "),
    ],
)
def test_tuning_arguments_are_ignored_and_others_are_named(
    arguments: str, matters: str | None
) -> None:
    assert first_significant_argument(arguments) == matters


def test_arguments_that_forbid_a_password_matter_if_there_is_one() -> None:
    arguments = "-C -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no"
    without = target(ansible_ssh_common_args=arguments)
    assert isinstance(without, SshTarget)
    assert without.late_arguments == ()
    found = target(ansible_ssh_common_args=arguments, ansible_password=SECRET)
    assert isinstance(found, SshTarget)
    assert "PasswordAuthentication=no" in found.late_arguments


@pytest.mark.parametrize(
    "connection", ["winrm", "community.docker.docker", "network_cli", "psrp", "SSH"]
)
def test_an_unsupported_connection_makes_the_host_not_audited(connection: str) -> None:
    found = target(ansible_connection=connection)
    assert isinstance(found, NotAudited)
    assert f"“{connection}”" in found.reason


def test_looser_host_keys_are_ignored() -> None:
    assert target(ansible_host_key_checking=False) == SshTarget(address="web1")


# ---- the interpreter


def interpreter(
    options: ConnectionOptions | None = None, /, **variables: Any
) -> Interpreter | None:
    found = target(options, **variables)
    assert isinstance(found, SshTarget | LocalTarget)
    return found.interpreter


@pytest.mark.parametrize("connection", ["ssh", "openssh", "local"])
@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("/opt/bin/python", "/opt/bin/python"),
        (" /opt/bin/python ", "/opt/bin/python"),
        ("/usr/bin/env python3", "/usr/bin/env python3"),
        ("/x;touch$(id)`id`", "/x;touch$(id)`id`"),
        ("{{ prefix }}/bin/python", "/opt/bin/python"),
        ("{{ ansible_playbook_python }}", sys.executable),
    ],
)
def test_the_interpreter_is_used_as_it_is_written(connection: str, value: str, path: str) -> None:
    found = interpreter(
        ansible_connection=connection, prefix="/opt", ansible_python_interpreter=value
    )
    assert found == Interpreter(value=path, origin="inv/hosts.yml:12")


@pytest.mark.parametrize(
    "value", ["auto", "auto_silent", "auto_legacy", "auto_legacy_silent", "", None, "{{ 'auto' }}"]
)
def test_auto_interpreters_mean_to_search(value: str | None) -> None:
    settings = AnsibleSettings(
        interpreter_python="auto_silent", origins={"interpreter_python": "ansible.cfg:2"}
    )
    assert (
        interpreter(ConnectionOptions(settings=settings), ansible_python_interpreter=value) is None
    )


def test_ansible_cfg_sets_the_interpreter_if_no_variable_does() -> None:
    settings = AnsibleSettings(
        interpreter_python="/cfg/python", origins={"interpreter_python": "ansible.cfg:2"}
    )
    options = ConnectionOptions(settings=settings)
    cfg = Interpreter(value="/cfg/python", name="interpreter_python", origin="ansible.cfg:2")
    assert interpreter(options) == cfg
    own = Interpreter(value="/var/python", origin="inv/hosts.yml:10")
    assert interpreter(options, ansible_python_interpreter="/var/python") == own
    assert interpreter(options, ansible_python_interpreter="auto") is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            "{{ nowhere }}",
            (
                "ansible_python_interpreter in inv/hosts.yml:10 of “web1” needs “nowhere”, which is"
                " not set"
            ),
        ),
        ("{{ lookup('env', 'PY') }}", "ansible_python_interpreter in inv/hosts.yml:10 of “web1” "),
        (["/opt/python"], "inv/hosts.yml:10: ansible_python_interpreter of “web1” is not text"),
        (
            "/opt/\npython",
            "inv/hosts.yml:10: ansible_python_interpreter of “web1” has a control character in it",
        ),
    ],
)
def test_an_interpreter_that_cannot_be_used_costs_no_host(value: object, problem: str) -> None:
    found = interpreter(ansible_python_interpreter=value)
    assert found is not None
    assert (found.value, found.origin) == ("", "inv/hosts.yml:10")
    assert found.problem.startswith(problem)


def test_an_implicit_localhost_uses_the_python_that_runs_here_as_in_ansible() -> None:
    listed = load_inventory(("localhost,web1,",)).hosts
    found = [resolve_target(host, ConnectionOptions()) for host in listed]
    assert found[0] == LocalTarget(interpreter=Interpreter(value=sys.executable))
    assert found[1] == SshTarget(address="web1")
    assert interpreter(ansible_connection="local") is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ansible_port": "http"}, "a port"),
        ({"ansible_port": 0}, "a port"),
        ({"ansible_port": 65536}, "a port"),
        ({"ansible_port": True}, "a port"),
        ({"ansible_port": 22.5}, "a port"),
        ({"ansible_port": "22²"}, "a port"),
        ({"ansible_user": True}, "not text"),
        ({"ansible_user": ["root"]}, "not text"),
        ({"ansible_host": 10.1}, "not text"),
        ({"ansible_host": "web1\n"}, "control character"),
        ({"ansible_become": SECRET}, "neither yes nor no"),
        ({"ansible_timeout": "soon"}, "seconds"),
        ({"ansible_connection": "kernel", "kernel_image": "i", "kernel_memory": "1G"}, "MiB"),
        ({"ansible_connection": "kernel", "kernel_image": "i", "kernel_sysctls": [1]}, "mapping"),
        (
            {"ansible_connection": "kernel", "kernel_image": "i", "kernel_sysctls": {"a": True}},
            "neither text",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_an_error_at_its_line(
    variables: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        target(**variables)
    assert caught.value.source == "inv/hosts.yml"
    assert caught.value.line == 10 + len(variables) - 1
    assert SECRET not in str(caught.value)


def test_a_kernel_without_an_image_is_an_error_at_the_host() -> None:
    with pytest.raises(InputError, match="kernel_image") as caught:
        target(ansible_connection="kernel")
    assert (caught.value.source, caught.value.line) == ("inv/hosts.yml", 3)


def test_a_hint_about_yaml_numbers_is_given_for_numbers_only() -> None:
    with pytest.raises(InputError, match="write digits only"):
        target(ansible_port="twenty-two")
    with pytest.raises(InputError, match="YAML reads 12:30 as 750"):
        target(ansible_port=70_000)
