"""A whole inventory: files of every kind, group_vars and host_vars, up to the target of each host.

The first byte is the format; `MARK` separates the inventory, group_vars/all.yml and
host_vars/web1.yml. A success has for each host a target, or why it has none.
"""

from __future__ import annotations

import atexit
import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import few_hosts, fuzz, instrumented, words_of

with instrumented():
    import msgspec

    from fleetaudit.connection import ConnectionOptions, resolve_target
    from fleetaudit.errors import FleetauditError, InputError
    from fleetaudit.inventory.sources import load_inventory

MARK = b"\n--\n"
_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
FOLDER = Path(_folder.name)
EXTENSIONS = {b"y": ".yml", b"j": ".json", b"i": ".ini"}
OPTIONS = ConnectionOptions()
SEED = b"""y
all:
  hosts:
    web1: {ansible_host: 127.0.0.1, ansible_port: 22, ansible_user: audit}
    web2: {ansible_ssh_common_args: -o ProxyJump=gate -o "Port 22", ansible_become: true}
    here: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
    guest: {ansible_connection: kernel, kernel_image: ./bzImage, kernel_sysctls: {net.x: 1}}
--
ansible_ssh_extra_args: '{{ args }}'
args: -C
--
ansible_become_user: "{{ 'root' }}"
ansible_become_method: sudo
ansible_become_flags: -H -S -n
ansible_ssh_private_key_file: ~/id
"""
WORDS = (
    *words_of(SEED.decode()),
    "ansible_ssh_pass:", "ansible_password:", "ansible_become_password:", "-oProxyCommand=x", "-J",
    "-F", "-o", "ProxyCommand", "!vault |", "$ANSIBLE_VAULT;1.1;AES256", "#!/bin/sh", "plugin:",
    "ansible_ssh_executable:", "fleetaudit_site:", "{{ hostvars", "[web]", "[web:vars]", MARK,
    "\\ud800", "\"'",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Reads an inventory with its variables, and resolves each host's target."""
    with few_hosts():
        _read(data)


def _read(data: bytes) -> None:
    files = [*data[1:].split(MARK), b"", b""][:3]
    if files[0].startswith((b"#!", b"\x7fELF")):
        return  # a program, which is run only if a person names it
    inventory_file = FOLDER / ("hosts" + EXTENSIONS.get(data[:1], ""))
    _write(inventory_file, files[0])
    _write(FOLDER / "group_vars" / "all.yml", files[1])
    _write(FOLDER / "host_vars" / "web1.yml", files[2])
    try:
        inventory = load_inventory([str(inventory_file)])
    except FleetauditError as e:
        assert len(str(e)) < 6000
        return
    assert inventory.hosts
    for host in inventory.hosts[:20]:
        with contextlib.suppress(InputError):
            target = resolve_target(host, OPTIONS, inventory)
            assert "\n" not in getattr(target, "address", ""), target
            assert msgspec.json.encode(target, enc_hook=str)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def seeds() -> Iterable[bytes]:
    """Yields an inventory in each format, with variables of each kind."""
    yield SEED
    yield (
        b"i[web]\nweb[1:2] ansible_port=2222 ansible_ssh_common_args='-J gate'\n" + MARK + b"a: 1\n"
    )
    yield b'j{"g": {"hosts": ["web1"]}, "_meta": {"hostvars": {"web1": {"ansible_port": 22}}}}'
    yield b"iweb1 ansible_ssh_common_args=\"'-o User=x'\" k=\"['a']\"\n"
    yield b"web1\nweb2 ansible_connection=local\n" + MARK + MARK + b"ansible_host: ::1\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
