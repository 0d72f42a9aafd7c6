"""Regular expressions of expectations: `playbook.patterns`.

A success is one that fails within its bound on the longest value, whatever that is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from tests.fuzz.harness import as_text, fuzz, instrumented

with instrumented():
    from fleetaudit.playbook.patterns import MAX_MATCHED, MAX_PATTERN, pattern_fault

MATCH_S = 8.0
"""The most CPU time of one match: the worst that is accepted takes 1.5 s on a quiet machine."""
WORDS = ("(?:", "(?P<a>", ")*", ")+", "{1,9}", "[^", "\\1", "|", ".*", "\\d", "(?=", "(?i)", "a")


def TestOneInput(data: bytes) -> None:
    """Tries a pattern, where it is allowed, on the longest texts of its most frequent character."""
    pattern = as_text(data[: 2 * MAX_PATTERN])
    if pattern_fault(pattern):
        return
    compiled = re.compile(pattern)
    letters = [c for c in pattern if c.isalnum() or c in " .-_/"] or ["a"]
    letter = max(letters, key=letters.count)
    for end in ("", "!"):
        begin = time.process_time()
        compiled.fullmatch(letter * (MAX_MATCHED - len(end)) + end)
        spent = time.process_time() - begin
        assert spent < MATCH_S, f"{pattern!r} took {spent:.1f} s"


def seeds() -> Iterable[bytes]:
    """Yields patterns of every part."""
    for pattern in (
        "4096 .*", "(ab)+", "[0-9]{1,5}( [0-9]+)?", "a|b|cd", "(?:x|y)z*", "(?P<n>a)b?", "(a+)+",
        "[]a-z]+", r"\d+\.\w*", "a{2}b{,3}", "(a|b)*c", ".*.*.*.*" + 10 * "a" + "b",
        "(|a|aa)a*a*a*b",
    ):  # fmt: skip
        yield pattern.encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
