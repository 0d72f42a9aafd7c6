"""Prints the table: `python -m tests.hostile.duress`."""

from __future__ import annotations

import os
import sys

from ..table import main
from .cases import COLUMNS, cases
from .probing import usual_verdicts

if __name__ == "__main__":
    if os.geteuid():
        sys.exit("needs root: it makes namespaces and mounts")
    # Most of a case is waiting. What all cases share is made before there are two threads.
    usual_verdicts()
    sys.exit(main("duress", COLUMNS, cases(), at_once=2))
