"""What came from a host, without the passwords that it was told: it may print them back, on purpose or not. Pure.

Rules: what a host printed is masked before anything is cut off or joined. A reason was cleaned and cut already, so what
is left of a password beside the cut is masked, too. A password of a few characters is masked as a word of its own only:
else it would be told by the holes that it leaves. A result line is data, and stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import AnyStr

from ..errors import TransportError
from ..model import LocalTarget, SshTarget
from ..wire import MARK
from . import Output
from .words import SAID_MAX, clean

_HIDDEN = "…"
_SHORT = 4  # a password of fewer characters is a word by chance
_TELLING = 3  # characters of a password that is cut off which are worth hiding


class Masking:
    """Hides the passwords of one target."""

    def __init__(self, target: SshTarget | LocalTarget) -> None:
        given = (
            target.become.password if target.become else None,
            target.password if isinstance(target, SshTarget) else None,
        )
        texts = {secret.reveal() for secret in given if secret and secret.reveal().strip()}
        # The longest first: one may begin with the other. A reason shows it as `clean` leaves it.
        raw = sorted((text.encode("utf-8", "surrogateescape") for text in texts), key=len, reverse=True)
        self._shown = sorted({form for text in texts for form in (text, clean(text, len(text)))}, key=len, reverse=True)
        self._raw = re.compile(b"|".join(_pattern(r, rb"(?<!\w)", rb"(?!\w)") for r in raw)) if raw else None
        self._text = re.compile("|".join(_pattern(t, r"(?<!\w)", r"(?!\w)") for t in self._shown)) if raw else None

    def output(self, output: Output) -> Output:
        """Returns an output that tells no password but in its result line."""
        raw = self._raw
        if raw is None or not (raw.search(output.stderr) or raw.search(output.stdout)):
            return output
        lines = output.stdout.split(b"\n")
        masked = (line if line.startswith(MARK) else raw.sub(_HIDDEN.encode(), line) for line in lines)
        return replace(output, stdout=b"\n".join(masked), stderr=raw.sub(_HIDDEN.encode(), output.stderr))

    def error(self, error: TransportError) -> TransportError:
        """Returns the same error, or one whose reason tells no password."""
        return error.told_as(self.text(error.reason))

    def text(self, text: str) -> str:
        """Returns a text without passwords, and without pieces of them beside a cut."""
        return text if self._text is None else self._without_pieces(self._text.sub(_HIDDEN, text))

    def _without_pieces(self, reason: str) -> str:
        """Returns a reason without the beginning of a password before a cut, and the end of one after a quote opens."""
        for form in self._shown:
            # The longest first. No reason shows more of what a host said.
            for piece in range(min(len(form) - 1, SAID_MAX), _TELLING - 1, -1):
                reason = reason.replace(f"{form[:piece]}…", "…").replace(f"“{form[-piece:]}", "“…")
        return reason


def _pattern(secret: AnyStr, before: AnyStr, after: AnyStr) -> AnyStr:
    """Returns what matches a password; one of a few characters only as a word of its own."""
    found = re.escape(secret)
    return before + found + after if len(secret) < _SHORT else found
