"""Text of a host on its way into an output: `text.sanitize`, `transport.masking`.

The first line is a password, the rest what a host printed. No output has a character that is not
seen, and no masked text has the password.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import as_text, fuzz, instrumented

with instrumented():
    from fleetaudit.model import Secret, SshTarget
    from fleetaudit.text.sanitize import (
        bounded_text,
        escape_line,
        escape_text,
        first_invisible,
        is_visible,
        printable_line,
        quote_line,
        terminal_line,
    )
    from fleetaudit.transport import Output
    from fleetaudit.transport.masking import Masking

LIMIT = 50
LEAST_PASSWORD = 4
WORDS = (
    "\x1b[31m", "\x1b]8;;", "\u202e", "\u2066", "\u200b", "\ufeff", "\u3164", "\ud800", "\x85",
    "\u2028", "\t", "\r\n", "…", "“", "\\x1b", "&#27;", "fleetaudit-probe/1 ",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Sanitizes and masks one text."""
    first, _, rest = data.partition(b"\n")
    text = as_text(rest)
    _check_line(terminal_line(text, LIMIT), 12 * LIMIT + 1)
    _check_line(printable_line(text, LIMIT), LIMIT)
    _check_line(printable_line(rest, LIMIT), LIMIT)
    _check_line(escape_line(text, LIMIT), 12 * LIMIT + 1)
    assert not first_invisible(escape_line(text, LIMIT))
    _check_line(quote_line(text, "it printed ", LIMIT), LIMIT + 13)
    escaped = escape_text(text)
    assert is_visible(escaped.replace("\n", "").replace("\t", ""))
    assert escape_text(escaped) == escaped
    bounded_text(text, LIMIT).encode()
    _check_masking(as_text(first).strip(), rest)


def _check_line(line: str, most: int) -> None:
    """Checks that a line is one, is short, can be encoded, and is all seen."""
    assert len(line) <= most, len(line)
    line.encode()
    assert is_visible(line), ascii(line)


def _check_masking(password: str, printed: bytes) -> None:
    """Checks that a password is in nothing that was masked; one of few characters may be."""
    if len(password) < LEAST_PASSWORD or "…" in password:
        return
    try:
        as_sent = password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return  # no file, prompt or variable gives such a password
    masking = Masking(SshTarget(address="h", password=Secret(password)))
    output = masking.output(Output(stdout=printed, stderr=printed + as_sent, exit_status=1))
    assert as_sent not in output.stderr or as_sent in "…".encode()
    reason = printable_line(f"it printed {password} twice")
    masked = masking.text(reason)
    assert printable_line(password) not in masked or password in "it printed … twice"


def seeds() -> Iterable[bytes]:
    """Yields texts with what terminals, files and people take for something else."""
    for text in ("plain", "a\x1b[2Jb", "\u202eabc\u2069", "tab\tline\r\nnext", "x" * 300, "\ud800"):
        yield b"hunter22\nit is hunter22: " + text.encode("utf-8", "surrogatepass")
    yield b"pass\xffword\n\xff\xfe\x00"


if __name__ == "__main__":
    fuzz(TestOneInput)
