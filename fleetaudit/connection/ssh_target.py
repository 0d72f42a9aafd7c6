"""Resolves the SSH target of a host (address, port, user, client) from its variables. No I/O.

Rules: variables override the command line, which overrides ansible.cfg; an old spelling
(ansible_ssh_user) overrides the new one wherever either is set, as in Ansible. A variable that
would change the address or the user of the connection, and is not supported, makes the host not
audited.
ansible_host_key_checking is ignored: only the command line loosens that policy. If an argument for
ssh needs what only OpenSSH can do, the system's ssh is the client (as in Ansible), unless the
inventory says paramiko. A password is sent only to a host whose key is checked.
"""

from __future__ import annotations

import msgspec

from fleetaudit.model import SshClient, SshTarget
from fleetaudit.text.files import expand_home

from .ansible_cfg import AnsibleSettings
from .become import resolve_become
from .interpreter import resolve_interpreter
from .no_exec import refuse_arguments, refuse_environment, refuse_openssh
from .options import ConnectionOptions
from .probe_choice import resolve_probe
from .shell_words import UnsupportedArgumentError
from .ssh_arguments import (
    first_openssh_only_argument,
    first_significant_argument,
    openssh_arguments,
)
from .variables import CannotReachError, Variables, first_set, first_set_or

DEFAULT_TIMEOUT_S = 10.0
"""Maximum seconds for a connection by default."""
# The spellings of each variable; the last that is set wins, as in Ansible.
ADDRESS = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
SITE = "fleetaudit_site"
"""Where a host can be reached from, for an audit with workers."""
_PROGRAM = "ansible_ssh_executable"
_DEFAULT_PORT = 22
_PORTS = range(1, 65_536)
_TIMEOUTS_S = range(1, 86_401)

_USE_SSH = "paramiko cannot; write ansible_connection: ssh, or openssh for the system's own ssh"
_COMMAND_ONLY = "remove the arguments that make ssh do anything but run a command"
_PROXY_FOR_SSH = "write it for ssh: ansible_ssh_common_args: -J HOST, or -o with a ProxyCommand"
_USE_OPENSSH = "write ansible_connection: openssh, which runs the system's ssh or the named program"
_USE_PARAMIKO = (
    "write ansible_connection: paramiko, which can send it; or use a key or an SSH agent"
)
_CHECK_HOST_KEYS = (
    "use --host-key-policy accept-new or strict: a password is sent only to a host whose key is"
    " checked"
)
_USE_KEY_FILE = "name a key file (ansible_ssh_private_key_file) or use an SSH agent"
_UNSUPPORTED = {
    "ansible_paramiko_proxy_command": _PROXY_FOR_SSH,
    "ansible_ssh_proxy_command": _PROXY_FOR_SSH,
    "ansible_proxy_command": _PROXY_FOR_SSH,
    _PROGRAM: _USE_OPENSSH,
    "ansible_private_key": _USE_KEY_FILE,
    "ansible_ssh_private_key": _USE_KEY_FILE,
    "ansible_private_key_passphrase": _USE_KEY_FILE,
    "ansible_ssh_private_key_passphrase": _USE_KEY_FILE,
    "ansible_ssh_pkcs11_provider": _USE_KEY_FILE,
}
"""Variables that are not supported, and what to do instead."""
_PARAMIKO_VARIABLES = {
    f"ansible_paramiko_{name}": f"write ansible_{name} instead"
    for name in ("host", "port", "user", "pass", "password", "private_key_file")
}
"""Variables of Ansible's plugin paramiko alone, and what to do instead."""
_ARGUMENTS = {
    "ssh_args": "ansible_ssh_args",
    "ssh_common_args": "ansible_ssh_common_args",
    "ssh_extra_args": "ansible_ssh_extra_args",
}
"""The settings of ansible.cfg with arguments for ssh, and the variable of each."""


