"""From a host's variables to where and as whom it is reached. No I/O.

Rules: variables beat the command line, which beats ansible.cfg; an old spelling (ansible_ssh_user) beats the new one
wherever either was set, as in Ansible. Variables are rendered and decrypted where they are needed, and only then; one
that cannot be makes its host not audited. A variable that would change where or as whom we connect and that is not
honoured makes the host not audited. ansible_python_interpreter is ignored: the probe finds an interpreter by trying.
So is ansible_host_key_checking: the command line alone loosens the policy. Where arguments for OpenSSH matter, the
system's own ssh is the client, as it is Ansible's, unless the inventory says paramiko. No value but that of
ansible_connection is repeated in a message, because a value may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from ..model import Host, HostKeyPolicy, Inventory, KernelTarget, LocalTarget, NotAudited, SshClient, SshTarget
from .settings import Settings
from .ssh_arguments import Unfit, first_that_matters, for_openssh
from .templates import Renderer, TemplateProblem, is_template
from .values import Vaulted
from .vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What the command line said about connections; a host's variables beat `user`, `private_key` and `timeout_s`.

    `client` is for hosts whose connection is "ssh" or not named; those that say "paramiko" or "openssh" mean it.
    `settings` are Ansible's own, which all of these beat; `vault` decrypts a value where a host needs it.
    """

    user: str | None = None
    private_key: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_policy: HostKeyPolicy = "strict"
    timeout_s: float | None = None
    client: SshClient = "paramiko"
    settings: Settings = field(default_factory=Settings)
    vault: Vault = field(default_factory=Vault)


DEFAULT_TIMEOUT_S = 10.0
"""How long a connection may take to come about where nothing says otherwise."""
_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh", "openssh"}
_PREFIXES = ("ansible.builtin.", "ansible.legacy.")
# Of each line the last that is set wins: Ansible's order.
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
_USER = ("ansible_user", "ansible_ssh_user")
_KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
_NO_ARGUMENTS = "paramiko takes no such arguments; write ansible_connection: ssh, or openssh for the system's own ssh"
_UNFIT = "leave out what makes ssh do something else than run a command"
_NO_PROXY = "write it for ssh: ansible_ssh_common_args: -o ProxyCommand=… or -J HOST"
_NO_PROGRAM = "write ansible_connection: openssh for the system's own ssh, or the program that is named"
_NO_PASSWORD = "use a key (ansible_ssh_private_key_file) or an SSH agent; passwords are not honoured yet"  # noqa: S105
_NO_KEY = "name a key file (ansible_ssh_private_key_file) or use an SSH agent"
_NO_BECOME = "set ansible_become: false for it, or audit as a user that needs none; become is not honoured yet"
_REFUSED = {
    "ansible_paramiko_proxy_command": _NO_PROXY,
    "ansible_ssh_proxy_command": _NO_PROXY,
    "ansible_proxy_command": _NO_PROXY,
    "ansible_ssh_executable": _NO_PROGRAM,
    "ansible_password": _NO_PASSWORD,
    "ansible_ssh_pass": _NO_PASSWORD,
    "ansible_ssh_password": _NO_PASSWORD,
    "ansible_private_key": _NO_KEY,
    "ansible_ssh_private_key": _NO_KEY,
    "ansible_private_key_passphrase": _NO_KEY,
    "ansible_ssh_private_key_passphrase": _NO_KEY,
    "ansible_ssh_pkcs11_provider": _NO_KEY,
}
_ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
_PARAMIKO_ONLY = ("host", "port", "user", "pass", "password", "private_key_file")
_TRUE = {"yes", "true", "on", "1", "y", "t"}
_FALSE = {"no", "false", "off", "0", "n", "f"}
_MEMORY_MIB = range(64, 65_537)


class _CannotReach(Exception):
    """An outcome of this host alone, met in `target_of`."""

    def __init__(self, reason: str, hint: str) -> None:
        self.reason, self.hint = reason, hint
        super().__init__(reason)


