"""Prints the table of least privilege: `make privilege`."""

from __future__ import annotations

import sys

from tests.hostile import table

from . import certificates, controller, logins, other_keys
from .world import COLUMNS, case, world

CASES = {**certificates.CASES, **other_keys.CASES, **logins.CASES, **controller.CASES}


def main() -> int:
    """Runs the section; returns the exit status."""
    with world() as here:
        cases = [case(name, run, here) for name, run in CASES.items()]
        return table.main("privilege", COLUMNS, cases)


if __name__ == "__main__":
    sys.exit(main())
