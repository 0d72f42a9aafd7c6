"""The options that say how hosts are reached and as whom, for every command that connects.

Rules: each password has one source. What is typed takes precedence over the environment, a
configuration, and the command line of a run that is resumed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import ConfigError, NothingToDoError, UsageError
from fleetaudit.text.files import expand_home

from .command_line import PASSWORD_OPTIONS
from .option_values import parse_rate_option
from .options import CommandOptions, OptionSource
from .reporter import Report

if TYPE_CHECKING:
    from pathlib import Path

    from fleetaudit.connection.ansible_cfg import AnsibleSettings
    from fleetaudit.connection.option_precedence import OverriddenOption
    from fleetaudit.connection.options import ConnectionOptions
    from fleetaudit.engine import EngineSettings
    from fleetaudit.engine.batches import BatchSize
    from fleetaudit.model import (
        BecomeMethod,
        HostKeyPolicy,
        Plan,
        ProbeChoice,
        Secret,
        SshClient,
        Target,
    )

    from .planning import LoadedInventory

_COMMAND_LINE_NAMES = {
    "password": ("ask_pass", "connection_password_file"),
    "become_password": ("ask_become_pass", "become_password_file"),
    "client": ("transport",),
}
"""Options of a connection that have other names on the command line."""
_NOT_USED = (
    "no host takes a password: the system's own ssh has no terminal to ask on, and this machine and"
    " a kernel need none"
)


class PromptPassword(Protocol):
    """Asks somebody for a password."""

    def __call__(
        self, prompt: str, option: str, alternative: str, *, empty: Secret | None = None
    ) -> Secret:
        """Returns the password that is typed, `empty` if that is nothing.

        `option` is the option that prompts, `alternative` the one that names a file instead. Raises
        `UsageError` if nobody can be asked or nothing is typed and `empty` is None.
        """
        ...


class ConnectionArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The connection options of a command as they were typed."""

    limit: str | None = None
    extra_vars: tuple[str, ...] = ()
    forks: int | None = None
    rate: str | None = None
    user: str | None = None
    private_key: str | None = None
    ask_pass: bool = False
    connection_password_file: str | None = None
    become: bool = False
    become_user: str | None = None
    become_method: BecomeMethod | None = None
    ask_become_pass: bool = False
    become_password_file: str | None = None
    timeout: float = 10.0
    host_deadline: float = 120.0
    retries: int = 2
    host_key_policy: HostKeyPolicy = "strict"
    known_hosts: str | None = None
    transport: SshClient = "paramiko"
    probe: ProbeChoice | None = None
    vault_password_file: str | None = None
    no_exec: bool = False

    @classmethod
    def from_options(cls, options: CommandOptions) -> ConnectionArguments:
        """Returns the connection options among the options of a command.

        The command must have all of them; raises KeyError for one that it does not have, and
        `UsageError` for a rate that makes no sense and for a program together with --no-exec.
        """
        arguments = cls(**{name: options[name].value for name in cls.__struct_fields__})  # type: ignore[arg-type]  # the command line checked the types
        parse_rate_option(arguments.rate)
        refuse_typed_programs(options.values())
        return arguments

    def with_configured_forks(
        self, settings: AnsibleSettings, options: CommandOptions
    ) -> ConnectionArguments:
        """Returns these options with the forks of ansible.cfg, unless an option sets them.

        The environment and a configuration set an option as well as the command line does.
        """
        if not settings.forks or options["forks"].is_set:
            return self
        return replace(self, forks=settings.forks)

    def engine_settings(
        self, serial: tuple[BatchSize, ...] = (), max_fail_percentage: float | None = None
    ) -> EngineSettings:
        """Returns how many hosts are audited at once, in which batches, and for how long.

        `timeout` is not among them: it is the time of one connection, and belongs to the target.
        """
        from fleetaudit.engine import EngineSettings

        return EngineSettings(
            forks=self.forks,
            host_deadline_s=self.host_deadline,
            retries=self.retries,
            serial=serial,
            max_fail_percentage=max_fail_percentage,
            per_second=parse_rate_option(self.rate),
        )

    def refuse_prompts(self, because: str) -> None:
        """Raises `UsageError` if a password would be asked for.

        `because` is the subject of the message: the option that nobody watches, such as --cron.
        """
        for prompts, file in PASSWORD_OPTIONS:
            if getattr(self, prompts):
                option = file.replace("_", "-")
                raise UsageError(f"{because} never asks for a password:  --{option} FILE")

    def parsed_extra_vars(self) -> dict[str, str]:
        """Returns the variables of -e by name; raises `UsageError` as `parse_extra_vars`."""
        return parse_extra_vars(self.extra_vars)

    def check_files(self) -> None:
        """Raises `NothingToDoError` for a missing file, `UsageError` for two uses of stdin.

        The file of known hosts has to exist only for the policy "strict": another policy needs no
        key in it. Files with passwords are checked when they are read.
        """
        from .passwords import STANDARD_INPUT

        if self.private_key:
            existing_file(self.private_key, "--private-key")
        if self.known_hosts and self.host_key_policy == "strict":
            existing_file(self.known_hosts, "--known-hosts")
        if {self.connection_password_file, self.become_password_file} <= STANDARD_INPUT:
            raise UsageError(
                "--connection-password-file and --become-password-file: standard input is read for"
                " one password; name another file for the other"
            )