def target_of(
    host: Host, options: ConnectionOptions, inventory: Inventory | None = None
) -> SshTarget | LocalTarget | KernelTarget | NotAudited:
    """Returns how `host` is reached, or `NotAudited` at stage `inventory` where a variable asks for what is not done.

    Paths: a key's `~` is expanded and it is relative to the current folder, as in Ansible; `kernel_image` is relative
    to the folder of the inventory file that sets it. `inventory` is what templates mean by `groups` and `hostvars`.
    Raises `InputError` with the origin of a value of a wrong type.
    """
    variables = _Variables(host, Renderer(host, options.vault, inventory))
    try:
        connection = variables.text(("ansible_connection",)) or "ssh"
        for prefix in _PREFIXES:
            connection = connection.removeprefix(prefix)
        if connection == "kernel":
            return _kernel(variables)
        if connection != "local" and connection not in _SSH:
            raise _CannotReach(
                f"ansible_connection “{connection[:64]}” in {variables.origin('ansible_connection')} is none of ours",
                "ssh, openssh, paramiko, local and kernel are; limit the run to other hosts, or change the variable",
            )
        _refuse_become(variables, options.settings)
        return LocalTarget() if connection == "local" else _ssh(variables, options, connection)
    except _CannotReach as e:
        return NotAudited(name=host.name, groups=host.groups, stage="inventory", reason=e.reason, hint=e.hint)


def _ssh(variables: _Variables, options: ConnectionOptions, connection: str) -> SshTarget:
    for name, hint in _REFUSED.items():
        ours = name == "ansible_ssh_executable" and (connection == "openssh" or variables.get(name) == "ssh")
        if variables.is_set(name) and not ours:
            raise _CannotReach(f"{name} in {variables.origin(name)} is not honoured", hint)
    if connection.startswith("paramiko"):
        for name in (f"ansible_paramiko_{n}" for n in _PARAMIKO_ONLY):
            if variables.is_set(name):
                raise _CannotReach(
                    f"{name} in {variables.origin(name)} is not honoured", f"write ansible_{name[17:]} instead"
                )
    settings = options.settings
    key = variables.text(_KEY) or options.private_key or settings.private_key_file
    timeout_s = options.timeout_s or settings.timeout or DEFAULT_TIMEOUT_S
    port = variables.number(_PORT, range(1, 65_536), "a port, 1 to 65535") or settings.remote_port
    target = SshTarget(
        address=variables.text(_ADDRESS) or variables.host.name,
        port=port or 22,
        user=variables.text(_USER) or options.user or settings.remote_user,
        private_keys=(_home(key),) if key else (),
        known_hosts=tuple(map(_home, options.known_hosts)),
        host_key_policy=options.host_key_policy,
        connect_timeout_s=float(variables.number(_TIMEOUT, range(1, 86_401), "a number of seconds") or timeout_s),
    )
    arguments = [_Arguments(variables, settings, name) for name in _ARGUMENTS]
    if connection.startswith("paramiko"):
        for given in arguments:
            given.refuse_for_paramiko()
        return target
    wanted = "openssh" if connection == "openssh" else options.client
    if wanted == "paramiko" and not any(first_that_matters(given.text) for given in arguments):
        return target
    early, *late = (given.for_openssh() for given in arguments)
    return msgspec.structs.replace(
        target,
        client="openssh",
        program=(variables.text(("ansible_ssh_executable",)) if connection == "openssh" else None) or "ssh",
        arguments=early,
        late_arguments=tuple(word for words in late for word in words),
        port_named=port is not None,
    )


class _Arguments:
    """One of Ansible's three settings with arguments for ssh: a host's variable takes the place of ansible.cfg's."""

    def __init__(self, variables: _Variables, settings: Settings, name: str) -> None:
        variable = f"ansible_{name}"
        if variables.host.variables.get(variable) is not None:
            said, self.shown, self.origin = variables.get(variable), variable, variables.origin(variable)
        else:
            said, self.shown, self.origin = getattr(settings, name), name, settings.origins.get(name, "")
        self.text = str(said) if said else ""

    def refuse_for_paramiko(self) -> None:
        if word := first_that_matters(self.text):
            raise _CannotReach(f"{self.shown} in {self.origin} is not honoured: {word}", _NO_ARGUMENTS)

    def for_openssh(self) -> tuple[str, ...]:
        try:
            return for_openssh(self.text)
        except Unfit as e:
            raise _CannotReach(f"{self.shown} in {self.origin} is not honoured: {e}", _UNFIT) from e


