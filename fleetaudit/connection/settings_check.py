"""Which unsupported settings of ansible.cfg would change how these hosts are reached. No I/O.

Rules: a variable of a host takes precedence over ansible.cfg, so a setting affects only hosts
without that variable. A setting for SSH does not affect this machine, and one for sudo only hosts
where the probe becomes another user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fleetaudit.inventory.unsupported_settings import UnsupportedSetting
from fleetaudit.model import Become, Inventory, LocalTarget, SshTarget
from fleetaudit.text.phrases import count_noun

from .become import flags_are_redundant, wants_become
from .options import ConnectionOptions
from .templates import Renderer
from .variables import CannotReachError, Variables, first_set_or


class _ReachedHost(NamedTuple):
    """A host that is reached: its variables, how it is reached, and the options."""

    variables: Variables
    target: SshTarget | LocalTarget
    options: ConnectionOptions

    @property
    def become(self) -> Become | None:
        """How the probe becomes another user on the host, if it does."""
        return self.target.become

    def sets_any(self, *names: str) -> bool:
        """Returns whether the host has one of these variables."""
        return any(map(self.variables.is_set, names))

    def becomes_by(self, method: str) -> bool:
        """Returns whether the probe becomes another user by this method."""
        return self.become is not None and self.become.method == method

    def is_reached_by_paramiko(self) -> bool:
        """Returns whether Ansible would use its plugin paramiko instead of ssh.

        The name may have the prefix of its collection.
        """
        own = self.variables.get("ansible_connection")
        connection = first_set_or("", own, self.options.settings.transport)
        return str(connection).rpartition(".")[2].startswith("paramiko")


_Affects = Callable[[UnsupportedSetting, _ReachedHost], bool]


def check_connection_settings(
    inventory: Inventory, targets: Mapping[str, object], options: ConnectionOptions
) -> Iterator[str]:
    """Yields a note for each setting that changes nothing for these hosts.

    `targets` is how each host is reached, by name; hosts that are not reached at all do not count.
    Only settings about connections are checked here; those about inventories were checked when
    they were read (inventory/settings_check.py). Raises `InputError` for a setting that would
    change something: it names the first host, how many there are, and the command without the
    setting. Ansible: "Ansible Configuration Settings", and the options of each plugin.
    """
    settings = [setting for setting in options.settings.unsupported if setting.name in _AFFECTS]
    if not settings:
        return
    hosts = list(_reached_hosts(inventory, targets, options))
    for setting in settings:
        _check_setting(setting, hosts)
        yield setting.note()


def _check_setting(setting: UnsupportedSetting, hosts: Sequence[_ReachedHost]) -> None:
    """Raises `InputError` for a setting that would change how one of these hosts is reached."""
    affected = [host for host in hosts if _is_affected(setting, host)]
    if affected:
        count = count_noun(len(affected), "host")
        first = affected[0].variables.host.name
        raise setting.error(f"how {count} of {len(hosts)} would be reached (first: {first})")


def _reached_hosts(
    inventory: Inventory, targets: Mapping[str, object], options: ConnectionOptions
) -> Iterator[_ReachedHost]:
    """Yields the hosts that are reached by SSH, and this machine.

    Kernels under QEMU are not among them: Ansible does not know them.
    """
    for host in inventory.hosts:
        target = targets.get(host.name)
        if isinstance(target, SshTarget | LocalTarget):
            variables = Variables(host, Renderer(host, options.vault, inventory))
            yield _ReachedHost(variables, target, options)


def _is_affected(setting: UnsupportedSetting, host: _ReachedHost) -> bool:
    """Returns whether a setting would change how a host is reached.

    A variable of the host's own that cannot be rendered does not come from ansible.cfg.
    """
    try:
        return _AFFECTS[setting.name](setting, host)
    except CannotReachError:
        return False


def _transport(_setting: UnsupportedSetting, host: _ReachedHost) -> bool:
    """Returns whether another transport is for this host."""
    return not host.sets_any("ansible_connection")


def _of_ssh_plugin(variable: str) -> _Affects:
    """Returns the check of a setting of Ansible's plugin ssh, which `variable` overrides."""

    def affects(_setting: UnsupportedSetting, host: _ReachedHost) -> bool:
        if isinstance(host.target, LocalTarget) or host.is_reached_by_paramiko():
            return False
        return not host.sets_any(variable)

    return affects


