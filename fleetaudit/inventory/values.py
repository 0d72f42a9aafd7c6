"""Values of variables that are more than text: what `!vault` and `!unsafe` make, and their form in
JSON; and what is yes and no. No I/O.

Rules: a secret stays encrypted until the one host that needs it is worked out, and neither repr nor
JSON shows more of it than its file does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleetaudit.text.yaml_lines import parse_plain_scalar

VAULT_KEY, UNSAFE_KEY = "__ansible_vault", "__ansible_unsafe"
"""The lone keys under which Ansible writes such values as JSON."""
TRUE_WORDS, FALSE_WORDS = (
    frozenset({"yes", "true", "on", "1", "y", "t"}),
    frozenset({"no", "false", "off", "0", "n", "f"}),
)
"""What Ansible takes for yes and for no, in lower case."""


@dataclass(frozen=True, slots=True)
class EncryptedText:
    """Text encrypted by ansible-vault, as it was written, header and all."""

    ciphertext: str


class Unsafe(str):
    """Text that is never a template, whatever is in it."""

    __slots__ = ()


def _unsafe(text: str) -> Any:
    value = parse_plain_scalar(text)  # Ansible too takes `!unsafe 5` for a number
    return Unsafe(value) if isinstance(value, str) else value


TAGS: Mapping[str, Callable[[str], Any]] = {
    "!vault": EncryptedText,
    "!vault-encrypted": EncryptedText,
    "!unsafe": _unsafe,
}
"""What the tags of YAML inventories become; for `yamlfile.parse`."""


def from_json(mapping: dict[str, Any]) -> Any:
    """Returns the value that a JSON object stands for: itself, or what its key `__ansible_vault` or
    `…_unsafe` says.
    """
    for key, kind in ((UNSAFE_KEY, Unsafe), (VAULT_KEY, EncryptedText)):
        if isinstance(text := mapping.get(key), str):
            return kind(text)
    return mapping
