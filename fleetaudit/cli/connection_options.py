"""The options that say how hosts are reached and as whom, for every verb that connects.

Rules: a verb takes them by `connection_options` and hands what click made of them to `ConnectionArguments`.
Passwords are asked for once, before the first connection, and only where somebody can answer; each
has one source, and what is typed goes before what was said elsewhere.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from fleetaudit.errors import ConfigError, NothingToDoError, UsageError
from fleetaudit.text.files import expand_home

from . import params

if TYPE_CHECKING:
    from fleetaudit.app.planning import LoadedInventory
    from fleetaudit.connection.ansible_cfg import AnsibleSettings
    from fleetaudit.connection.options import ConnectionOptions
    from fleetaudit.model import (
        BecomeMethod,
        HostKeyPolicy,
        Plan,
        Secret,
        SshClient,
        Target,
    )

Verb = TypeVar("Verb", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "-l", "--limit", metavar="PATTERN", help="Only the hosts of this pattern, as in Ansible."
    ),
    click.option(
        "-e",
        "--extra-vars",
        metavar="KEY=VALUE",
        multiple=True,
        help="A variable of every host, above all others.",
    ),
    click.option(
        "-f",
        "--forks",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=32,
        show_default=True,
        envvar="FLEETAUDIT_FORKS",
        help="How many hosts at once.",
    ),
    click.option(
        "-u", "--user", metavar="USER", help="Log in as this user, where the inventory names none."
    ),
    click.option(
        "--private-key",
        metavar="FILE",
        help="Log in with this key, where the inventory names none.",
    ),
    click.option("-k", "--ask-pass", is_flag=True, help="Ask for the password to log in with."),
    click.option("--connection-password-file", metavar="FILE", help="The password to log in with."),
    click.option(
        "-b",
        "--become",
        is_flag=True,
        help="Run as another user, where the inventory does not say.",
    ),
    click.option("--become-user", metavar="USER", help="Which one; default: root."),
    click.option(
        "--become-method", type=click.Choice(["sudo", "doas", "su"]), help="Default: sudo."
    ),
    click.option(
        "-K",
        "--ask-become-pass",
        is_flag=True,
        help="Ask for the password that sudo or su asks for.",
    ),
    click.option(
        "--become-password-file",
        metavar="FILE",
        envvar="FLEETAUDIT_BECOME_PASSWORD_FILE",
        help="The password that sudo or su asks for.",
    ),
    click.option(
        "-T",
        "--timeout",
        type=params.Seconds(0.1, 3600),
        metavar="SECONDS",
        default=10.0,
        show_default=True,
        envvar="FLEETAUDIT_TIMEOUT",
        help="Seconds to wait for a connection.",
    ),
    click.option(
        "--host-deadline",
        type=params.Seconds(1, 86400),
        metavar="SECONDS",
        default=120.0,
        show_default=True,
        help="Seconds for everything about one host, retries included.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 10),
        metavar="N",
        default=2,
        show_default=True,
        help="After transient failures.",
    ),
    click.option(
        "--host-key-policy",
        type=click.Choice(["strict", "accept-new", "off"]),
        default="strict",
        show_default=True,
        envvar="FLEETAUDIT_HOST_KEY_POLICY",
    ),
    click.option("--known-hosts", metavar="FILE", help="Instead of your own known_hosts."),
    click.option(
        "--transport",
        type=click.Choice(["paramiko", "openssh"]),
        default="paramiko",
        show_default=True,
        help="openssh: the system's own ssh.",
    ),
    click.option(
        "--vault-password-file",
        metavar="FILE",
        help="The password of what ansible-vault encrypted.",
    ),
)

PAIRS = (("ask_pass", "connection_password_file"), ("ask_become_pass", "become_password_file"))
"""What asks for a password, and what names the file with the same one."""


_OVERRULED = {
    "password": ("ask_pass", "connection_password_file"),
    "become_password": ("ask_become_pass", "become_password_file"),
    "client": ("transport",),
}
"""Options of a connection that have other names on the command line."""


def connection_options(verb: Verb) -> Verb:
    """Gives a verb every option of this file, in this order."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionArguments:
    """The options of this file, as click typed them."""

    limit: str | None
    extra_vars: tuple[str, ...]
    forks: int
    user: str | None
    private_key: str | None
    ask_pass: bool
    connection_password_file: str | None
    become: bool
    become_user: str | None
    become_method: BecomeMethod | None
    ask_become_pass: bool
    become_password_file: str | None
    timeout: float
    host_deadline: float
    retries: int
    host_key_policy: HostKeyPolicy
    known_hosts: str | None
    transport: SshClient
    vault_password_file: str | None

    @classmethod
    def taken_from(cls, options: Mapping[str, object]) -> ConnectionArguments:
        """Returns the part of a verb's options that is in this file."""
        return cls(**{field.name: options[field.name] for field in fields(cls)})  # type: ignore[arg-type]  # click typed

    def options(self, *, ask: bool = True) -> ConnectionOptions:
        """Returns what the inventory's variables are weighed against; passwords are read, and asked
        for if `ask`.

        Raises `UsageError` where nobody can be asked, `NothingToDoError` or `ConfigError` for a
        file.
        """
        from fleetaudit.connection.options import ConnectionOptions

        if self.private_key:
            params.existing_file(self.private_key, "--private-key")
        if self.known_hosts and self.host_key_policy == "strict":
            params.existing_file(self.known_hosts, "--known-hosts")
        self._refuse_one_input_for_two()
        password = self._password(ask)
        return ConnectionOptions(
            user=self.user,
            private_key=self.private_key,
            known_hosts=(str(expand_home(self.known_hosts)),) if self.known_hosts else (),
            host_key_policy=self.host_key_policy,
            client=self.transport,
            timeout_s=self.timeout if is_set("timeout") else None,
            password=password,
            become=self.become,
            become_user=self.become_user,
            become_method=self.become_method,
            become_password=self._become_password(ask, password),
        )

    def with_forks_of(self, settings: AnsibleSettings) -> ConnectionArguments:
        """Returns these options with the forks that ansible.cfg says, where nobody said how many."""
        return (
            replace(self, forks=settings.forks) if settings.forks and not is_set("forks") else self
        )

    def refuse_questions(self, because: str) -> None:
        """Raises `UsageError` where a password would be asked for."""
        for asks, file in PAIRS:
            if getattr(self, asks):
                raise UsageError(
                    f"{because} never asks for a password:  --{file.replace('_', '-')} FILE"
                )

    def tell_unused(
        self,
        plan: Plan,
        loaded: LoadedInventory,
        options: ConnectionOptions,
        tell: Callable[[str], None],
    ) -> None:
        """Notes each typed option about passwords and becoming that no host of the plan uses, and
        each option that variables of the inventory overrule.

        Raises `UsageError` where a password to log in with is given, and no host takes one.
        """
        from fleetaudit.model import NotAudited, NotSelected

        _tell_of_overruled(plan, loaded, options, tell)
        selected = [host.target for host in plan.hosts if not isinstance(host.target, NotSelected)]
        known = [target for target in selected if not isinstance(target, NotAudited)]
        if known:
            self._tell_of_becoming(known, tell)
            _tell_of_logging_in(known, tell, all_known=len(known) == len(selected))

    def _tell_of_becoming(self, targets: Sequence[Target], tell: Callable[[str], None]) -> None:
        said = _typed("ask_become_pass", "become_user", "become_method", "become_password_file")
        becomes = any(target.become for target in targets)
        if (
            said and not becomes and not self.become
        ):  # an inventory may say ansible_become, so it is no error
            tell(
                f"fleetaudit: note: {', '.join(said)}: not used, for no host becomes another user;"
                " -b says so for all"
            )

    def _refuse_one_input_for_two(self) -> None:
        from fleetaudit.app.passwords import STANDARD_INPUT

        if {self.connection_password_file, self.become_password_file} <= STANDARD_INPUT:
            raise UsageError(
                "--connection-password-file and --become-password-file: standard input is read for"
                " one password; name another file for the other"
            )

    def extra(self) -> dict[str, str]:
        """Returns the variables of -e, as Ansible splits them; raises `UsageError`."""
        return parse_extra_vars(self.extra_vars)

    def _password(self, ask: bool) -> Secret | None:
        from fleetaudit.app import passwords

        if self.ask_pass:
            return (
                passwords.prompt_password(
                    "password to log in with: ", "-k", "--connection-password-file"
                )
                if ask
                else None
            )
        if self.connection_password_file:
            return _in_file(self.connection_password_file, "connection_password_file")
        return None

    def _become_password(self, ask: bool, login: Secret | None) -> Secret | None:
        from fleetaudit.app import passwords

        if self.ask_become_pass:
            more = " (empty: the one to log in with)" if login else ""
            prompt = f"become password{more}: "
            return (
                passwords.prompt_password(prompt, "-K", "--become-password-file", empty=login)
                if ask
                else None
            )
        if self.become_password_file:
            return _in_file(self.become_password_file, "become_password_file")
        return None


