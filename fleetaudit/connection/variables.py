"""The variables of one host: decrypted, rendered and typed only where they are needed. No I/O.

Rules: of several spellings the last that is set counts; None and the empty text count as not set.
No message repeats a value, because a value may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from fleetaudit.errors import InputError
from fleetaudit.inventory.entries import error_at
from fleetaudit.inventory.values import FALSE_WORDS, TRUE_WORDS, EncryptedText
from fleetaudit.model import Host, Secret, Stage

from .shell_words import split_words
from .templates import Renderer, TemplateValueError, is_template

T = TypeVar("T")

MAX_TEXT = 16_384
"""Maximum number of characters of an address, a path or another text about a connection."""
_INTEGER = re.compile(r"\s*(-?[0-9]{1,9})[0-9]*\s*")
_UNSET = (None, "")
_RENDERED_TYPES = (EncryptedText, list, dict, Mapping)
_TEXT_OR_NUMBER = (str, int)
_RENDER_HINTS: dict[type, str] = {EncryptedText: "--vault-password-file FILE"}
"""What to do about a value of a type that cannot be used."""


class CannotReachError(Exception):
    """One host cannot be audited: the stage that fails, the reason, and the next step."""

    def __init__(self, reason: str, hint: str, stage: Stage = "inventory") -> None:
        self.reason, self.hint, self.stage = reason, hint, stage
        super().__init__(reason)


class Variables:
    """The variables of one host, typed.

    Each method takes the names of variables as the inventory has them. Where a method takes
    several, they are spellings of one variable, and the last that is set counts. Every method that
    returns a value raises `CannotReachError` for one that cannot be decrypted or rendered, and for
    the result of a template that has a wrong type; it raises `InputError`, at the place in the
    inventory, for a written value of a wrong type. Ansible's own variables are described in
    "Connecting to hosts: behavioral inventory parameters".
    """

    def __init__(self, host: Host, renderer: Renderer) -> None:
        self.host, self._renderer = host, renderer

    def get(self, name: str) -> Any:
        """Returns a variable in its own type, decrypted and rendered; None if it is not set.

        Raises `CannotReachError` if that fails, with --vault-password-file in the hint for a value
        that is encrypted.
        """
        value = self.host.variables.get(name)
        if value is None or not _needs_renderer(value):
            return value
        try:
            return self._renderer.value(name)
        except TemplateValueError as e:
            hint = _RENDER_HINTS.get(type(value), "write the value itself")
            raise CannotReachError(str(e), f"{hint}, for “{self.host.name}”") from e

    def is_set(self, name: str) -> bool:
        """Returns whether a variable has a value; an encrypted one does, and stays encrypted."""
        value = self.host.variables.get(name)
        if is_template(value):
            value = self.get(name)
        return value not in _UNSET

    def origin(self, name: str) -> str:
        """Returns where a variable is set, or where the host is if it is not set."""
        return self.host.variable_origins.get(name) or self.host.origin

    def folder(self, name: str) -> Path:
        """Returns the folder of the file that sets `name`; for a list of hosts the current one."""
        return Path(self.origin(name).rpartition(":")[0]).parent

    def error(self, name: str, message: str, hint: str) -> InputError | CannotReachError:
        """Returns an error to raise about the variable `name`.

        The result of a template concerns its host alone; a value that is written makes the file
        invalid.
        """
        if is_template(self.host.variables.get(name)):
            reason = f"{name} in {self.origin(name)} of “{self.host.name}” {message}"
            return CannotReachError(reason, f"write the value itself, for “{self.host.name}”")
        return error_at(self.origin(name), f"{name} of “{self.host.name}” {message}", hint)

    def host_error(self, message: str, hint: str) -> InputError:
        """Returns an error to raise about the host itself."""
        return error_at(self.host.origin, message, hint)

    def text(self, *names: str) -> str | None:
        """Returns the text of the last of `names` that is set; None if it is empty.

        As in Ansible a number is text. Raises an error for any other type, for control characters,
        and for more than `MAX_TEXT` characters.
        """
        name = self.last_set(names)
        value = self.get(name)
        if value in _UNSET:
            return None
        if not is_text_or_number(value):
            raise self.error(name, "is not text", "put it in quotes")
        if len(str(value)) > MAX_TEXT:
            raise self.error(name, f"is longer than {MAX_TEXT} characters", "shorten it")
        if not str(value).isprintable():
            raise self.error(name, "has a control character in it", "retype it")
        return str(value)

    def words(self, name: str) -> list[str]:
        """Returns the words of a variable's text, as a shell splits them; [] if it is not set.

        Raises `UnsupportedArgumentError` for an unclosed quotation, and what `text` raises.
        """
        return split_words(first_set_or("", self.text(name)))

    def password(self, names: tuple[str, ...], default: Secret | None = None) -> Secret | None:
        """Returns the password that one of `names` sets, else `default`.

        An empty value says that `default` is not for this host.
        """
        text = self.text(*names)
        if text:
            return Secret(text)
        if self.host.variables.get(self.last_set(names)) is None:
            return default
        return None

    def number(self, names: tuple[str, ...], allowed: range, expected: str) -> int | None:
        """Returns the number of the last of `names` that is set, also if it is written as text.

        None if none is set. `expected` describes the `allowed` numbers, and their unit, in the
        error for any other value.
        """
        name = self.last_set(names)
        value = self.get(name)
        if value in _UNSET:
            return None
        number = _parse_number(value)
        if number is None or number not in allowed:
            raise self.error(name, f"is not {expected}", _number_hint(value))
        return number

    def truth(self, name: str) -> bool:
        """Returns whether a variable says yes, in one of the words that Ansible takes for it.

        Raises an error for what is neither yes nor no, and so for a variable that is not set.
        Ansible: `boolean` in module_utils/parsing/convert_bool.py.
        """
        word = str(self.get(name)).lower()
        if word not in TRUE_WORDS | FALSE_WORDS:
            raise self.error(name, "is neither yes nor no", "write true or false")
        return word in TRUE_WORDS

    def last_set(self, names: tuple[str, ...]) -> str:
        """Returns the spelling that counts: the last one that is set, else the first.

        As in Ansible, a group's old spelling overrides the new one of its host.
        """
        variables = self.host.variables
        in_use = (name for name in reversed(names) if variables.get(name) is not None)
        return next(in_use, names[0])


def first_set(*values: T | None) -> T | None:
    """Returns the first value that is set, in order of precedence; None if none is.

    None, the empty text, 0 and False count as not set.
    """
    return next(filter(None, values), None)


def first_set_or(default: T, *values: T | None) -> T:
    """Returns the first value that is set, as `first_set` does, and `default` if none is."""
    return next(filter(None, values), default)


def _needs_renderer(value: Any) -> bool:
    """Returns whether a value is encrypted, a template, or may contain either."""
    return isinstance(value, _RENDERED_TYPES) or is_template(value)


def is_text_or_number(value: Any) -> bool:
    """Returns whether a value is text or an integer; in Python a boolean is an integer, too."""
    return isinstance(value, _TEXT_OR_NUMBER) and not isinstance(value, bool)


def _number_hint(value: Any) -> str:
    """Returns what to do about a value that is no number, or one out of range."""
    if isinstance(value, int):
        return "mind that YAML reads 12:30 as 750 and 0022 as 18"
    return "write digits only"


def _parse_number(value: Any) -> int | None:
    """Returns the integer that a value is, also as text; None for anything else."""
    if not is_text_or_number(value):
        return None
    digits = _INTEGER.fullmatch(str(value))
    if digits is None:
        return None
    return int(digits[1])
