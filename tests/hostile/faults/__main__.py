"""python -m tests.hostile.faults [--only WORD] [--list]"""

from __future__ import annotations

import sys

from tests.hostile.table import main

from . import fleet, offsets
from .cases import COLUMNS, bench, fault_cases

AT_ONCE = 8
OTHERS = (
    offsets.case("FIN"),
    offsets.case("RST"),
    fleet.case(900, 100, 30),
    fleet.case(180, 4, 30, only="login: flood of keepalive"),
    fleet.case(180, 4, 30, only="exec: flood of ignore"),
)

if __name__ == "__main__":
    with bench(AT_ONCE) as benches:
        cases = [*fault_cases(benches), *OTHERS]
        sys.exit(main("faults", COLUMNS, cases, at_once=AT_ONCE))