def resolve_ssh_target(
    variables: Variables, options: ConnectionOptions, connection: str
) -> SshTarget:
    """Returns the target of a host over SSH: address, port, user, client and login.

    `connection` is the host's ansible_connection, one of SSH, without the prefix of a collection.
    The variables are those of Ansible's connection plugins ansible.builtin.ssh and
    ansible.builtin.paramiko_ssh, as their documentation names them. Raises `CannotReachError` for a
    variable or an argument for ssh that is not supported, and for a password that would go to a
    host whose key is not checked or to the system's own ssh; raises `InputError` for a value of a
    wrong type.
    """
    _check_variables(variables, connection)
    arguments = [_read_arguments(variables, options.settings, name) for name in _ARGUMENTS]
    if options.no_exec:
        _refuse_programs(variables, connection, arguments)
    client = _choose_client(connection, options.client, arguments)
    target = _without_arguments(variables, options)
    if client == "paramiko":
        password = variables.password(PASSWORD, options.password)
        target = msgspec.structs.replace(target, password=password)
    else:
        program = _program_of(variables, connection)
        target = msgspec.structs.replace(target, client=client, program=program)
    target = _with_arguments(target, arguments)
    _check_passwords(target)
    return target


def _program_of(variables: Variables, connection: str) -> str:
    """Returns the program to run as ssh: with “openssh” the host's own, if it names one."""
    if connection != "openssh":
        return "ssh"
    return first_set_or("ssh", variables.text(_PROGRAM))


def _check_variables(variables: Variables, connection: str) -> None:
    """Raises `CannotReachError` for a variable that is not supported with this connection."""
    for name, hint in _unsupported_variables(variables, connection).items():
        if variables.is_set(name):
            raise CannotReachError(f"{name} in {variables.origin(name)} is not supported", hint)


def _unsupported_variables(variables: Variables, connection: str) -> dict[str, str]:
    """Returns the variables that are not supported with a connection, and what to do instead.

    ansible_ssh_executable is supported with “openssh”; its default, ssh, with every connection.
    """
    names = dict(_UNSUPPORTED)
    if connection == "openssh" or variables.get(_PROGRAM) == "ssh":
        del names[_PROGRAM]
    if connection in _PARAMIKO_CONNECTIONS:
        names |= _PARAMIKO_VARIABLES
    return names


def _without_arguments(variables: Variables, options: ConnectionOptions) -> SshTarget:
    """Returns the target of a host without arguments for ssh; its password is the host's own.

    For each field the order is: variables, the command line, ansible.cfg, the default. An option
    that is 0 or empty counts as not given.
    """
    settings = options.settings
    user = first_set(variables.text(*USER), options.user, settings.remote_user)
    key = first_set(variables.text(*KEY), options.private_key, settings.private_key_file)
    own_port = variables.number(PORT, _PORTS, "a port, 1 to 65535")
    port = first_set(own_port, settings.remote_port)
    own_timeout = variables.number(TIMEOUT, _TIMEOUTS_S, "a number of seconds")
    timeout = first_set_or(DEFAULT_TIMEOUT_S, own_timeout, options.timeout_s, settings.timeout)
    return SshTarget(
        address=first_set_or(variables.host.name, variables.text(*ADDRESS)),
        port=first_set_or(_DEFAULT_PORT, port),
        port_is_explicit=port is not None,
        user=user,
        private_keys=(_path_of(key),) if key else (),
        known_hosts=tuple(map(_path_of, options.known_hosts)),
        host_key_policy=options.host_key_policy,
        connect_timeout_s=float(timeout),
        password=variables.password(PASSWORD),
        become=resolve_become(variables, options, user),
        interpreter=resolve_interpreter(variables, settings),
        site=first_set_or("", variables.text(SITE)),
        probe=resolve_probe(variables, options),
        no_exec=options.no_exec,
    )


def _path_of(name: str) -> str:
    """Returns the path of a file with its ~ expanded."""
    return str(expand_home(name))


