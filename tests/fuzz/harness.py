"""What the harnesses share: coverage of fleetaudit, and bounds on what an input may cost.

atheris is imported only where a harness runs by itself: a replay needs none.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

FOLDER = Path(__file__).parent
PREFIX = "fuzz_"
FINDS_VARIABLE = "FLEETAUDIT_FUZZ_FINDS"
"""Where finds are kept while fuzzing goes on; without it the first one ends the harness."""
CPU_S = 10.0
"""What one input may cost, in seconds of CPU; the code is instrumented, which is some ten times
slower.
"""
MOST_NAMES = 1000
Mutate = Callable[[bytes, int, int], bytes]
"""Changes an input to one of at most so many bytes, by a seed."""


class Target(Protocol):
    """A harness as a module.

    Attributes:
        WORDS: Words of the format, for libFuzzer's dictionary.
    """

    WORDS: Sequence[str | bytes]

    def TestOneInput(self, data: bytes) -> None: ...
    def seeds(self) -> Iterable[bytes]: ...


class TooSlowError(Exception):
    """An input that costs more CPU than `CPU_S`."""


def target_names() -> tuple[str, ...]:
    """Returns the name of every target, sorted."""
    return tuple(sorted(p.stem.removeprefix(PREFIX) for p in FOLDER.glob(f"{PREFIX}*.py")))


def load_target(name: str) -> Target:
    """Returns the harness of a target."""
    return cast(Target, importlib.import_module(f"tests.fuzz.{PREFIX}{name}"))


def instrumented(*others: str) -> contextlib.AbstractContextManager[Any]:
    """Counts the coverage of what is imported inside: of fleetaudit and of `others`.

    Only where a harness runs by itself.
    """
    if not Path(sys.argv[0]).name.startswith(PREFIX):
        return contextlib.nullcontext()
    import atheris

    manager: contextlib.AbstractContextManager[Any] = atheris.instrument_imports(
        include=["fleetaudit", *others]
    )
    return manager


def as_text(data: bytes) -> str:
    """Returns any bytes as text: UTF-8, also of lone surrogates, else one character per byte."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def words_of(*texts: str) -> tuple[str, ...]:
    """Returns the distinct words of texts, for a dictionary."""
    return tuple(dict.fromkeys(word for text in texts for word in text.split() if len(word) < 60))


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raises `TooSlowError` if what is inside takes more CPU than `CPU_S`."""
    begin = time.process_time()
    yield
    if (spent := time.process_time() - begin) > CPU_S:
        raise TooSlowError(f"{spent:.1f} s of CPU for one input")


@contextlib.contextmanager
def changed(module: object, name: str, value: object) -> Iterator[None]:
    """Sets a constant of a module inside the block."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextlib.contextmanager
def few_hosts() -> Iterator[None]:
    """Lets a range stand for few names inside the block, so that short inputs are quick."""
    from fleetaudit.inventory import name_ranges

    with changed(name_ranges, "MAX_NAMES", MOST_NAMES):
        yield


def fuzz(test_one_input: Callable[[bytes], None], mutate: Mutate | None = None) -> None:
    """Runs a harness under atheris, with libFuzzer's own options in sys.argv."""
    import atheris

    finds = os.environ.get(FINDS_VARIABLE)
    keeper = Finds(Path(finds)) if finds else None

    def run(data: bytes) -> None:
        try:
            with bounded():
                test_one_input(data)
        except Exception as e:
            if keeper is None:
                raise
            keeper.keep(data, e)

    more = {} if mutate is None else {"custom_mutator": mutate}
    atheris.Setup(sys.argv, run, **more)
    atheris.Fuzz()


class Finds:
    """Inputs that broke something, the shortest for each place in the code, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shortest = dict[str, int]()
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, data: bytes, error: Exception) -> None:
        """Keeps an input and its traceback, unless a shorter one is known."""
        name = signature(error)
        if self._shortest.get(name, sys.maxsize) <= len(data):
            return
        self._shortest[name] = len(data)
        (self._folder / name).write_bytes(data)
        text = "".join(traceback.format_exception(error))
        (self._folder / f"{name}.txt").write_text(text, "utf-8", "backslashreplace")


def signature(error: BaseException) -> str:
    """Returns a name of the error and the place in the code from which it came."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/fleetaudit/" in f.filename or "/fuzz/fuzz_" in f.filename]
    last = (ours or frames)[-1]
    place = f"{Path(last.filename).name}:{last.name}:{last.line}"
    digest = hashlib.sha256(f"{type(error).__name__}:{place}".encode()).hexdigest()[:8]
    return f"{type(error).__name__}-{Path(last.filename).stem}-{last.name.strip('<>')}-{digest}"
