"""Fuzzes every target in turn and prints a table: `make fuzz`.

    python -m tests.fuzz [--minutes N] [--keep-going] [TARGET...]

The inputs that reached something new are kept in .cache/fuzz/corpus, and the next run begins with
them. Finds are in .cache/fuzz/finds/TARGET: the shortest input for each place in the code, with its
traceback beside it. The exit status is 1 if there is a find.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .harness import FINDS_VARIABLE, FOLDER, PREFIX, load_target, target_names

ROOT = FOLDER.parents[1]
CACHE = ROOT / ".cache" / "fuzz"
TIMEOUT_S = 60  # of one input, on a busy machine: libFuzzer ends the harness
MEMORY_MB = 3000
LONGEST = 64 * 1024  # bytes of an input
LEAST_S = 3  # a harness that ended is started again for no less
_COUNTED = re.compile(r"^#(\d+)\t.*?cov: (\d+)", re.MULTILINE)
_EXECUTED = re.compile(r"^stat::number_of_executed_units: +(\d+)", re.MULTILINE)
_ENDED = re.compile(r"Test unit written to (\S+)")


@dataclass
class Row:
    """What fuzzing one target gave."""

    target: str
    executions: int = 0
    seconds: float = 0.0
    coverage: int = 0
    finds: int = 0
    problem: str = ""

    def text(self) -> str:
        """Returns the row of the table."""
        rate = self.executions / max(self.seconds, 0.001)
        numbers = f"{self.executions:>11} {rate:>9.0f} {self.coverage:>9} {self.finds:>6}"
        return f"{self.target:<16} {self.seconds:>6.0f} {numbers}  {self.problem}".rstrip()


HEADING = f"{'target':<16} {'s':>6} {'executions':>11} {'a second':>9} {'coverage':>9} {'finds':>6}"


def write_seeds(name: str, folder: Path) -> Path:
    """Writes the seeds of a target into a folder, and its dictionary beside it, as NAME.dict."""
    target = load_target(name)
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    for path in find_files(name):
        (folder / path.name).write_bytes(path.read_bytes())
    words = [
        w if isinstance(w, bytes) else w.encode("utf-8", "surrogatepass") for w in target.WORDS
    ]
    dictionary = folder.parent / f"{name}.dict"
    dictionary.write_text("".join(map(_entry, dict.fromkeys(words))), "ascii")
    return dictionary


def find_files(name: str) -> list[Path]:
    """Returns the inputs that once broke something, of one target."""
    folder = FOLDER / "finds" / name
    return sorted(p for p in folder.iterdir() if p.is_file()) if folder.exists() else []


def _entry(word: bytes) -> str:
    """Returns a line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word[:60]) + '"\n'


def fuzz_target(name: str, seconds: float, cache: Path = CACHE, seed: int = 0) -> Row:
    """Fuzzes one target for so long; starts it again if an input ended it.

    With a `seed` other than 0 the same inputs come in the same order each time.
    """
    row, finds = Row(name), cache / "finds" / name
    corpus, seeds = cache / "corpus" / name, cache / "seeds" / name
    for folder in (corpus, finds):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(finds.iterdir())
    dictionary = write_seeds(name, seeds)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) >= LEAST_S or not row.seconds:
        options = [
            f"-max_total_time={max(int(left), 1)}",
            f"-artifact_prefix={finds}/",
            f"-dict={dictionary}",
            f"-timeout={TIMEOUT_S}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-max_len={LONGEST}",
            f"-seed={seed}",
            "-print_final_stats=1",
        ]
        begin = time.monotonic()
        done = _run(
            [sys.executable, "-m", f"tests.fuzz.{PREFIX}{name}"], options, corpus, seeds, finds
        )
        row.seconds += time.monotonic() - begin
        _count(row, done.stderr)
        if done.returncode and not _ENDED.search(done.stderr):
            row.problem = f"ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
            break
    row.finds = len({p for p in finds.iterdir() if p.suffix != ".txt"} - before)
    return row


def _run(
    command: list[str], options: list[str], corpus: Path, seeds: Path, finds: Path
) -> subprocess.CompletedProcess[str]:
    """Runs a harness to its end; the log goes to stderr of what is returned."""
    return subprocess.run(
        [*command, str(corpus), str(seeds), *options],
        cwd=ROOT,
        env={**os.environ, FINDS_VARIABLE: str(finds)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _count(row: Row, log: str) -> None:
    """Adds what the log of one harness counts."""
    counted = [*_COUNTED.finditer(log)]
    if counted:
        row.coverage = max(row.coverage, int(counted[-1][2]))
    executed = _EXECUTED.search(log)
    if executed:
        row.executions += int(executed[1])
    elif counted:
        row.executions += int(counted[-1][1])


def main(argv: list[str] | None = None) -> int:
    """Fuzzes the targets; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all targets together")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    options = parser.parse_args(argv)
    names = options.targets or list(target_names())
    unknown = sorted(set(names) - set(target_names()))
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    if options.list:
        print("\n".join(names))
        return 0
    share = options.minutes * 60 / len(names)
    print(HEADING, flush=True)
    rows = list[Row]()
    for name in names:
        rows.append(fuzz_target(name, share))
        print(rows[-1].text(), flush=True)
    total = Row("all", problem="")
    for row in rows:
        total.executions += row.executions
        total.seconds += row.seconds
        total.finds += row.finds
    print(total.text())
    print(f"finds: {CACHE / 'finds'}" if total.finds else "no finds")
    return int(any(row.finds or row.problem for row in rows))


if __name__ == "__main__":
    sys.exit(main())
