"""ansible.cfg, and the ssh arguments in it: `connection.ansible_cfg`, `ssh_arguments`."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import as_text, fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.connection.ansible_cfg import load_ansible_settings
    from fleetaudit.connection.ansible_cfg_table import SUPPORTED
    from fleetaudit.connection.shell_words import split_words
    from fleetaudit.errors import FleetauditError, InputError

_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
FILE = Path(_folder.name) / "ansible.cfg"
SEED = """
[defaults]
inventory = hosts, other  ; c
remote_user: audit
forks = 7
timeout = 1
private_key_file = ~/.ssh/id
host_key_checking = no
[ssh_connection]
ssh_args = -o ControlMaster=auto -C
pipelining = {{ x }}
[privilege_escalation]
become = True
become_method = sudo
"""
WORDS = (*words_of(SEED), *SUPPORTED, "%(home)s", "${HOME}", "\\", "'", '"', "-o", "-F")


def TestOneInput(data: bytes) -> None:
    """Reads a file, and splits its text as arguments."""
    FILE.write_bytes(data)
    try:
        settings = load_ansible_settings(environment={"ANSIBLE_CONFIG": str(FILE)}, system=FILE)
        assert all(origin for origin in settings.origins.values())
    except InputError as e:
        assert len(str(e)) < 4000
    except FleetauditError:
        pass
    try:
        words = split_words(as_text(data))
    except ValueError:
        return
    assert all(isinstance(word, str) for word in words)


def seeds() -> Iterable[bytes]:
    """Yields a file with every kind of value."""
    yield SEED.encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
