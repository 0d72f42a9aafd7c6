"""What an inventory source is: a list of hosts or a file, and of files only those that are read in full.

Rules: nothing is ever run. A source that is broken, empty or of a kind that is not read is an error with a way out;
nothing of it is used.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, NothingToDoError
from ..model import Inventory
from ..yamlfile import MAX_FILE, decode_utf8, parse
from .beside import refuse_beside
from .draft import Draft
from .host_list import read_host_list
from .way_out import way_out
from .yaml_format import read_yaml

_YAML_SUFFIXES = ("", ".yml", ".yaml", ".json")
_SECTION = re.compile(r"\[[^\[\]\s]+\]\s*([#;].*)?")


def load_inventory(sources: Sequence[str]) -> Inventory:
    """Returns what `sources` say together: paths of YAML inventories and `host,host,` lists, later ones winning.

    Hosts come in the order in which they are first mentioned. Raises `NothingToDoError` for a file that is missing,
    `InputError` with file and line for everything that is wrong or that is not read yet.
    """
    if not sources:
        raise NothingToDoError("no inventory: name a file, or hosts with a comma:  localhost,")
    draft, files = Draft(), list[Path]()
    for source in sources:
        path = Path(source)
        if "," in source and not _exists(path):
            read_host_list(source, draft)
        else:
            read_yaml(parse(_text_of(path, source), source=source), draft)
            files.append(path)
    inventory = draft.inventory(sources)
    refuse_beside(files, inventory)
    return inventory


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a long list of hosts is too long for a file's name
        return False


def _text_of(path: Path, source: str) -> str:
    if path.is_dir():
        raise _refused(source, "a folder; inventories in folders are not read yet", "name the YAML files in it, each")
    if path.suffix.lower() in (".ini", ".cfg", ".toml"):
        raise _refused(source, f"{path.suffix[1:].upper()} inventories are not read yet")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError as e:
        hint = f"\n  for a list of hosts, add a comma:  {source}," if "/" not in source else ""
        raise NothingToDoError(f"{source}: there is no such inventory{hint}") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise InputError(f"cannot be read: {reason}", source=source) from e
    if data.startswith((b"#!", b"\x7fELF")):
        raise _refused(source, "a program; executable inventories are not run yet")
    if data.startswith(b"$ANSIBLE_VAULT;"):
        hint = f"without secrets in it:  ansible-vault view {shlex.quote(source)} > new/hosts.yml  and name that file"
        raise InputError("encrypted by ansible-vault, which is not read yet", source=source, line=1, hint=hint)
    text = decode_utf8(data, source=source)
    for number, line in enumerate(text.split("\n"), 1):
        significant = line.strip()
        if significant and significant[0] not in "#;":
            if _SECTION.fullmatch(significant):
                raise _refused(source, f"“{significant}” begins a section: INI is not read yet", line=number)
            break
    if path.suffix.lower() not in _YAML_SUFFIXES:
        hint = "if it is YAML, give it a name that ends in .yml, as Ansible wants it too"
        raise InputError(f"Ansible reads no YAML from files that end in {path.suffix}", source=source, hint=hint)
    return text


def _refused(source: str, message: str, hint: str = "", line: int = 0) -> InputError:
    out = way_out(source)
    return InputError(message, source=source, line=line, hint=f"{hint}; or {out}" if hint else out)
