"""Long numbers are read as paramiko itself reads them, and by paramiko's own code."""

from __future__ import annotations

import importlib.util
from typing import Any

import paramiko
import paramiko.util
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetaudit.transport.ssh.paramiko_numbers import inflate_long


def _original() -> Any:
    """Returns paramiko's module as it is in its file."""
    spec = importlib.util.find_spec("paramiko.util")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORIGINAL = _original()


@given(st.binary(max_size=40), st.booleans())
@example(b"", False)
@example(b"\x80", False)
@example(b"\xff" * 5, True)
def test_a_number_is_the_one_that_paramiko_reads(data: bytes, always_positive: bool) -> None:
    assert ORIGINAL.inflate_long is not inflate_long
    assert inflate_long(data, always_positive) == ORIGINAL.inflate_long(data, always_positive)


@pytest.mark.parametrize("module", ["paramiko_transport", "key_files", "ca_signature"])
def test_paramiko_reads_by_it(module: str) -> None:
    importlib.import_module(f"fleetaudit.transport.ssh.{module}")
    assert vars(paramiko.util)["inflate_long"] is inflate_long


def test_a_number_that_ends_too_early_is_filled_with_zeros_as_before() -> None:
    """The length says 1,000,000 bytes, and 3 are there; this took seconds of CPU."""
    message = paramiko.Message((1_000_000).to_bytes(4, "big") + b"\x01\x02\x03")
    assert message.get_mpint() == 0x010203 << 8 * 999_997
