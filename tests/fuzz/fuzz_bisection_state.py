"""The state of a bisection, a file that anybody may have edited: `store.bisection_state`.

A success is a state that is written and read again as the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tests.fuzz.harness import fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.errors import InputError
    from fleetaudit.store.bisection_state import BisectionState, decode_state

SEED = msgspec.json.encode(BisectionState(call="0d5f", kernels=("6.12.43 1f0c", "6.12.57 2a9b")))
WORDS = (*words_of(SEED.decode()), '"results":', "{}", "[]", "null", "1e400", '"\\ud800"')


def TestOneInput(data: bytes) -> None:
    """Reads a state, and what it is written as."""
    try:
        state = decode_state(data, source="bisect.json")
    except InputError as e:
        assert len(str(e)) < 4000
        return
    assert decode_state(msgspec.json.encode(state), source="bisect.json") == state


def seeds() -> Iterable[bytes]:
    """Yields a state without results."""
    yield SEED


if __name__ == "__main__":
    fuzz(TestOneInput)
