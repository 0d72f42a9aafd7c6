"""From a host's variables to where and as whom it is reached. No I/O.

Rules: variables beat the command line, which beats ansible.cfg; an old spelling (ansible_ssh_user)
beats the new one wherever either was set, as in Ansible. Variables are rendered and decrypted where
they are needed, and only then; one that cannot be makes its host not audited. A variable that would
change where or as whom we connect and that is not honoured makes the host not audited.
ansible_host_key_checking is ignored: the command line alone loosens the policy. Where arguments for
OpenSSH ask for what only it can do, the system's own ssh is the client, as it is Ansible's, unless
the inventory says paramiko. No password goes to a host whose key is not checked. No value but that
of ansible_connection and ansible_python_interpreter is repeated in a message, because a value may
be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from fleetaudit.inventory.vault import Vault
from fleetaudit.model import (
    BecomeMethod,
    Host,
    HostKeyPolicy,
    Inventory,
    KernelTarget,
    LocalTarget,
    NotAudited,
    Secret,
    SshClient,
    SshTarget,
)
from fleetaudit.text.files import expand_home

from .ansible_cfg import AnsibleSettings
from .become import resolve_become
from .interpreter import resolve_interpreter
from .ssh_arguments import (
    UnsupportedArgumentError,
    first_openssh_only_argument,
    first_significant_argument,
    openssh_arguments,
)
from .templates import Renderer
from .variables import CannotReachError, Variables


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What the command line said about connections; a host's variables beat all but what concerns
    host keys.

    `client` is for hosts whose connection is "ssh" or not named; those that say "paramiko" or
    "openssh" mean it. `settings` are Ansible's own, which all of these beat; `vault` decrypts a
    value where a host needs it.
    """

    user: str | None = None
    private_key: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_policy: HostKeyPolicy = "strict"
    timeout_s: float | None = None
    client: SshClient = "paramiko"
    password: Secret | None = None
    become: bool = False
    become_user: str | None = None
    become_method: BecomeMethod | None = None
    become_password: Secret | None = None
    settings: AnsibleSettings = field(default_factory=AnsibleSettings)
    vault: Vault = field(default_factory=Vault)


DEFAULT_TIMEOUT_S = 10.0
"""How long a connection may take to come about where nothing says otherwise."""
_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh", "openssh"}
_PREFIXES = ("ansible.builtin.", "ansible.legacy.")
# Of each line the last that is set wins: Ansible's order.
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_NO_ARGUMENTS = (
    "paramiko cannot; write ansible_connection: ssh, or openssh for the system's own ssh"
)
_UNFIT = "leave out what makes ssh do something else than run a command"
_NO_PROXY = "write it for ssh: ansible_ssh_common_args: -J HOST, or -o with a ProxyCommand"
_NO_PROGRAM = (
    "write ansible_connection: openssh for the system's own ssh, or the program that is named"
)
_NO_PASSWORD = "write ansible_connection: paramiko, which takes one; or use a key, or an SSH agent"  # noqa: S105
_UNCHECKED = (
    "--host-key-policy accept-new, or strict: a password is never sent to a host whose key is not"
    " checked"
)
_NO_KEY = "name a key file (ansible_ssh_private_key_file) or use an SSH agent"
_REFUSED = {
    "ansible_paramiko_proxy_command": _NO_PROXY,
    "ansible_ssh_proxy_command": _NO_PROXY,
    "ansible_proxy_command": _NO_PROXY,
    "ansible_ssh_executable": _NO_PROGRAM,
    "ansible_private_key": _NO_KEY,
    "ansible_ssh_private_key": _NO_KEY,
    "ansible_private_key_passphrase": _NO_KEY,
    "ansible_ssh_private_key_passphrase": _NO_KEY,
    "ansible_ssh_pkcs11_provider": _NO_KEY,
}
_ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
_PARAMIKO_ONLY = ("host", "port", "user", "pass", "password", "private_key_file")
_MEMORY_MIB = range(64, 65_537)


def resolve_target(
    host: Host, options: ConnectionOptions, inventory: Inventory | None = None
) -> SshTarget | LocalTarget | KernelTarget | NotAudited:
    """Returns how `host` is reached, or `NotAudited` at stage `inventory` where a variable asks for
    what is not done.

    Paths: a key's `~` is expanded and it is relative to the current folder, as in Ansible;
    `kernel_image` is relative to the folder of the inventory file that sets it. `inventory` is what
    templates mean by `groups` and `hostvars`. Raises `InputError` with the origin of a value of a
    wrong type.
    """
    variables = Variables(host, Renderer(host, options.vault, inventory))
    try:
        connection = variables.text(("ansible_connection",)) or "ssh"
        for prefix in _PREFIXES:
            connection = connection.removeprefix(prefix)
        if connection == "kernel":
            return _kernel(variables)
        if connection != "local" and connection not in _SSH:
            raise CannotReachError(
                f"ansible_connection “{connection[:64]}” in"
                f" {variables.origin('ansible_connection')} is none of ours",
                "ssh, openssh, paramiko, local and kernel are; limit the run to other hosts, or"
                " change the variable",
            )
        if connection == "local":
            return LocalTarget(
                become=resolve_become(variables, options, None),
                interpreter=resolve_interpreter(variables, options.settings),
            )
        return _checked(_ssh(variables, options, connection))
    except CannotReachError as e:
        return NotAudited(
            name=host.name, groups=host.groups, stage=e.stage, reason=e.reason, hint=e.hint
        )


