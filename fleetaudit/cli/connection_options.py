"""The options that say how hosts are reached and as whom, for every command that connects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import params

Command = TypeVar("Command", bound=Callable[..., Any])

no_exec_option = click.option(
    "--no-exec",
    is_flag=True,
    help="Refuse what makes this machine start a program: for inventories from elsewhere.",
)
"""The option of every command that reads an inventory."""

_OPTIONS = (
    click.option(
        "-l", "--limit", metavar="PATTERN", help="Only the hosts of this pattern, as in Ansible."
    ),
    click.option(
        "-e",
        "--extra-vars",
        metavar="KEY=VALUE",
        multiple=True,
        help="A variable of every host; takes precedence over all others.",
    ),
    click.option(
        "-f",
        "--forks",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=None,
        show_default="250, fewer where open files, memory or cores are short",
        envvar="FLEETAUDIT_FORKS",
        help="Number of hosts to audit at once.",
    ),
    click.option(
        "--rate",
        metavar="N/s",
        help="Begin at most N new connections in a second, or N/m in a minute.",
    ),
    click.option(
        "-u", "--user", metavar="USER", help="Log in as this user, unless the inventory names one."
    ),
    click.option(
        "--private-key",
        metavar="FILE",
        help="Log in with this key, unless the inventory names one.",
    ),
    click.option("-k", "--ask-pass", is_flag=True, help="Ask for the password to log in with."),
    click.option(
        "--connection-password-file", metavar="FILE", help="File with the password to log in with."
    ),
    click.option(
        "-b",
        "--become",
        is_flag=True,
        help="Become a different user, unless the inventory sets this.",
    ),
    click.option("--become-user", metavar="USER", help="User to become. Default: root."),
    click.option(
        "--become-method", type=click.Choice(["sudo", "doas", "su"]), help="Default: sudo."
    ),
    click.option(
        "-K",
        "--ask-become-pass",
        is_flag=True,
        help="Ask for the password of sudo or su.",
    ),
    click.option(
        "--become-password-file",
        metavar="FILE",
        envvar="FLEETAUDIT_BECOME_PASSWORD_FILE",
        help="File with the password of sudo or su.",
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
        help="Seconds for one host, retries included.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 10),
        metavar="N",
        default=2,
        show_default=True,
        help="Number of retries after transient failures.",
    ),
    click.option(
        "--host-key-policy",
        type=click.Choice(["strict", "accept-new", "off"]),
        default="strict",
        show_default=True,
        envvar="FLEETAUDIT_HOST_KEY_POLICY",
    ),
    click.option(
        "--known-hosts", metavar="FILE", help="Use this file instead of your own known_hosts."
    ),
    click.option(
        "--transport",
        type=click.Choice(["paramiko", "openssh"]),
        default="paramiko",
        show_default=True,
        help="openssh: the system's own ssh.",
    ),
    click.option(
        "--probe",
        type=click.Choice(["auto", "python", "native"]),
        default=None,
        show_default="auto",
        help="auto: the native probe where there is no Python, unless the inventory says which.",
    ),
    click.option(
        "--vault-password-file",
        metavar="FILE",
        help="File with the ansible-vault password.",
    ),
    no_exec_option,
)


def connection_options(command: Command) -> Command:
    """Adds every option of this module to a command, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