def _refuse_become(variables: _Variables, settings: Settings) -> None:
    if variables.is_set("ansible_become") and not variables.truth("ansible_become"):
        return
    for name in variables.host.variables:
        if name.startswith("ansible_become") and variables.is_set(name):
            raise _CannotReach(f"{name} in {variables.origin(name)} is not honoured", _NO_BECOME)
    if settings.become:
        raise _CannotReach(f"become in {settings.origins['become']} is not honoured", _NO_BECOME)


def _kernel(variables: _Variables) -> KernelTarget:
    image = variables.text(("kernel_image",))
    if not image:
        raise variables.error(
            "", f"“{variables.host.name}” has ansible_connection: kernel and no kernel_image",
            "name the image:  kernel_image: vmlinuz-6.12",
        )  # fmt: skip
    sysctls = variables.get("kernel_sysctls") or {}
    if not isinstance(sysctls, Mapping):
        raise variables.error("kernel_sysctls", "is no mapping", "write  kernel_sysctls: {net.ipv4.tcp_rfc1337: 1}")
    for key, value in sysctls.items():
        if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, str | int):
            raise variables.error("kernel_sysctls", "has a value that is neither text nor a number", "quote it")
    return KernelTarget(
        image=str(variables.folder("kernel_image") / _home(image)),
        memory_mib=variables.number(("kernel_memory",), _MEMORY_MIB, "a number of MiB, 64 to 65536") or 256,
        append=variables.text(("kernel_append",)) or "",
        sysctls={key: str(value) for key, value in sysctls.items()},
    )


def _home(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # no such user: the file will be missing under the name that was written
        return path


class _Variables:
    """The variables of one host, typed; None and the empty text count as not set."""

    def __init__(self, host: Host, renderer: Renderer) -> None:
        self.host, self._renderer = host, renderer

    def get(self, name: str) -> Any:
        """Returns a variable, decrypted and rendered."""
        value = self.host.variables.get(name)
        if not (isinstance(value, Vaulted | Mapping | list) or is_template(value)):
            return value
        try:
            return self._renderer.value(name)
        except TemplateProblem as e:
            hint = "--vault-password-file FILE" if isinstance(value, Vaulted) else "write the value itself"
            raise _CannotReach(str(e), f"{hint}, for “{self.host.name}”") from e

    def is_set(self, name: str) -> bool:
        """Returns whether a variable has a value; one that is encrypted has, and is not decrypted for the question."""
        value = self.host.variables.get(name)
        return (self.get(name) if is_template(value) else value) not in (None, "")

    def origin(self, name: str) -> str:
        return self.host.variable_origins.get(name) or self.host.origin

    def folder(self, name: str) -> Path:
        """Returns the folder of the file that sets `name`; for a list of hosts the current one."""
        return Path(self.origin(name).rpartition(":")[0]).parent

    def error(self, name: str, message: str, hint: str) -> InputError:
        """Returns an error to raise about the variable `name`, or about the host where that is ""."""
        source, _, line = (self.origin(name) if name else self.host.origin).rpartition(":")
        text = f"{name} of “{self.host.name}” {message}" if name else message
        if not line.isdecimal():
            return InputError(text, source=self.origin(name), hint=hint)
        return InputError(text, source=source, line=int(line), hint=hint)

    def text(self, names: tuple[str, ...]) -> str | None:
        """Returns the text of the last of `names` that is set. A number is text, as in Ansible; nothing else is."""
        name = self._last(names)
        value = self.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.error(name, "is no text", "put it in quotes")
        if not str(value).isprintable():
            raise self.error(name, "has a control character in it", "retype it")
        return str(value)

    def number(self, names: tuple[str, ...], allowed: range, wanted: str) -> int | None:
        """Returns the number of the last of `names` that is set, also where it is written as text."""
        name = self._last(names)
        value = self.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
            value = int(value.strip()[:9])
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise self.error(name, f"is not {wanted}", "mind that YAML reads 12:30 as 750 and 0022 as 18")
        return value

    def truth(self, name: str) -> bool:
        value = self.get(name)
        word = str(value).lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise self.error(name, "is neither yes nor no", "write true or false")

    def _last(self, names: tuple[str, ...]) -> str:
        return next((n for n in reversed(names) if self.host.variables.get(n) is not None), names[0])