def _checked(target: SshTarget) -> SshTarget:
    """Returns the target; raises where a password would go to an unknown host, or to a client that
    takes none.
    """
    if target.client == "openssh" and target.password:
        raise CannotReachError(
            "the system's own ssh takes no password without a terminal",
            _NO_PASSWORD,
            "authenticate",
        )
    if target.host_key_policy == "off" and target.password:
        raise CannotReachError(
            "a password is given, and its host key is not checked", _UNCHECKED, "authenticate"
        )
    if target.host_key_policy == "off" and target.become and target.become.password:
        raise CannotReachError(
            f"a password for {target.become.method} is given, and its host key is not checked",
            _UNCHECKED,
            "become",
        )
    return target


def _ssh(variables: Variables, options: ConnectionOptions, connection: str) -> SshTarget:
    for name, hint in _REFUSED.items():
        ours = name == "ansible_ssh_executable" and (
            connection == "openssh" or variables.get(name) == "ssh"
        )
        if variables.is_set(name) and not ours:
            raise CannotReachError(f"{name} in {variables.origin(name)} is not honoured", hint)
    if connection.startswith("paramiko"):
        for name in (f"ansible_paramiko_{n}" for n in _PARAMIKO_ONLY):
            if variables.is_set(name):
                raise CannotReachError(
                    f"{name} in {variables.origin(name)} is not honoured",
                    f"write ansible_{name[17:]} instead",
                )
    settings = options.settings
    key = variables.text(KEY) or options.private_key or settings.private_key_file
    timeout_s = options.timeout_s or settings.timeout or DEFAULT_TIMEOUT_S
    port = variables.number(_PORT, range(1, 65_536), "a port, 1 to 65535") or settings.remote_port
    user = variables.text(USER) or options.user or settings.remote_user
    target = SshTarget(
        address=variables.text(_ADDRESS) or variables.host.name,
        port=port or 22,
        port_is_explicit=port is not None,
        user=user,
        private_keys=(str(expand_home(key)),) if key else (),
        known_hosts=tuple(str(expand_home(name)) for name in options.known_hosts),
        host_key_policy=options.host_key_policy,
        connect_timeout_s=float(
            variables.number(TIMEOUT, range(1, 86_401), "a number of seconds") or timeout_s
        ),
        password=variables.password(PASSWORD),
        become=resolve_become(variables, options, user),
        interpreter=resolve_interpreter(variables, settings),
    )
    arguments = [_Arguments(variables, settings, name) for name in _ARGUMENTS]
    client = "openssh" if connection == "openssh" else options.client
    if connection.startswith("paramiko"):
        client = "paramiko"
        for given in arguments:
            given.refuse_beyond_paramiko()
    elif any(first_openssh_only_argument(given.text) for given in arguments):
        client = "openssh"
    early, *late = (given.words() for given in arguments)
    password = (
        variables.password(PASSWORD, options.password) if client == "paramiko" else target.password
    )
    if client == "openssh" or any(
        first_significant_argument(given.text, password=bool(password)) for given in arguments
    ):
        target = msgspec.structs.replace(
            target, arguments=early, late_arguments=tuple(word for words in late for word in words)
        )
    if client == "paramiko":
        return msgspec.structs.replace(target, password=password)
    program = variables.text(("ansible_ssh_executable",)) if connection == "openssh" else None
    return msgspec.structs.replace(target, client="openssh", program=program or "ssh")


class _Arguments:
    """One of Ansible's three settings with arguments for ssh: a host's variable takes the place of
    ansible.cfg's.
    """

    def __init__(self, variables: Variables, settings: AnsibleSettings, name: str) -> None:
        variable = f"ansible_{name}"
        if variables.host.variables.get(variable) is not None:
            said, self.shown, self.origin = (
                variables.get(variable),
                variable,
                variables.origin(variable),
            )
        else:
            said, self.shown, self.origin = (
                getattr(settings, name),
                name,
                settings.origins.get(name, ""),
            )
        self.text = str(said) if said else ""

    def refuse_beyond_paramiko(self) -> None:
        if word := first_openssh_only_argument(self.text):
            raise CannotReachError(
                f"{self.shown} in {self.origin} is not honoured: {word}", _NO_ARGUMENTS
            )

    def words(self) -> tuple[str, ...]:
        try:
            return openssh_arguments(self.text)
        except UnsupportedArgumentError as e:
            raise CannotReachError(
                f"{self.shown} in {self.origin} is not honoured: {e}", _UNFIT
            ) from e


def _kernel(variables: Variables) -> KernelTarget:
    image = variables.text(("kernel_image",))
    if not image:
        raise variables.error(
            "", f"“{variables.host.name}” has ansible_connection: kernel and no kernel_image",
            "name the image:  kernel_image: vmlinuz-6.12",
        )  # fmt: skip
    sysctls = variables.get("kernel_sysctls") or {}
    if not isinstance(sysctls, Mapping):
        raise variables.error(
            "kernel_sysctls", "is no mapping", "write  kernel_sysctls: {net.ipv4.tcp_rfc1337: 1}"
        )
    for key, value in sysctls.items():
        if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, str | int):
            raise variables.error(
                "kernel_sysctls", "has a value that is neither text nor a number", "quote it"
            )
    return KernelTarget(
        image=str(variables.folder("kernel_image") / expand_home(image)),
        memory_mib=variables.number(("kernel_memory",), _MEMORY_MIB, "a number of MiB, 64 to 65536")
        or 256,
        append=variables.text(("kernel_append",)) or "",
        sysctls={key: str(value) for key, value in sysctls.items()},
    )
