"""Makes the target of a host that is a kernel image, from its variables. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetaudit.model import KernelTarget
from fleetaudit.text.files import expand_home

from .options import ConnectionOptions
from .probe_choice import resolve_probe
from .variables import Variables, first_set_or, is_text_or_number

_MEMORY_MIB = range(64, 65_537)
_DEFAULT_MEMORY_MIB = 256


def resolve_kernel_target(variables: Variables, options: ConnectionOptions) -> KernelTarget:
    """Returns the kernel image that is started for a host, and how.

    These hosts are fleetaudit's own kind; Ansible has no such connection. `kernel_image` is
    relative to the folder of the inventory file that sets it; `kernel_memory` is in MiB, 256 by
    default; `kernel_append` is added to the kernel's command line; `kernel_sysctls` are set before
    the experiment. Raises `InputError` for a host without an image and for values of a wrong type,
    and `CannotReachError` for a variable that cannot be decrypted or rendered.
    """
    image = variables.text("kernel_image")
    if not image:
        raise variables.host_error(
            f"“{variables.host.name}” has ansible_connection: kernel and no kernel_image",
            "name the image:  kernel_image: vmlinuz-6.12",
        )
    memory = variables.number(("kernel_memory",), _MEMORY_MIB, "a number of MiB, 64 to 65536")
    return KernelTarget(
        image=str(variables.folder("kernel_image") / expand_home(image)),
        memory_mib=first_set_or(_DEFAULT_MEMORY_MIB, memory),
        append=first_set_or("", variables.text("kernel_append")),
        sysctls=_sysctls(variables),
        probe=resolve_probe(variables, options),
    )


def _sysctls(variables: Variables) -> dict[str, str]:
    """Returns the sysctls that are set before the experiment, as text.

    Raises an error if the variable is not a mapping of names to text or numbers.
    """
    sysctls = variables.get("kernel_sysctls") or {}
    if not isinstance(sysctls, Mapping):
        raise variables.error(
            "kernel_sysctls",
            "is not a mapping",
            "write  kernel_sysctls: {net.ipv4.tcp_rfc1337: 1}",
        )
    return dict(_sysctl(variables, key, value) for key, value in sysctls.items())


def _sysctl(variables: Variables, key: Any, value: Any) -> tuple[str, str]:
    """Returns the key and the value of one sysctl as text.

    Raises an error for a boolean: sysctls are numbers, and YAML reads “on” as true.
    """
    if isinstance(key, str) and is_text_or_number(value):
        return key, str(value)
    raise variables.error(
        "kernel_sysctls", "has a value that is neither text nor a number", "quote it"
    )
