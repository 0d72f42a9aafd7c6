"""python -m tests.hostile.faults [--only WORD] [--list]"""

from __future__ import annotations

import sys

from tests.hostile.table import main

from .cases import COLUMNS, bench, fault_cases

AT_ONCE = 8

if __name__ == "__main__":
    with bench(AT_ONCE) as benches:
        sys.exit(main("faults", COLUMNS, fault_cases(benches), at_once=AT_ONCE))
