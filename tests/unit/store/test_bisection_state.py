"""The results of a bisection outlive the process, and are used for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetaudit.errors import InputError, LockedError, OutputError
from fleetaudit.store.bisection_state import (
    BisectionState,
    KernelResult,
    decode_state,
    hold_state,
    read_state,
    write_state,
)

STATE = BisectionState(
    call="c",
    kernels=("a", "b"),
    results={"a": KernelResult(status="audited", endings={"close/ipv4": "RST"})},
)


def test_a_state_is_read_as_it_was_written_and_is_empty_without_a_file(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    assert read_state(file, "c", ["a", "b"]) == replace(STATE, results={})
    write_state(file, STATE)
    assert read_state(file, "c", ["a", "b"]) == STATE
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("call", "kernels", "reason"),
    [
        ("c", ["a", "b", "x"], "another list of kernels: 1 kernel added, 0 removed"),
        ("c", ["a", "x", "y"], "another list of kernels: 2 kernels added, 1 removed"),
        ("c", ["b", "a"], "the same kernels in another order"),
        ("other", ["a", "b"], "another call: other playbooks"),
    ],
)
def test_the_results_of_something_else_are_refused(
    tmp_path: Path, call: str, kernels: list[str], reason: str
) -> None:
    file = tmp_path / "a state.json"
    write_state(file, STATE)
    with pytest.raises(InputError, match=reason) as e:
        read_state(file, call, kernels)
    assert e.value.hint.endswith(f"rm '{file}'")


@given(st.binary(max_size=60) | st.just(b'{"format":"fleetaudit-bisect-state/9"}'))
def test_other_bytes_are_not_a_state(data: bytes) -> None:
    with pytest.raises(InputError, match="not the state of a bisection"):
        decode_state(data, source="x")


def test_one_process_at_a_time_uses_a_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "state.json"
    with hold_state(file):
        with pytest.raises(LockedError, match=r"state\.json: another bisection.*--state"):
            hold_state(file).__enter__()
        with hold_state(file.with_name("other.json")):
            pass
    with hold_state(file):
        pass


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        hold_state(tmp_path / "file" / "state.json").__enter__()