def _in_file(named: str, option: str) -> Secret:
    """Returns the password in a file; what is wrong with one that the environment or a
    configuration names is theirs.

    A resumed run's file was typed when that began.
    """
    from fleetaudit.app import passwords

    source = click.get_current_context().get_parameter_source(option)
    if source not in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
        return passwords.read_password_file(named, "--" + option.replace("_", "-"))
    of_environment = source is ParameterSource.ENVIRONMENT
    try:
        return passwords.read_password_file(
            named,
            f"FLEETAUDIT_{option.upper()}" if of_environment else f"the configuration's {option}",
        )
    except NothingToDoError as e:
        raise ConfigError(str(e)) from e


def choose_password_sources(options: Mapping[str, object]) -> dict[str, object]:
    """Returns the options with one source of each password: where one is typed, the other, said
    elsewhere, is dropped.

    Elsewhere is the environment, a configuration, or a run that is resumed. Raises `UsageError`
    where both are typed.
    """
    chosen = dict(options)
    for asks, file in PAIRS:
        match _typed(asks), _typed(file):
            case ([one], [other]):
                raise UsageError(f"{one} and {other}: either of them, not both")
            case ([_], []):
                chosen[file] = None
            case ([], [_]):
                chosen[asks] = False
    return chosen


def _typed(*names: str) -> list[str]:
    """Returns those of the options that are on the command line, as it has them: by a letter where
    they have one.
    """
    context = click.get_current_context()
    opts = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    return [
        opts[name]
        for name in names
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]


