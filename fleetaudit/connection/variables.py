"""The variables of one host, rendered, decrypted and typed where they are needed, and only then. No
I/O.

Rules: of several spellings the last that is set counts; None and the empty text count as not set.
No message repeats a value, because a value may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.inventory.values import FALSE_WORDS, TRUE_WORDS, EncryptedText
from fleetaudit.model import Host, Secret, Stage

from .templates import Renderer, TemplateValueError, is_template


class CannotReachError(Exception):
    """An outcome of this host alone: the stage that cannot be had, why, and the way out."""

    def __init__(self, reason: str, hint: str, stage: Stage = "inventory") -> None:
        self.reason, self.hint, self.stage = reason, hint, stage
        super().__init__(reason)


class Variables:
    """The variables of one host, typed."""

    def __init__(self, host: Host, renderer: Renderer) -> None:
        self.host, self._renderer = host, renderer

    def get(self, name: str) -> Any:
        """Returns a variable, decrypted and rendered."""
        value = self.host.variables.get(name)
        if not (isinstance(value, EncryptedText | Mapping | list) or is_template(value)):
            return value
        try:
            return self._renderer.value(name)
        except TemplateValueError as e:
            hint = (
                "--vault-password-file FILE"
                if isinstance(value, EncryptedText)
                else "write the value itself"
            )
            raise CannotReachError(str(e), f"{hint}, for “{self.host.name}”") from e

    def is_set(self, name: str) -> bool:
        """Returns whether a variable has a value; one that is encrypted has, and is not decrypted
        for the question.
        """
        value = self.host.variables.get(name)
        return (self.get(name) if is_template(value) else value) not in (None, "")

    def origin(self, name: str) -> str:
        return self.host.variable_origins.get(name) or self.host.origin

    def folder(self, name: str) -> Path:
        """Returns the folder of the file that sets `name`; for a list of hosts the current one."""
        return Path(self.origin(name).rpartition(":")[0]).parent

    def error(self, name: str, message: str, hint: str) -> InputError | CannotReachError:
        """Returns an error to raise about the variable `name`, or about the host where that is "".

        What a template gives is a matter of its host alone; what is written there spoils the file.
        """
        if name and is_template(self.host.variables.get(name)):
            reason = f"{name} in {self.origin(name)} of “{self.host.name}” {message}"
            return CannotReachError(reason, f"write the value itself, for “{self.host.name}”")
        source, _, line = (self.origin(name) if name else self.host.origin).rpartition(":")
        text = f"{name} of “{self.host.name}” {message}" if name else message
        if not line.isdecimal():
            return InputError(text, source=self.origin(name), hint=hint)
        return InputError(text, source=source, line=int(line), hint=hint)

    def text(self, names: tuple[str, ...]) -> str | None:
        """Returns the text of the last of `names` that is set. A number is text, as in Ansible;
        nothing else is.
        """
        name = self.last(names)
        value = self.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.error(name, "is not text", "put it in quotes")
        if not str(value).isprintable():
            raise self.error(name, "has a control character in it", "retype it")
        return str(value)

    def password(self, names: tuple[str, ...], otherwise: Secret | None = None) -> Secret | None:
        """Returns the password that one of `names` gives; an empty one says that `otherwise` is not
        for this host.
        """
        if text := self.text(names):
            return Secret(text)
        return otherwise if self.host.variables.get(self.last(names)) is None else None

    def number(self, names: tuple[str, ...], allowed: range, wanted: str) -> int | None:
        """Returns the number of the last of `names` that is set, also where it is written as text."""
        name = self.last(names)
        value = self.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
            value = int(value.strip()[:9])
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise self.error(
                name, f"is not {wanted}", "mind that YAML reads 12:30 as 750 and 0022 as 18"
            )
        return value

    def truth(self, name: str) -> bool:
        value = self.get(name)
        word = str(value).lower()
        if word in TRUE_WORDS | FALSE_WORDS:
            return word in TRUE_WORDS
        raise self.error(name, "is neither yes nor no", "write true or false")

    def last(self, names: tuple[str, ...]) -> str:
        """Returns the one of several spellings that counts: the last that is set, else the first."""
        return next(
            (n for n in reversed(names) if self.host.variables.get(n) is not None), names[0]
        )
