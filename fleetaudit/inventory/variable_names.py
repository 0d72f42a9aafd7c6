"""Checks the names of variables. No I/O."""

from __future__ import annotations

from typing import Any

from fleetaudit.text.document import Document


def check_variable_name(name: Any, document: Document, path: list[Any]) -> None:
    """Raises `InputError` for a variable's name that is not text, or empty.

    `path` leads to the variable in `document`: keys and indexes from the top. Any other text may be
    a name, as in Ansible's files, also one that no template can refer to, such as `my-port`.
    """
    if not isinstance(name, str) or not name:
        raise document.error(
            "a variable's name that is not text", path, key=True, hint="put the name in quotes"
        )
