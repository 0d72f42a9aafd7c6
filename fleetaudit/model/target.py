"""How a host is reached: over SSH, on this machine, or as a kernel image; and as which user."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Frozen
from .secret import Secret

HostKeyPolicy = Literal["strict", "accept-new", "off"]
SshClient = Literal["paramiko", "openssh"]
BecomeMethod = Literal["sudo", "doas", "su"]
ProbeChoice = Literal["auto", "python", "native"]
"""Which probe runs: "auto" takes the native one where there is no Python."""


class Become(Frozen, frozen=True, kw_only=True):
    """The user that the probe runs as, if that is not the login user.

    `program` is "" for the program with the method's own name. `flags` are for su only. `password`
    is None if the user gave none.
    """

    method: BecomeMethod = "sudo"
    user: str = "root"
    program: str = ""
    flags: tuple[str, ...] = ()
    password: Secret | None = None


class Interpreter(Frozen, frozen=True, kw_only=True):
    """The Python that Ansible would use on a host; it is tried before any other.

    `value` is its path, or words for a shell. `name` and `origin` are the variable or setting and
    its file:line, "" if it is not set. `problem` says why a value cannot be used; then `value` is
    "".
    """

    value: str = ""
    name: str = "ansible_python_interpreter"
    origin: str = ""
    problem: str = ""


class SshConfig(Frozen, frozen=True, kw_only=True):
    """The settings of ssh_config(5) for one host beyond the fields of `SshTarget`.

    An empty value means that ssh_config does not set it. `name` is the host's name in ssh_config,
    and `options` are the ssh options that it was read with. Paths and commands are expanded. Lists
    of algorithms are complete; None means the client's own list.
    """

    name: str = ""
    options: tuple[str, ...] = ()
    host_key_alias: str = ""
    revoked_host_keys: tuple[str, ...] = ()
    proxy_command: Secret | None = None
    identities_only: bool = False
    certificates: tuple[str, ...] = ()
    agent: str = ""
    public_keys: bool = True
    password_methods: tuple[str, ...] = ("keyboard-interactive", "password")
    family: Literal["any", "inet", "inet6"] = "any"
    bind_address: str = ""
    alive_interval_s: int = 0
    alive_count: int = 3
    ciphers: tuple[str, ...] | None = None
    key_exchanges: tuple[str, ...] | None = None
    host_key_algorithms: tuple[str, ...] | None = None
    ca_algorithms: tuple[str, ...] | None = None
    macs: tuple[str, ...] | None = None


class SshTarget(Frozen, frozen=True, kw_only=True, tag_field="connection", tag="ssh"):
    """A host that is reached over SSH.

    `known_hosts` and `private_keys` are paths, most preferred first; empty means the user's own.
    `password` is the login password. `program` is the system's ssh; `arguments` and
    `late_arguments` are its arguments before and after those of the other fields.
    `port_is_explicit` is false if nobody set the port: then ssh_config may set another.
    `ssh_config` is None if it was not read or sets nothing. `site` is where the host can be reached
    from, "" for anywhere (`fleetaudit_site`). With `no_exec`, ssh_config may start no program.
    """

    address: str
    port: int = 22
    user: str | None = None
    private_keys: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    host_key_policy: HostKeyPolicy = "strict"
    connect_timeout_s: float = 10.0
    use_agent: bool = True
    client: SshClient = "paramiko"
    program: str = "ssh"
    arguments: tuple[str, ...] = ()
    late_arguments: tuple[str, ...] = ()
    port_is_explicit: bool = False
    ssh_config: SshConfig | None = None
    password: Secret | None = None
    become: Become | None = None
    interpreter: Interpreter | None = None
    probe: ProbeChoice = "auto"
    site: str = ""
    no_exec: bool = False


class LocalTarget(Frozen, frozen=True, kw_only=True, tag_field="connection", tag="local"):
    """This machine, without SSH."""

    address: ClassVar[str] = ""
    site: ClassVar[str] = ""
    password: ClassVar[None] = None
    become: Become | None = None
    interpreter: Interpreter | None = None
    probe: ProbeChoice = "auto"


class KernelTarget(Frozen, frozen=True, kw_only=True, tag_field="connection", tag="kernel"):
    """A kernel image that is booted for one audit. `sysctls` are set in the guest before the probe
    runs.
    """

    # Every target can be asked for these, whatever its class.
    address: ClassVar[str] = ""
    site: ClassVar[str] = ""
    password: ClassVar[None] = None
    become: ClassVar[None] = None
    interpreter: ClassVar[None] = None

    image: str
    memory_mib: int = 256
    append: str = ""
    sysctls: dict[str, str] = {}
    probe: ProbeChoice = "auto"


Target = SshTarget | LocalTarget | KernelTarget