class PasswordReader(msgspec.Struct, frozen=True):
    """Gets the passwords of a command: from files, and from somebody if `prompt` is not None."""

    options: CommandOptions
    prompt: PromptPassword | None
    report: Report

    def connection_options(self, arguments: ConnectionArguments) -> ConnectionOptions:
        """Returns the options of a connection with the passwords, asking for them if necessary.

        The password to log in with comes first; an empty become password means the same one.
        Raises `UsageError` if nobody can be asked, `NothingToDoError` for a file that is missing,
        and `ConfigError` for one that is named by the environment or a configuration and missing,
        or that has no password in it.
        """
        from fleetaudit.connection.options import ConnectionOptions

        arguments.check_files()
        password = self._login_password(arguments)
        known_hosts = arguments.known_hosts
        return ConnectionOptions(
            user=arguments.user,
            private_key=arguments.private_key,
            known_hosts=(str(expand_home(known_hosts)),) if known_hosts else (),
            host_key_policy=arguments.host_key_policy,
            client=arguments.transport,
            probe=arguments.probe,
            timeout_s=arguments.timeout if self.options["timeout"].is_set else None,
            password=password,
            become=arguments.become,
            become_user=arguments.become_user,
            become_method=arguments.become_method,
            become_password=self._become_password(arguments, password),
            no_exec=arguments.no_exec,
        )

    def _login_password(self, arguments: ConnectionArguments) -> Secret | None:
        """Returns the password to log in with, None if no option asks for one."""
        if arguments.ask_pass:
            return self._ask("password to log in with: ", "-k", "--connection-password-file")
        return self._from_file(arguments.connection_password_file, "connection_password_file")

    def _become_password(
        self, arguments: ConnectionArguments, login: Secret | None
    ) -> Secret | None:
        """Returns the password of the become method, None if no option asks for one."""
        if arguments.ask_become_pass:
            prompt = "become password: "
            if login:
                prompt = "become password (empty: the one to log in with): "
            return self._ask(prompt, "-K", "--become-password-file", empty=login)
        return self._from_file(arguments.become_password_file, "become_password_file")

    def _ask(
        self, prompt: str, option: str, alternative: str, *, empty: Secret | None = None
    ) -> Secret | None:
        """Returns the password that somebody types, None if nobody is to be asked."""
        if self.prompt is None:
            return None
        return self.prompt(prompt, option, alternative, empty=empty)

    def _from_file(self, named: str | None, option: str) -> Secret | None:
        """Returns the password in a file.

        Errors name the place that names the file. The file of a resumed run was typed when that run
        began.
        """
        from .passwords import read_password_file

        if not named:
            return None
        source = self.options[option].source
        if source not in (OptionSource.ENVIRONMENT, OptionSource.CONFIGURATION):
            return read_password_file(named, "--" + option.replace("_", "-"), self.report)
        names = {
            OptionSource.ENVIRONMENT: f"FLEETAUDIT_{option.upper()}",
            OptionSource.CONFIGURATION: f"the configuration's {option}",
        }
        try:
            return read_password_file(named, names[source], self.report)
        except NothingToDoError as e:  # nobody typed the name
            raise ConfigError(str(e)) from e


def refuse_typed_programs(values: Mapping[str, object]) -> None:
    """Raises `UsageError` for an option that starts a program together with --no-exec.

    `values` are the options of a command by name, wherever they are set: a configuration may come
    with an inventory.
    """
    if not values.get("no_exec"):
        return
    programs = {
        "--notify": bool(values.get("notify")),
        "--transport openssh": values.get("transport") == "openssh",
    }
    if set_ := [option for option in programs if programs[option]]:
        raise UsageError(
            f"--no-exec and {' and '.join(set_)}: --no-exec allows no program; leave out either of"
            " them, here or in the configuration"
        )


def choose_password_sources(options: CommandOptions) -> CommandOptions:
    """Returns the options with one source of each password.

    If one source is typed, the other is dropped if it comes from the environment, a configuration,
    or a run that is resumed. Raises `UsageError` if both are typed.
    """
    dropped = dict[str, object]()
    for prompts, file in PASSWORD_OPTIONS:
        match options.typed_flags(prompts), options.typed_flags(file):
            case ([one], [other]):
                raise UsageError(f"{one} and {other}: either of them, not both")
            case ([_], []):
                dropped[file] = None
            case ([], [_]):
                dropped[prompts] = False
    return options.with_values(dropped)


