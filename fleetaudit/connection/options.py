"""The connection options of the command line, for every host of a run. No I/O."""

from __future__ import annotations

import msgspec

from fleetaudit.inventory.vault import Vault
from fleetaudit.model import BecomeMethod, HostKeyPolicy, ProbeChoice, Secret, SshClient

from .ansible_cfg import AnsibleSettings


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about connections; None is "not given".

    A host's variables override all of it, except what concerns host keys. `client` is for hosts
    whose connection is "ssh" or not named; "paramiko" and "openssh" mean that client. `settings`
    are Ansible's own, which all of these override; `vault` decrypts a value where a host needs it.
    With `no_exec` a host that makes this machine start a program is not audited.
    """

    user: str | None = None
    private_key: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_policy: HostKeyPolicy = "strict"
    timeout_s: float | None = None
    client: SshClient = "paramiko"
    password: Secret | None = None
    probe: ProbeChoice | None = None
    become: bool = False
    become_user: str | None = None
    become_method: BecomeMethod | None = None
    become_password: Secret | None = None
    no_exec: bool = False
    settings: AnsibleSettings = msgspec.field(default_factory=AnsibleSettings)
    vault: Vault = msgspec.field(default_factory=Vault)
