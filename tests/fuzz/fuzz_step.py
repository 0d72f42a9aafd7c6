"""The step language: `playbook.steps`, one line to one call of the probe.

A success is a call that its own text gives again, of a verb that the probe has.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import as_text, fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.playbook import steps
    from fleetaudit.playbook.phrases import PHRASES
    from fleetaudit.playbook.steps import SOCKET_OPTIONS, StepError

parse_step = steps.parse_step.__wrapped__  # it remembers what it parsed
VERBS = frozenset(str(part) for phrase in PHRASES for part in phrase.call)
WORDS = (*words_of(*(p.pattern for p in PHRASES)), *SOCKET_OPTIONS, "net.ipv4.", "0.5", "ms", "s")


def TestOneInput(data: bytes) -> None:
    """Parses one step."""
    text = as_text(data)
    try:
        step = parse_step(text)
    except StepError as e:
        assert e.expected or not text.strip()
        return
    assert parse_step(step.text) == step
    assert step.call[0] in VERBS or step.call[1] in VERBS
    assert all(isinstance(part, str | int) for part in step.call)


def seeds() -> Iterable[bytes]:
    """Yields every phrase with values in its slots."""
    slots = {
        "SIDE": "closer", "N": "5", "BACKLOG": "8", "INT": "1", "OPTION": "SO_LINGER 1 0",
        "SYSCTL": "net.ipv4.tcp_rmem", "VALUES": "4096 131072 6291456", "TIME": "50 ms",
    }  # fmt: skip
    for phrase in PHRASES:
        yield " ".join(slots.get(word, word) for word in phrase.pattern.split()).encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