def _proxy_of_paramiko(_setting: UnsupportedSetting, host: _ReachedHost) -> bool:
    """Returns whether a proxy of Ansible's plugin paramiko is for this host."""
    return isinstance(host.target, SshTarget) and host.is_reached_by_paramiko()


def _become_user(method: str) -> _Affects:
    """Returns the check of the user of one method.

    Variables of the host, of either spelling, and the command line override the setting.
    """

    def affects(setting: UnsupportedSetting, host: _ReachedHost) -> bool:
        own = host.sets_any("ansible_become_user", f"ansible_{method}_user")
        if own or host.options.become_user:
            return False
        if host.become is None:
            # Perhaps only because the login user is the usual become_user.
            return wants_become(host.variables, host.options)
        return host.becomes_by(method) and host.become.user != setting.value

    return affects


def _become_program(method: str) -> _Affects:
    """Returns the check of the program of one method.

    Variables of the host, of either spelling, override the setting.
    """

    def affects(setting: UnsupportedSetting, host: _ReachedHost) -> bool:
        if host.become is None or host.sets_any("ansible_become_exe", f"ansible_{method}_exe"):
            return False
        return host.becomes_by(method) and host.become.program != setting.value

    return affects


def _become_flags(setting: UnsupportedSetting, host: _ReachedHost) -> bool:
    """Returns whether flags are for this host, and ask for more than is done anyway.

    They apply to whatever method the host uses; its own flags, of either spelling, override them.
    """
    if host.become is None:
        return False
    method = host.become.method
    if host.sets_any("ansible_become_flags", f"ansible_{method}_flags"):
        return False
    return not flags_are_redundant(setting.value, method)


def _become_password(_setting: UnsupportedSetting, host: _ReachedHost) -> bool:
    """Returns whether a password of any method is for this host."""
    return host.become is not None and host.become.password is None


def _become_folder(_setting: UnsupportedSetting, _host: _ReachedHost) -> bool:
    """Returns whether another working folder is for this host: it always is."""
    return True


def _only_for(method: str, affects: _Affects) -> _Affects:
    """Returns a check that is False unless the probe becomes another user by this method."""

    def affects_by_method(setting: UnsupportedSetting, host: _ReachedHost) -> bool:
        return host.becomes_by(method) and affects(setting, host)

    return affects_by_method


def _of_become_plugin(method: str) -> dict[str, _Affects]:
    """Returns the checks of the settings of one become plugin, by name."""
    section = f"[{method}_become_plugin]"
    return {
        f"{section} user": _become_user(method),
        f"{section} executable": _become_program(method),
        f"{section} flags": _only_for(method, _become_flags),
        f"{section} password": _only_for(method, _become_password),
    }


_AFFECTS: dict[str, _Affects] = {
    "transport": _transport,
    "ssh_executable": _of_ssh_plugin("ansible_ssh_executable"),
    "pkcs11_provider": _of_ssh_plugin("ansible_ssh_pkcs11_provider"),
    "private_key": _of_ssh_plugin("ansible_ssh_private_key"),
    "proxy_command": _proxy_of_paramiko,
    "become_flags": _become_flags,
    "become_pass": _become_password,
    "[sudo_become_plugin] chdir": _only_for("sudo", _become_folder),
    **_of_become_plugin("sudo"),
    **_of_become_plugin("doas"),
    **_of_become_plugin("su"),
}
"""Whether a setting would change how a host is reached, by the setting's name."""
