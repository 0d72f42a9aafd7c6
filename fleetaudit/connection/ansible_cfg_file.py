"""Finds and parses ansible.cfg, and looks settings up in it and in the environment.

Rules: found where Ansible finds it: ANSIBLE_CONFIG, the current folder unless anybody may write
there, the home folder, /etc/ansible. The environment overrides the file.
"""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fleetaudit.errors import ConfigError, InputError
from fleetaudit.inventory.entries import error_at
from fleetaudit.text.files import expand_home
from fleetaudit.text.yaml_lines import decode_utf8, read_bounded

from .ansible_cfg_table import Place

NAME = "ansible.cfg"


class Value(NamedTuple):
    """The text of a setting, and where it is set: file:line or the name of a variable."""

    text: str
    origin: str

    def error(self, message: str, hint: str = "") -> InputError:
        """Returns an error to raise about this setting."""
        return error_at(self.origin, message, hint)


class ConfigFile:
    """One ansible.cfg: its settings, and the line of each.

    `path` is as it was found, for messages. The file is read by configparser, as Ansible reads it:
    “;” begins a comment also behind a value. Of a setting that stands twice the last value counts.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file; raises `InputError` if it cannot be read or parsed."""
        self.path = path
        self._parser = configparser.ConfigParser(
            interpolation=None, strict=False, inline_comment_prefixes=(";",)
        )
        try:
            text = decode_utf8(read_bounded(path), source=str(path))
            self._parser.read_string(text, source=str(path))
        except (OSError, ValueError) as e:
            raise InputError("cannot be read", source=str(path)) from e
        except configparser.Error as e:
            raise InputError(
                "not an ansible.cfg: expected a section or a setting",
                source=str(path),
                line=getattr(e, "lineno", None) or 0,
            ) from e
        self._lines = text.splitlines()
        self._refuse_nul(text)

    def _refuse_nul(self, text: str) -> None:
        """Raises `InputError` for the NUL character, which no path or argument can have."""
        before, nul, _ = text.partition("\0")
        if nul:
            line = before.count("\n") + 1
            raise InputError("a NUL character", source=str(self.path), line=line)

    def get(self, place: Place) -> str | None:
        """Returns the text of a setting, None if it is not set."""
        return self._parser.get(place.section, place.key, fallback=None)

    def origin(self, place: Place) -> str:
        """Returns file:line of a setting, the file alone if its line is not found.

        configparser does not say where a value is, so the line is looked up in the text.
        """
        section = ""
        for number, line in enumerate(map(str.strip, self._lines), 1):
            if line.startswith("["):
                section = line[1:].partition("]")[0]
            elif section == place.section and _key_of(line) == place.key:
                return f"{self.path}:{number}"
        return str(self.path)


def _key_of(line: str) -> str:
    """Returns the key of a line, in lower case; keys end at “=” or “:”."""
    return line.lower().replace(":", "=").partition("=")[0].strip()


class Lookup:
    """Looks settings up in the environment and in the ansible.cfg that Ansible would use, if any.

    `environment` are variables by name, `system` is the file that counts if there is no other.
    `file` is the one that is used, None without any; `notes` are about an ansible.cfg that is
    skipped. Ansible: "Ansible Configuration Settings: the configuration file".
    """

    def __init__(self, environment: Mapping[str, str], system: Path) -> None:
        self.environment = environment
        self.notes = list[str]()
        path = self._named_file() or self._current_file() or self._usual_file(system)
        self.file = ConfigFile(path) if path else None

    def _named_file(self) -> Path | None:
        """Returns the file that ANSIBLE_CONFIG names, or the one in the folder that it names.

        Raises `ConfigError` if it is missing: settings that are meant would silently not apply.
        """
        named = self.environment.get("ANSIBLE_CONFIG")
        if not named:
            return None
        path = expand_home(os.path.expandvars(named))
        if path.is_dir():
            path /= NAME
        if not path.exists():
            raise ConfigError(f"ANSIBLE_CONFIG names {path}, and there is no such file")
        return path

    def _current_file(self) -> Path | None:
        """Returns the file in the current folder, unless anybody may write there.

        So does Ansible: whoever may write the file could run programs as the user. Adds a note
        then.
        """
        path = Path(NAME)
        if not path.exists():
            return None
        if Path().stat().st_mode & stat.S_IWOTH:
            self.notes.append(f"{NAME} in the current folder is not read: anybody may write there")
            return None
        return path

    def _usual_file(self, system: Path) -> Path | None:
        """Returns the file of the home folder or of the system.

        The first that may be read counts; None if there is neither.
        """
        home = Path(self.environment.get("HOME") or "~").expanduser() / f".{NAME}"
        return next((path for path in (home, system) if os.access(path, os.R_OK)), None)

    def values(self, variables: Iterable[str], places: Iterable[Place]) -> Iterator[Value]:
        """Yields what is set, the one that counts first.

        Variables of the environment override the file; both are in the order of the setting's
        table. An empty variable counts as not set.
        """
        for variable in variables:
            if text := self.environment.get(variable):
                yield Value(text, variable)
        for place in places:
            yield from self.values_at(place)

    def values_at(self, place: Place) -> Iterator[Value]:
        """Yields the value in one place of the file, if it is set and not empty.

        An empty value counts as not set.
        """
        if self.file is None:
            return
        text = self.file.get(place)
        if text:
            yield Value(text, self.file.origin(place))
