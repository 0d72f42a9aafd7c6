"""The loggers of the package.

A library does not print: without a handler of its own, logging would write warnings to stderr.
Whoever logs imports this module, and `logging` with it; a command line that ends before it does
anything needs neither.
"""

from __future__ import annotations

import logging

logging.getLogger("fleetaudit").addHandler(logging.NullHandler())


def get_logger(module: str) -> logging.Logger:
    """Returns the logger of a module of the package, by its `__name__`."""
    return logging.getLogger(module)
