"""fleetaudit's own configuration, files of passwords, and jump hosts of ssh arguments."""

from __future__ import annotations

import atexit
import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import as_text, fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.app.config import ConfigFile, load_config
    from fleetaudit.app.option_values import parse_list
    from fleetaudit.app.passwords import read_password_file
    from fleetaudit.cli.params import parse_fail_on, parse_formats
    from fleetaudit.errors import ConfigError, FleetauditError, UsageError
    from fleetaudit.inventory.unsupported_settings import split_list
    from fleetaudit.inventory.vault import load_vault
    from fleetaudit.transport.ssh_options import split_last_jump

_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
FILE = Path(_folder.name) / "config.yml"
SEED = "inventory: hosts.yml\nplaybook: [a.yml]\nforks: 10\nfail_on: [error]\nformats: [json]\n"
WORDS = (*ConfigFile.__struct_fields__, *words_of(SEED), "~", "[::1]:22", "user@", "\r\n", "$HOME")


def TestOneInput(data: bytes) -> None:
    """Reads a file as configuration, and as one with a password."""
    FILE.write_bytes(data)
    FILE.chmod(0o600)
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config({"FLEETAUDIT_CONFIG": str(FILE)}, FILE.parent).values, dict)
    with contextlib.suppress(ConfigError):
        secret = read_password_file(str(FILE), "--password-file").reveal()
        assert secret.encode() == data.partition(b"\n")[0].removesuffix(b"\r")
    with contextlib.suppress(FleetauditError):
        load_vault(FILE)
    text = as_text(data)
    for parse in (parse_fail_on, parse_formats, lambda t: parse_list(t, ("a", "b"), "--x")):
        with contextlib.suppress(UsageError):
            parse(text)
    split_list(text)
    last, _ = split_last_jump(text, [])
    assert isinstance(last, str)


def seeds() -> Iterable[bytes]:
    """Yields a configuration, a password, and jump hosts."""
    yield SEED.encode()
    yield b"secret\r\n"
    yield b"a@gate:22,b@[::1]:2222,ssh://c@d:1"
    yield b"a,b"


if __name__ == "__main__":
    fuzz(TestOneInput)
