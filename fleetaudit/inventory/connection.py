"""From a host's variables to where and as whom it is reached. No I/O.

Rules: variables beat the command line, and an old spelling (ansible_ssh_user) beats the new one wherever either was
set, as in Ansible. A variable that would change where or as whom we connect and that is not honoured makes the host
not audited. ansible_python_interpreter is ignored: the probe finds an interpreter by trying. So is
ansible_host_key_checking: the command line alone loosens the policy. No value but that of ansible_connection is
repeated in a message, because a value may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..model import Host, HostKeyPolicy, KernelTarget, LocalTarget, NotAudited, SshTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What the command line said about connections; a host's variables beat `user`, `private_key` and `timeout_s`."""

    user: str | None = None
    private_key: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_policy: HostKeyPolicy = "strict"
    timeout_s: float = 10.0


_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh"}
_PREFIXES = ("ansible.builtin.", "ansible.legacy.")
# Of each line the last that is set wins: Ansible's order.
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
_USER = ("ansible_user", "ansible_ssh_user")
_KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
_NO_ARGUMENTS = "give its ansible_host an address that needs no such arguments; ssh options are not honoured yet"
_NO_PASSWORD = "use a key (ansible_ssh_private_key_file) or an SSH agent; passwords are not honoured yet"  # noqa: S105
_NO_KEY = "name a key file (ansible_ssh_private_key_file) or use an SSH agent"
_NO_BECOME = "set ansible_become: false for it, or audit as a user that needs none; become is not honoured yet"
_REFUSED = {
    "ansible_ssh_args": _NO_ARGUMENTS,
    "ansible_ssh_common_args": _NO_ARGUMENTS,
    "ansible_ssh_extra_args": _NO_ARGUMENTS,
    "ansible_paramiko_proxy_command": _NO_ARGUMENTS,
    "ansible_ssh_proxy_command": _NO_ARGUMENTS,
    "ansible_proxy_command": _NO_ARGUMENTS,
    "ansible_ssh_executable": _NO_ARGUMENTS,
    "ansible_password": _NO_PASSWORD,
    "ansible_ssh_pass": _NO_PASSWORD,
    "ansible_ssh_password": _NO_PASSWORD,
    "ansible_private_key": _NO_KEY,
    "ansible_ssh_private_key": _NO_KEY,
    "ansible_private_key_passphrase": _NO_KEY,
    "ansible_ssh_private_key_passphrase": _NO_KEY,
    "ansible_ssh_pkcs11_provider": _NO_KEY,
}
_PARAMIKO_ONLY = ("host", "port", "user", "pass", "password", "private_key_file")
_TRUE = {"yes", "true", "on", "1", "y", "t"}
_FALSE = {"no", "false", "off", "0", "n", "f"}
_MEMORY_MIB = range(64, 65_537)


class _CannotReach(Exception):
    """An outcome of this host alone, met in `target_of`."""

    def __init__(self, reason: str, hint: str) -> None:
        self.reason, self.hint = reason, hint
        super().__init__(reason)


def target_of(host: Host, options: ConnectionOptions) -> SshTarget | LocalTarget | KernelTarget | NotAudited:
    """Returns how `host` is reached, or `NotAudited` at stage `inventory` where a variable asks for what is not done.

    Paths: a key's `~` is expanded and it is relative to the current folder, as in Ansible; `kernel_image` is relative
    to the folder of the inventory file that sets it. Raises `InputError` with the origin of a value of a wrong type.
    """
    variables = _Variables(host)
    try:
        connection = variables.text(("ansible_connection",)) or "ssh"
        for prefix in _PREFIXES:
            connection = connection.removeprefix(prefix)
        if connection == "kernel":
            return _kernel(variables)
        if connection != "local" and connection not in _SSH:
            raise _CannotReach(
                f"ansible_connection “{connection[:64]}” in {variables.origin('ansible_connection')} is none of ours",
                "ssh, paramiko, local and kernel are; limit the run to other hosts, or change the variable",
            )
        _refuse_become(variables)
        return LocalTarget() if connection == "local" else _ssh(variables, options, connection)
    except _CannotReach as e:
        return NotAudited(name=host.name, groups=host.groups, stage="inventory", reason=e.reason, hint=e.hint)


def _ssh(variables: _Variables, options: ConnectionOptions, connection: str) -> SshTarget:
    for name, hint in _REFUSED.items():
        if variables.is_set(name) and not (name == "ansible_ssh_executable" and variables.get(name) == "ssh"):
            raise _CannotReach(f"{name} in {variables.origin(name)} is not honoured", hint)
    if connection.startswith("paramiko"):
        for name in (f"ansible_paramiko_{n}" for n in _PARAMIKO_ONLY):
            if variables.is_set(name):
                raise _CannotReach(
                    f"{name} in {variables.origin(name)} is not honoured", f"write ansible_{name[17:]} instead"
                )
    key = variables.text(_KEY) or options.private_key
    return SshTarget(
        address=variables.text(_ADDRESS) or variables.host.name,
        port=variables.number(_PORT, range(1, 65_536), "a port, 1 to 65535") or 22,
        user=variables.text(_USER) or options.user,
        private_keys=(_home(key),) if key else (),
        known_hosts=tuple(map(_home, options.known_hosts)),
        host_key_policy=options.host_key_policy,
        connect_timeout_s=float(
            variables.number(_TIMEOUT, range(1, 86_401), "a number of seconds") or options.timeout_s
        ),
    )


def _refuse_become(variables: _Variables) -> None:
    if variables.is_set("ansible_become") and not variables.truth("ansible_become"):
        return
    for name in variables.host.variables:
        if name.startswith("ansible_become") and variables.is_set(name):
            raise _CannotReach(f"{name} in {variables.origin(name)} is not honoured", _NO_BECOME)


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
        variables.refuse_template("kernel_sysctls", value)
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

    def __init__(self, host: Host) -> None:
        self.host = host

    def get(self, name: str) -> Any:
        value = self.host.variables.get(name)
        self.refuse_template(name, value)
        return value

    def is_set(self, name: str) -> bool:
        return self.host.variables.get(name) not in (None, "")

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

    def refuse_template(self, name: str, value: Any) -> None:
        if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")):
            raise _CannotReach(
                f"{name} in {self.origin(name)} is a template, and templates are not rendered yet",
                f"write the value itself for “{self.host.name}”",
            )

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
