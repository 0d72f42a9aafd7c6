"""Finds words of a private dialect in what people read, and says what plain English has instead.

    python -m tools.prose [--count] [PATH...]

Reads Markdown, YAML comments and texts, templates, and from Python: docstrings, comments, messages
and the names of tests. Prints `path:line: word: advice` for each place; with --count only a number
for each package. A place that is right is listed in tools/prose-exceptions.txt with its reason. The
exit status is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXCEPTIONS = ROOT / "tools" / "prose-exceptions.txt"
SUFFIXES = {".py", ".md", ".yml", ".html"}
SKIPPED = (
    "docs/sample/",
    "tests/data/",
    "requirements/",
    "CHANGELOG.md",
    "tools/prose.py",
    "tests/unit/test_prose.py",
)
"""Generated, recorded from other programs, history, or about these words."""
BESIDE = r"beside(?! (?:it|them|a|an|one|each|those|what|the (?:file|folder|key))\b)"
"""Next to a thing is plain; compared with a thing is not."""
ADVICE = {
    r"told": "reported, shown, known",
    r"untold": "unknown",
    r"said": "reported, written, printed",
    r"felt": "counted, observed",
    r"laid": "compared, placed",
    r"alike": "the same, in the same way",
    r"thrift": "deduplication",
    BESIDE: "compared with, together with",
    r"heard|hears?": "received, learns",
    r"deaf": "does not read",
    r"gravest": "most severe",
    r"wanted": "expected, required",
    r"lest": "so that … not",
    r"for want of": "without, for lack of",
    r"but for": "except",
    r"(?<!there )(?-i:is none|are none)(?! of\b)": "is not a …, has no …",
    r"l(?:ies|ie|ay) behind": "is the reason for",
    r"nothing is said": "the default",
    r"f[ae]lls? short": "does not meet",
    r"side by side": "compared",
    r"(?:goes|go|gone|went) on with": "continues",
    r"(?:to|can|could|cannot|may) be had": "available",
    r"becomes? of|comes? of": "result of",
    r"misse[sd] out": "is not audited, is left out",
    r"held against|holds? \w+ against": "compared with",
    r"(?:the \w+'s?|the \w+s'|ours|theirs|his|its) own (?:matter|words)": "name the thing",
    r"for ever": "forever",
    r"what it was asked": "the request",
    r"ere|nought|thereof|hereby|therein": "plain words",
}
RULES = re.compile("|".join(rf"(?P<r{n}>\b(?:{word})\b)" for n, word in enumerate(ADVICE)), re.I)
ADVICES = list(ADVICE.values())
CODE = re.compile(r"`[^`]*`|\{%.*?%\}|\{\{.*?\}\}")
"""Code in a line of prose: Markdown's, and that of templates."""
PUBLIC = re.compile(r"no longer told|told again|not told|told apart|untold")
"""Names of changes and states that scripts read, and an idiom."""


@dataclass(frozen=True)
class Place:
    """One word in one line of a file."""

    path: str
    line: int
    text: str
    word: str
    advice: str


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a file that people read, with their numbers."""
    content = path.read_text("utf-8")
    if path.suffix == ".py":
        yield from _python_texts(content)
    elif path.suffix == ".md":
        yield from _markdown_texts(content)
    else:
        yield from enumerate(content.splitlines(), 1)


def _markdown_texts(content: str) -> Iterator[tuple[int, str]]:
    """Yields lines outside of code blocks."""
    fenced = False
    for number, line in enumerate(content.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def _python_texts(content: str) -> Iterator[tuple[int, str]]:
    """Yields comments, docstrings, messages, and the names of tests as sentences."""
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from enumerate(node.value.splitlines(), node.lineno)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")


def places_in(path: str, texts: Iterable[tuple[int, str]]) -> Iterator[Place]:
    """Yields each place of the dialect in the texts; code and public names are no prose."""
    for number, text in texts:
        for found in RULES.finditer(PUBLIC.sub("", CODE.sub("``", text))):
            rule = int(str(found.lastgroup).removeprefix("r"))
            yield Place(path, number, " ".join(text.split()), found[0].lower(), ADVICES[rule])


def exceptions(text: str) -> list[tuple[str, str]]:
    """Returns the path and the fragment of a line of each exception.

    A line is `path | fragment | reason`; lines that begin with # are comments.
    """
    rows = [line.split(" | ") for line in text.splitlines() if line and line[0] != "#"]
    for row in rows:
        if len(row) != 3 or not row[2].strip():
            raise ValueError(f"not path | fragment | reason: {' | '.join(row)}")
    return [(path.strip(), fragment.strip()) for path, fragment, _ in rows]


def is_excepted(place: Place, rows: Iterable[tuple[str, str]]) -> bool:
    """Returns whether an exception covers a place; a path may end in "*"."""
    return any(
        fragment in place.text
        and (place.path.startswith(path[:-1]) if path.endswith("*") else place.path == path)
        for path, fragment in rows
    )


def files(named: list[str]) -> list[str]:
    """Returns the files that git knows below the named paths, or all of them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *named],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [
        name
        for name in listed
        if Path(name).suffix in SUFFIXES and not name.startswith(SKIPPED) and (ROOT / name).exists()
    ]


def package_of(path: str) -> str:
    """Returns the group in which a file is counted: "fleetaudit/report", "docs" …"""
    return "/".join(path.split("/")[:-1][:2]) or "."


def main(arguments: list[str]) -> int:
    """Prints what was found, place by place or counted; the exit status is 1 if anything was."""
    parser = argparse.ArgumentParser(description="Finds words of a private dialect.")
    parser.add_argument("--count", action="store_true", help="only count, for each package")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args(arguments)
    rows = exceptions(EXCEPTIONS.read_text("utf-8"))
    found = [
        place
        for name in files(options.paths)
        for place in places_in(name, texts_of(ROOT / name))
        if not is_excepted(place, rows)
    ]
    if options.count:
        for package, number in sorted(Counter(package_of(p.path) for p in found).items()):
            print(f"{number:6}  {package}")
    else:
        for p in found:
            print(f"{p.path}:{p.line}: {p.word}: {p.advice}: {p.text[:120]}")
    print(f"{len(found)} words of the private dialect", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
