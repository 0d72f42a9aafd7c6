"""Values of variables that are more than text: `!vault` and `!unsafe`, also in JSON; yes and no.

No I/O. Rules: a secret stays encrypted until the one host that needs it is resolved, and neither
repr nor JSON shows more of it than its file does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fleetaudit.text.yaml_scalars import parse_plain_scalar

VAULT_KEY, UNSAFE_KEY = "__ansible_vault", "__ansible_unsafe"
"""The only key of a mapping with which Ansible writes such a value as JSON."""
TRUE_WORDS = frozenset({"yes", "true", "on", "1", "y", "t"})
FALSE_WORDS = frozenset({"no", "false", "off", "0", "n", "f"})
"""What Ansible takes for yes and for no, in lower case."""


class EncryptedText(msgspec.Struct, frozen=True):
    """Text encrypted by ansible-vault as it is written, with its header."""

    ciphertext: str


class Unsafe(str):
    """Text that is never a template, whatever is in it."""

    __slots__ = ()


def _parse_unsafe(text: str) -> Any:
    """Returns what `!unsafe TEXT` means: as in Ansible, `!unsafe 5` is a number."""
    value = parse_plain_scalar(text)
    if isinstance(value, str):
        return Unsafe(value)
    return value


TAGS: Mapping[str, Callable[[str], Any]] = {
    "!vault": EncryptedText,
    "!vault-encrypted": EncryptedText,
    "!unsafe": _parse_unsafe,
}
"""How to construct the values of the YAML tags of inventories; for `parse_yaml`."""


def from_json(mapping: dict[str, Any]) -> Any:
    """Returns the value that a JSON object stands for: itself, encrypted text or unsafe text.

    `mapping` is the parsed object. Only text below the one or the other key counts. Ansible:
    `AnsibleJSONDecoder.object_hook` in parsing/ajson.py, which reads what `ansible-inventory
    --list` prints.
    """
    for key, kind in ((UNSAFE_KEY, Unsafe), (VAULT_KEY, EncryptedText)):
        if isinstance(text := mapping.get(key), str):
            return kind(text)
    return mapping
