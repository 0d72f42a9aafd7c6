"""Prints the table of `make crashes`; `--share N` as the first option tries every N-th moment."""

from __future__ import annotations

import sys

from tests.hostile.table import main

from .cases import COLUMNS, all_cases
from .worlds import Worlds


def _share(arguments: list[str]) -> int:
    """Takes `--share N` from the arguments."""
    if arguments[:1] != ["--share"]:
        return 1
    share = int(arguments[1])
    del arguments[:2]
    return share


if __name__ == "__main__":
    arguments = sys.argv[1:]
    share = _share(arguments)
    with Worlds() as worlds:
        status = main("crashes", COLUMNS, all_cases(worlds, share), arguments)
    sys.exit(status)
