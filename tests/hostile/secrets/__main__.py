"""python -m tests.hostile.secrets [--only WORD] [--list]"""

from __future__ import annotations

import sys

from tests.hostile.table import main

from .cases import COLUMNS, print_places, secret_cases
from .world import world

AT_ONCE = 4

if __name__ == "__main__":
    with world() as hosts:
        status = main("secrets", COLUMNS, secret_cases(hosts), at_once=AT_ONCE)
        print_places(hosts.canaries)
    sys.exit(status)
