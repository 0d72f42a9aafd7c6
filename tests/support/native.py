"""The native probe as `make native` has built it, for tests that run it."""

from __future__ import annotations

import os

import pytest

from fleetaudit.probe.native_program import has_native, native_binary


def built(architecture: str = "x86_64") -> bytes:
    """Returns the program for an architecture; skips the test without it, and fails it in CI, where
    `make test` builds all of them.
    """
    if not has_native(architecture) and not os.environ.get("CI"):
        pytest.skip(f"needs the native probe for {architecture}: make native")
    return native_binary(architecture)
