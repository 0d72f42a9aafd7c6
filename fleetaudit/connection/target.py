"""Makes a host's target from its variables: transport, address and user. No I/O.

Rules: variables are rendered and decrypted where they are needed, and only then; one that cannot be
makes its host not audited. No value but that of ansible_connection and ansible_python_interpreter
is repeated in a message, because a value may be a secret.
"""

from __future__ import annotations

from fleetaudit.model import (
    Host,
    Inventory,
    KernelTarget,
    LocalTarget,
    NotAudited,
    SshTarget,
)

from .become import resolve_become
from .interpreter import resolve_interpreter
from .kernel_target import resolve_kernel_target
from .no_exec import refuse_kernel, refuse_local
from .options import ConnectionOptions
from .probe_choice import resolve_probe
from .ssh_target import resolve_ssh_target
from .templates import Renderer
from .variables import CannotReachError, Variables

_CONNECTION = "ansible_connection"
_SSH_CONNECTIONS = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh", "openssh"})
_MAX_SHOWN = 64


def resolve_target(
    host: Host, options: ConnectionOptions, inventory: Inventory | None = None
) -> SshTarget | LocalTarget | KernelTarget | NotAudited:
    """Returns how `host` is reached; `NotAudited` if a variable asks for what is not supported.

    Paths: a key's `~` is expanded and it is relative to the current folder, as in Ansible;
    `kernel_image` is relative to the folder of the inventory file that sets it. `inventory` is what
    templates mean by `groups` and `hostvars`; without it a template that names them makes the host
    not audited. Raises `InputError` with the origin of a value of a wrong type. The host's
    `ansible_connection` decides, ssh is the default; Ansible: "Connecting to hosts: behavioral
    inventory parameters".
    """
    variables = Variables(host, Renderer(host, options.vault, inventory))
    try:
        return _resolve(variables, options)
    except CannotReachError as e:
        return NotAudited(
            name=host.name, groups=host.groups, stage=e.stage, reason=e.reason, hint=e.hint
        )


def _resolve(
    variables: Variables, options: ConnectionOptions
) -> SshTarget | LocalTarget | KernelTarget:
    """Returns the target that the host's ansible_connection asks for; ssh is the default.

    A name may have the prefix of Ansible's own collections. Raises `CannotReachError` for a
    connection that is not supported.
    """
    connection = variables.text(_CONNECTION) or "ssh"
    connection = connection.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
    if connection in _SSH_CONNECTIONS:
        return resolve_ssh_target(variables, options, connection)
    if connection == "kernel":
        return _kernel_target(variables, options)
    if connection == "local":
        return _local_target(variables, options)
    raise CannotReachError(
        f"ansible_connection “{connection[:_MAX_SHOWN]}” in {variables.origin(_CONNECTION)} is not"
        " supported",
        "expected ssh, openssh, paramiko, local or kernel; limit the run to other hosts, or change"
        " the variable",
    )


def _kernel_target(variables: Variables, options: ConnectionOptions) -> KernelTarget:
    """Returns the target of a host that is a kernel image; raises `CannotReachError`."""
    if options.no_exec:
        refuse_kernel(variables)
    return resolve_kernel_target(variables, options)


def _local_target(variables: Variables, options: ConnectionOptions) -> LocalTarget:
    """Returns the target of this machine; raises `CannotReachError`."""
    target = LocalTarget(
        become=resolve_become(variables, options, None),
        interpreter=resolve_interpreter(variables, options.settings),
        probe=resolve_probe(variables, options),
    )
    if options.no_exec:
        refuse_local(variables, target)
    return target