def _tell_of_overruled(
    plan: Plan, loaded: LoadedInventory, options: ConnectionOptions, tell: Callable[[str], None]
) -> None:
    from fleetaudit.connection.option_precedence import find_overridden_options
    from fleetaudit.model import NoTarget

    targets = {
        host.name: host.target for host in plan.hosts if not isinstance(host.target, NoTarget)
    }
    for one in find_overridden_options(
        loaded.inventory, targets, replace(options, vault=loaded.vault)
    ):
        if typed := _typed(*_OVERRULED.get(one.option, (one.option,))):
            first, *more = one.origins
            where = f"{first} and {len(more)} more" if more else first
            count = f"{one.hosts} of {len(targets)} hosts" if len(targets) > 1 else "the host"
            tell(
                f"fleetaudit: note: {', '.join(typed)}: not used for {count}: {one.variable}"
                f" ({where}) takes precedence"
            )


def _tell_of_logging_in(
    targets: Sequence[Target], tell: Callable[[str], None], *, all_known: bool
) -> None:
    from fleetaudit.model import SshTarget

    said = ", ".join(_typed("ask_pass", "connection_password_file"))
    clients = [target.client for target in targets if isinstance(target, SshTarget)]
    if said and all_known and "paramiko" not in clients:
        raise UsageError(
            f"{said}: no host takes a password: the system's own ssh has no terminal to ask on, "
            "and this machine and a kernel need none"
        )
    if said and (count := clients.count("openssh")):
        hosts = "1 host" if count == 1 else f"{count} hosts"
        tell(
            f"fleetaudit: note: {said}: not used for {hosts}: the system's own ssh has no terminal"
            " to ask on (openssh)"
        )


def is_set(option: str) -> bool:
    """Returns whether an option was given at all, and so beats ansible.cfg."""
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


def parse_extra_vars(said: tuple[str, ...]) -> dict[str, str]:
    """Returns KEY=VALUE words by key, the last of each; raises `UsageError`. No message repeats a
    value.
    """
    found = dict[str, str]()
    for text in said:
        if text.startswith(("@", "{", "[")):
            raise UsageError(
                "-e takes KEY=VALUE; write other variables into an inventory: it may be a second"
                " file"
            )
        try:
            split = shlex.split(text)
        except ValueError as e:
            raise UsageError("-e: an unclosed quotation") from e
        for word in split:
            key, equals, value = word.partition("=")
            if not equals or not key.isidentifier():
                raise UsageError(
                    "-e takes KEY=VALUE, each value with blanks in quotes:  -e 'key=\"a b\"'"
                )
            if re.search(r"(?:^|_)pass(?:word|wd)?$|^ansible_.*pass", key):
                raise UsageError(
                    f"-e {key}: everybody on this machine could read it; -k and -K ask, or name a"
                    " file"
                )
            found[key] = value
    return found
