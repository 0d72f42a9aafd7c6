"""Attacks by inputs: `make inputs`, or python -m tests.hostile.inputs [--only WORD]."""

from __future__ import annotations

import sys

from tests.hostile.table import main

from . import documents, escapes, names, odd_files, programs, regular_expressions
from .attack import COLUMNS, Attack, missing_programs

KINDS = (escapes, documents, regular_expressions, odd_files, names, programs)


def attacks() -> list[Attack]:
    """Returns every attack of the section."""
    return [attack for kind in KINDS for attack in kind.attacks()]


if __name__ == "__main__":
    if missing := missing_programs():
        sys.exit(f"missing: {', '.join(missing)}")
    sys.exit(main("inputs", COLUMNS, [attack.case() for attack in attacks()]))
