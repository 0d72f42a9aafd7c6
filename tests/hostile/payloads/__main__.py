"""python -m tests.hostile.payloads [--only WORD] [--list]"""

from __future__ import annotations

import sys

from tests.hostile.table import main

from .outputs import COLUMNS, cases

if __name__ == "__main__":
    sys.exit(main("payloads", COLUMNS, cases()))
