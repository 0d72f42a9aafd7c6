"""What every consumer is held to: no payload is obeyed, and each is there to be read.

The rules of what a person must see are written here again, from the Unicode standard, and not
imported from what is tested.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .fields import Placed

HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
"""Categories of which only the blank may be printed as it is."""
FILLERS = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159))
) | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)  # fmt: skip
_TAG = re.compile("~[bcdfghjklmnpqrstvwxz]+~")
_QUOTE = "'\"'\"'"
"""An apostrophe inside of apostrophes, as `shlex.quote` writes it."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_FLOOD = re.compile("[\u0300-\u036f\u0483-\u0489\u0e49\u1ab0\u1ab1\u20d0-\u20f0]{5}")
_MARK = re.compile(r"\\u([0-9a-f]{4})")
_BLANKS = re.compile(r"\s+")


def is_hidden(character: str) -> bool:
    """Returns whether a character shows nothing, or something else than itself."""
    if character == " ":
        return False
    return unicodedata.category(character) in HIDDEN or character in FILLERS


def hidden_in(text: str, allowed: str = "\n") -> set[str]:
    """Returns the characters of an output that nobody can see."""
    return {c for c in set(text) if is_hidden(c) and c not in allowed}


def shown(text: str) -> str:
    """Returns what a person reads of a text, without its blanks: layout may move them."""
    return "".join(_escape(c) if is_hidden(c) else c for c in text if c not in "\t\n\r ")


def _escape(c: str) -> str:
    """Returns the escape of a character as Python writes it."""
    code = ord(c)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _with_marks(text: str) -> str:
    """Returns a text with combining marks in the place of their escapes: where they are escaped
    depends on what stands before the text.
    """
    return _MARK.sub(lambda found: _mark(chr(int(found[1], 16)), found[0]), text)


def _mark(c: str, escape: str) -> str:
    """Returns a combining mark, and for any other character its escape."""
    return c if unicodedata.category(c)[0] == "M" and not is_hidden(c) else escape


def _in_reason(payload: str) -> tuple[str, str]:
    """Returns what a reason quotes of a host's text, and of the JSON that has it."""
    json_text = json.dumps(payload, ensure_ascii=False)[1:-1]
    return _signs(payload), _signs(json_text)


def _signs(text: str) -> str:
    """Returns a text with one sign for each character that is hidden."""
    return "".join("\ufffd" if is_hidden(c) else c for c in text if not c.isspace())


def squeeze(text: str) -> str:
    """Returns a text without blanks, as `shown` leaves them out."""
    return _BLANKS.sub("", text)


@dataclass
class Score:
    """What one consumer found.

    Attributes:
        seen: The texts that were found in the output by their tags.
        wrong: What is not as it must be.
    """

    placed: dict[str, Placed]
    seen: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        """Adds what is wrong."""
        self.wrong.append(what)

    def read(self, output: str, expected: Callable[[str], str] = shown) -> None:
        """Looks up every tag in a text that a consumer read.

        Before each tag stands what `expected` makes of the payload.
        """
        text = _with_marks(squeeze(output))
        for found in _TAG.finditer(text):
            placed = self.placed.get(found[0])
            if placed is None:
                continue
            self.seen.add(found[0])
            payload = _with_marks(squeeze(expected(placed.payload)))
            # A command has it in quotes for a shell, and a reason has one sign for what is hidden.
            forms = [payload, payload.replace("'", _QUOTE), *_in_reason(placed.payload)]
            # An id and a headline have the name of a program, which is the end of its path.
            if placed.path.endswith(".executable"):
                forms += [form.rpartition("/")[2] for form in forms]
            if not text.endswith(tuple(forms), 0, found.start()):
                there = text[max(0, found.start() - len(payload) - 9) : found.start()]
                self.fail(f"{placed.path} ({placed.kind}): {placed.payload!r} is {there!r}")

    def read_exactly(self, texts: Iterable[str]) -> None:
        """Compares texts that a consumer gives back unchanged, as JSON does."""
        for text in texts:
            for found in _TAG.finditer(text):
                if (placed := self.placed.get(found[0])) is None:
                    continue
                self.seen.add(found[0])
                expected = _SURROGATES.sub("\ufffd", placed.text)
                # The description of a job is a command, which has it in quotes for a shell.
                if not text.endswith((expected, expected.replace("'", _QUOTE)), 0, found.end()):
                    self.fail(f"{placed.path} ({placed.kind}): {placed.text!r} is {text!r}")

    def refuse_hidden(self, output: str, allowed: str = "\n") -> None:
        """Fails for characters that nobody can see, and for marks that hide other text."""
        if flood := _FLOOD.search(output):
            self.fail(f"combining marks: {flood[0]!a}")
        if hidden := hidden_in(output, allowed):
            self.fail(f"printed as they are: {sorted(map(ascii, hidden))[:9]}")

    @property
    def cells(self) -> dict[str, object]:
        """The cells of the scoreboard."""
        seen = [self.placed[tag] for tag in self.seen]
        return {
            "payloads": len({placed.payload for placed in seen}),
            "fields": len({placed.path for placed in seen}),
            "pairs": len({(placed.path, placed.payload) for placed in seen}),
            "wrong": len(self.wrong),
        }