def report_unused_options(
    plan: Plan,
    loaded: LoadedInventory,
    connection: ConnectionOptions,
    options: CommandOptions,
    report: Report,
) -> None:
    """Reports typed options that no host uses, and those that variables of the inventory overrule.

    `plan` has the hosts, `connection` the parsed options and `options` the typed ones; `report`
    gets one note for each. Hosts that no play matches do not count, and without a host that can be
    audited only overruled options are reported. Raises `UsageError` if a password to log in with is
    typed and no host takes one.
    """
    from fleetaudit.model import NotAudited, NotSelected

    for note in _overridden_notes(plan, loaded, connection, options):
        report(note)
    selected = [host.target for host in plan.hosts if not isinstance(host.target, NotSelected)]
    known = [target for target in selected if not isinstance(target, NotAudited)]
    if known:
        _report_unused_become(known, options, report)
        _report_unused_password(known, options, report, all_known=len(known) == len(selected))


def _report_unused_become(
    targets: Sequence[Target], options: CommandOptions, report: Report
) -> None:
    """Reports become options that have no effect, because no host becomes another user.

    It is not an error: the inventory may say ansible_become.
    """
    typed = options.typed_flags(
        "ask_become_pass", "become_user", "become_method", "become_password_file"
    )
    become = any(target.become for target in targets)
    if typed and not become and not options["become"].value:
        report(
            f"fleetaudit: note: {', '.join(typed)}: not used, because no host becomes another"
            " user; -b makes every host do so"
        )


def _report_unused_password(
    targets: Sequence[Target], options: CommandOptions, report: Report, *, all_known: bool
) -> None:
    """Reports a typed password that some hosts do not take; raises `UsageError` if none does."""
    from fleetaudit.model import SshTarget

    typed = ", ".join(options.typed_flags("ask_pass", "connection_password_file"))
    if not typed:
        return
    clients = [target.client for target in targets if isinstance(target, SshTarget)]
    if all_known and "paramiko" not in clients:
        raise UsageError(f"{typed}: {_NOT_USED}")
    if count := clients.count("openssh"):
        hosts = "1 host" if count == 1 else f"{count} hosts"
        report(
            f"fleetaudit: note: {typed}: not used for {hosts}: the system's own ssh has no terminal"
            " to ask on (openssh)"
        )


def _overridden_notes(
    plan: Plan, loaded: LoadedInventory, connection: ConnectionOptions, options: CommandOptions
) -> Iterator[str]:
    """Yields a note for each typed option that variables of the inventory overrule."""
    from fleetaudit.connection.option_precedence import find_overridden_options
    from fleetaudit.model import NoTarget

    targets = {
        host.name: host.target for host in plan.hosts if not isinstance(host.target, NoTarget)
    }
    connection = replace(connection, vault=loaded.vault)
    for one in find_overridden_options(loaded.inventory, targets, connection):
        typed = options.typed_flags(*_COMMAND_LINE_NAMES.get(one.option, (one.option,)))
        if typed:
            yield _overridden_note(one, ", ".join(typed), len(targets))


def _overridden_note(overridden: OverriddenOption, typed: str, hosts: int) -> str:
    """Returns the note about one option that a variable of the inventory overrules."""
    first, *more = overridden.origins
    where = f"{first} and {len(more)} more" if more else first
    count = "the host"
    if hosts > 1:
        count = f"{overridden.hosts} of {hosts} hosts"
    return (
        f"fleetaudit: note: {typed}: not used for {count}: {overridden.variable}"
        f" ({where}) takes precedence"
    )


def parse_extra_vars(arguments: Sequence[str]) -> dict[str, str]:
    """Returns the variables of -e KEY=VALUE by name, the last value of each.

    One argument may have several, each value with blanks in quotes. Raises `UsageError` for
    anything else (a file, YAML or JSON, which Ansible takes), and for a name of a password: other
    users see the arguments of a process. No message repeats a value: it may be a password.
    """
    variables = dict[str, str]()
    for argument in arguments:
        variables.update(map(_parse_extra_var, _split_extra_vars(argument)))
    return variables


def _split_extra_vars(argument: str) -> list[str]:
    """Returns the words of one -e, as a shell splits them."""
    if argument.startswith(("@", "{", "[")):
        raise UsageError(
            "-e takes KEY=VALUE; write other variables into an inventory: it may be a second file"
        )
    try:
        return shlex.split(argument)
    except ValueError as e:
        raise UsageError("-e: an unclosed quotation") from e


def _parse_extra_var(word: str) -> tuple[str, str]:
    """Returns name and value of one KEY=VALUE."""
    key, equals, value = word.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError("-e takes KEY=VALUE, each value with blanks in quotes:  -e 'key=\"a b\"'")
    if re.search(r"(?:^|_)pass(?:word|wd)?$|^ansible_.*pass", key):
        raise UsageError(
            f"-e {key}: everybody on this machine could read it; -k and -K ask, or name a file"
        )
    return key, value


def existing_file(named: str, option: str) -> Path:
    """Returns the file that an option names, "~" expanded.

    Raises `NothingToDoError` with the name of the `option` if it is missing.
    """
    path = expand_home(named)
    if not path.exists():
        raise NothingToDoError(f"{option} {named}: no such file")
    return path