class _Arguments(msgspec.Struct, frozen=True):
    """One of Ansible's three settings with arguments for ssh: its text, name and origin."""

    text: str
    name: str
    origin: str

    def words(self) -> tuple[str, ...]:
        """Returns the arguments as words for ssh.

        Raises `CannotReachError` for an argument that makes ssh do anything but run a command.
        """
        try:
            return openssh_arguments(self.text)
        except UnsupportedArgumentError as e:
            raise self.error(str(e), _COMMAND_ONLY) from e

    def error(self, problem: str, hint: str) -> CannotReachError:
        """Returns the error about an argument that is not supported."""
        return CannotReachError(f"{self.name} in {self.origin} is not supported: {problem}", hint)


def _read_arguments(variables: Variables, settings: AnsibleSettings, name: str) -> _Arguments:
    """Returns the arguments of a host's variable, else those of ansible.cfg.

    A variable that is set to an empty text replaces those of ansible.cfg, too.
    """
    variable = _ARGUMENTS[name]
    value = variables.get(variable)
    if value is not None:
        return _Arguments(str(value or ""), variable, variables.origin(variable))
    return _Arguments(getattr(settings, name) or "", name, settings.origins.get(name, ""))


_PARAMIKO_CONNECTIONS = ("paramiko", "paramiko_ssh")
_CLIENTS: dict[str, SshClient] = {
    "openssh": "openssh",
    **dict.fromkeys(_PARAMIKO_CONNECTIONS, "paramiko"),
}
"""The client of each connection that names one."""


def _choose_client(connection: str, default: SshClient, arguments: list[_Arguments]) -> SshClient:
    """Returns the client for a connection with these arguments.

    Raises `CannotReachError` if the inventory says paramiko and the arguments need OpenSSH.
    """
    client = _CLIENTS.get(connection, default)
    for each in arguments:
        problem = first_openssh_only_argument(each.text)
        if not problem:
            continue
        if connection in _PARAMIKO_CONNECTIONS:
            raise each.error(problem, _USE_SSH)
        return "openssh"
    return client


def _refuse_programs(variables: Variables, connection: str, arguments: list[_Arguments]) -> None:
    """Raises `CannotReachError` for a connection that makes this machine start a program."""
    for each in arguments:
        refuse_arguments(each.text, each.name, each.origin)
        refuse_environment(each.text, each.name, each.origin)
    for name in filter(variables.is_set, KEY):
        refuse_environment(str(variables.get(name)), name, variables.origin(name))
    if _CLIENTS.get(connection) == "openssh":
        refuse_openssh(variables)


def _with_arguments(target: SshTarget, arguments: list[_Arguments]) -> SshTarget:
    """Returns the target with its arguments, unless the client may ignore all of them.

    The built-in client resolves them by `ssh -G`, which takes time, so it gets them only if one of
    them matters. Ansible's order: ssh_args before, common and extra arguments after the other
    options.
    """
    early, common, extra = (each.words() for each in arguments)
    has_password = bool(target.password)
    significant = (
        first_significant_argument(each.text, password=has_password) for each in arguments
    )
    if target.client == "paramiko" and not any(significant):
        return target
    return msgspec.structs.replace(target, arguments=early, late_arguments=(*common, *extra))


def _check_passwords(target: SshTarget) -> None:
    """Raises `CannotReachError` if a password would go to an unchecked host, or to OpenSSH.

    A password for a host whose key is not checked may go to an attacker. The system's ssh asks for
    a password only on a terminal.
    """
    if target.client == "openssh" and target.password:
        raise CannotReachError(
            "the system's ssh can ask for a password only on a terminal",
            _USE_PARAMIKO,
            "authenticate",
        )
    if target.host_key_policy != "off":
        return
    if target.password:
        raise CannotReachError(
            "a password is set, but the host key is not checked",
            _CHECK_HOST_KEYS,
            "authenticate",
        )
    if target.become and target.become.password:
        raise CannotReachError(
            f"a password for {target.become.method} is set, but the host key is not checked",
            _CHECK_HOST_KEYS,
            "become",
        )
