"""Prints the table: `python -m tests.hostile.duress`."""

from __future__ import annotations

import os
import sys

from ..table import main
from .cases import COLUMNS, cases

if __name__ == "__main__":
    if os.geteuid():
        sys.exit("needs root: it makes namespaces and mounts")
    # Most of a case is waiting.
    sys.exit(main("duress", COLUMNS, cases(), at_once=2))
