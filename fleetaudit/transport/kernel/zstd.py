"""Finds the zstd of Python: its own since 3.14, before that the same module as a package."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def load_zstd() -> Any:
    """Returns the module; raises `ImportError` for a Python that was built without it."""
    name = "compression.zstd"
    if sys.version_info < (3, 14):
        name = "backports.zstd"
    return importlib.import_module(name)
