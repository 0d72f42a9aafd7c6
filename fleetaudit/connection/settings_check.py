"""Which settings of ansible.cfg that are not followed would change how these hosts are reached. No
I/O.

Rules: a variable of a host takes precedence over ansible.cfg, so a setting affects only hosts
without that variable. A setting for SSH does not affect this machine, and one for sudo only hosts
where the probe becomes another user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fleetaudit.inventory.unsupported_settings import UnsupportedSetting
from fleetaudit.model import Inventory, LocalTarget, SshTarget

from .become import flags_are_redundant, wants_become
from .target import ConnectionOptions
from .templates import Renderer
from .variables import CannotReachError, Variables

Reached = SshTarget | LocalTarget
_Touches = Callable[[UnsupportedSetting, Variables, Reached, ConnectionOptions], bool]


def check_connection_settings(
    inventory: Inventory, targets: Mapping[str, object], options: ConnectionOptions
) -> Iterator[str]:
    """Yields a note for each setting that changes nothing for these hosts; raises `InputError` for
    one that would.

    `targets` is how each host is reached, by name; hosts that are not reached at all do not count.
    """
    unsupported = [setting for setting in options.settings.unsupported if setting.name in _TOUCHES]
    if not unsupported:
        return
    reached = [
        (Variables(host, Renderer(host, options.vault, inventory)), target)
        for host in inventory.hosts
        if isinstance(target := targets.get(host.name), Reached)
    ]
    for setting in unsupported:
        touched = [of.host.name for of, target in reached if _touched(setting, of, target, options)]
        if touched:
            hosts_of = "1 host" if len(touched) == 1 else f"{len(touched)} hosts"
            raise setting.error(
                f"how {hosts_of} of {len(reached)} would be reached (first: {touched[0]})"
            )
        yield setting.note()


def _touched(
    setting: UnsupportedSetting, variables: Variables, target: Reached, options: ConnectionOptions
) -> bool:
    try:
        return _TOUCHES[setting.name](setting, variables, target, options)
    except CannotReachError:  # a variable of the host's own, which cannot be rendered
        return False


def _any(variables: Variables, *names: str) -> bool:
    return any(variables.is_set(name) for name in names)


def _transport(
    _setting: UnsupportedSetting,
    variables: Variables,
    _target: Reached,
    _options: ConnectionOptions,
) -> bool:
    return not variables.is_set("ansible_connection")


def _of_ssh(own: str) -> _Touches:
    """Returns whether a setting of Ansible's plug-in ssh is for a host that has no variable `own`."""

    def touches(
        _setting: UnsupportedSetting,
        variables: Variables,
        target: Reached,
        options: ConnectionOptions,
    ) -> bool:
        by_ssh = isinstance(target, SshTarget) and not _by_paramiko(variables, options)
        return by_ssh and not variables.is_set(own)

    return touches


def _by_paramiko(variables: Variables, options: ConnectionOptions) -> bool:
    """Returns whether Ansible would use its plug-in paramiko instead of ssh."""
    connection = variables.get("ansible_connection") or options.settings.transport or ""
    return str(connection).rpartition(".")[2].startswith("paramiko")


def _proxy_of_paramiko(
    _setting: UnsupportedSetting, variables: Variables, target: Reached, options: ConnectionOptions
) -> bool:
    return isinstance(target, SshTarget) and _by_paramiko(variables, options)


def _user(method: str) -> _Touches:
    def touches(
        setting: UnsupportedSetting,
        variables: Variables,
        target: Reached,
        options: ConnectionOptions,
    ) -> bool:
        if _any(variables, "ansible_become_user", f"ansible_{method}_user") or options.become_user:
            return False
        become = target.become
        if become is None:  # perhaps only because the login user is the usual become_user
            return wants_become(variables, options)
        return become.method == method and become.user != setting.value

    return touches


def _program(method: str) -> _Touches:
    def touches(
        setting: UnsupportedSetting,
        variables: Variables,
        target: Reached,
        _options: ConnectionOptions,
    ) -> bool:
        if _any(variables, "ansible_become_exe", f"ansible_{method}_exe"):
            return False
        become = target.become
        return become is not None and become.method == method and become.program != setting.value

    return touches


def _flags(*methods: str) -> _Touches:
    def touches(
        setting: UnsupportedSetting,
        variables: Variables,
        target: Reached,
        _options: ConnectionOptions,
    ) -> bool:
        if target.become is None or (methods and target.become.method not in methods):
            return False
        method = target.become.method
        own = _any(variables, "ansible_become_flags", f"ansible_{method}_flags")
        return not own and not flags_are_redundant(setting.value, method)

    return touches


def _password(*methods: str) -> _Touches:
    def touches(
        _setting: UnsupportedSetting,
        _variables: Variables,
        target: Reached,
        _options: ConnectionOptions,
    ) -> bool:
        become = target.become
        return (
            become is not None
            and become.password is None
            and (not methods or become.method in methods)
        )

    return touches


def _folder(method: str) -> _Touches:
    def touches(
        _setting: UnsupportedSetting,
        _variables: Variables,
        target: Reached,
        _options: ConnectionOptions,
    ) -> bool:
        return target.become is not None and target.become.method == method

    return touches


_TOUCHES: dict[str, _Touches] = {
    "transport": _transport,
    "ssh_executable": _of_ssh("ansible_ssh_executable"),
    "pkcs11_provider": _of_ssh("ansible_ssh_pkcs11_provider"),
    "private_key": _of_ssh("ansible_ssh_private_key"),
    "proxy_command": _proxy_of_paramiko,
    "become_flags": _flags(),
    "become_pass": _password(),
    "[sudo_become_plugin] chdir": _folder("sudo"),
    **{
        f"[{method}_become_plugin] {name}": touches
        for method in ("sudo", "doas", "su")
        for name, touches in (
            ("user", _user(method)),
            ("executable", _program(method)),
            ("flags", _flags(method)),
            ("password", _password(method)),
        )
    },
}
