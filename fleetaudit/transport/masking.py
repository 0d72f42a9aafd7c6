"""What came from a host, without the passwords that it was told: it may print them back, on purpose
or not. Pure.

Rules: what a host printed is masked before anything is cut off or joined. A reason was cleaned and
cut already, so what is left of a password beside the cut is masked, too. A password of a few
characters is masked as a word of its own only: else it would be told by the holes that it leaves. A
result line is data, and stays as it is until it is decoded: in its sentences every password is
masked, in its values and in commands to type one that is no word by chance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import AnyStr

import msgspec

from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Audited,
    LocalTarget,
    NoTarget,
    Observation,
    SshTarget,
    Target,
)
from fleetaudit.probe.protocol import REPLY_MARK, Reply
from fleetaudit.text.sanitize import QUOTE_MAX, printable_line

from . import Output

_HIDDEN = "…"
_SHORT = 4  # a password of fewer characters is a word by chance
_STRONG = (
    8  # characters: a password this long, not only of letters or digits, is in no value by chance
)
_OF_THE_REPLY = {"void", *Reply.__struct_fields__} & {*Audited.__struct_fields__} - {
    "observations",
    "isolation",
}
_TELLING = 3  # characters of a password that is cut off which are worth hiding


class Masking:
    """Hides the passwords of one target; others have none."""

    def __init__(self, target: Target | NoTarget) -> None:
        given = (
            (
                target.become.password
                if isinstance(target, SshTarget | LocalTarget) and target.become
                else None
            ),
            target.password if isinstance(target, SshTarget) else None,
        )
        texts = {secret.reveal() for secret in given if secret and secret.reveal().strip()}
        # The longest first: one may begin with the other. A reason shows it as `printable_line` leaves it.
        raw = sorted(
            (text.encode("utf-8", "surrogateescape") for text in texts), key=len, reverse=True
        )
        self._shown = sorted(
            {form for text in texts for form in _forms(text)}, key=len, reverse=True
        )
        strong = [
            form
            for form in self._shown
            if len(form) >= _STRONG and not (form.isalpha() or form.isdecimal())
        ]
        self._data = re.compile("|".join(map(re.escape, strong))) if strong else None
        self._raw = (
            re.compile(b"|".join(_pattern(r, rb"(?<!\w)", rb"(?!\w)") for r in raw))
            if raw
            else None
        )
        self._text = (
            re.compile("|".join(_pattern(t, r"(?<!\w)", r"(?!\w)") for t in self._shown))
            if raw
            else None
        )

    def output(self, output: Output) -> Output:
        """Returns an output without passwords, except in its result line."""
        raw = self._raw
        if raw is None or not (raw.search(output.stderr) or raw.search(output.stdout)):
            return output
        lines = output.stdout.split(b"\n")
        masked = (
            line if line.startswith(REPLY_MARK) else raw.sub(_HIDDEN.encode(), line)
            for line in lines
        )
        return replace(
            output, stdout=b"\n".join(masked), stderr=raw.sub(_HIDDEN.encode(), output.stderr)
        )

    def error(self, error: TransportError) -> TransportError:
        """Returns the same error, or one whose reason tells no password."""
        return error.with_reason(self.text(error.reason))

    def audited(self, host: Audited) -> Audited:
        """Returns the same host, or a copy without passwords in its reply."""
        if self._text is None:
            return host
        if self._data is not None and self._data.search(msgspec.json.encode(host).decode()):
            host = _mapped(host, self.data)
        return msgspec.structs.replace(
            host,
            notes=tuple(map(self.text, host.notes)),
            void=self.text(host.void),
            observations=tuple(map(self._observation, host.observations)),
        )

    def _observation(self, o: Observation) -> Observation:
        reason, note = self.text(o.reason), self.text(o.evidence.wire_note)
        if (reason, note) == (o.reason, o.evidence.wire_note):
            return o
        return msgspec.structs.replace(
            o, reason=reason, evidence=msgspec.structs.replace(o.evidence, wire_note=note)
        )

    def data(self, text: str) -> str:
        """Returns a value or a command without passwords, except those that may be in it by chance."""
        return text if self._data is None else self._data.sub(_HIDDEN, text)

    def text(self, text: str) -> str:
        """Returns a text without passwords, and without parts of them at a cut."""
        return self._without_pieces(self._text.sub(_HIDDEN, text)) if text and self._text else text

    def _without_pieces(self, reason: str) -> str:
        """Returns a reason without the beginning of a password before a cut, and the end of one
        after a quote opens.
        """
        for form in self._shown:
            # The longest first. No reason shows more of what a host said.
            for piece in range(min(len(form) - 1, QUOTE_MAX), _TELLING - 1, -1):
                reason = reason.replace(f"{form[:piece]}…", "…").replace(f"“{form[-piece:]}", "“…")
        return reason


def _mapped(host: Audited, masked: Callable[[str], str]) -> Audited:
    """Returns the host with every text of its reply masked; the names of its plan stay as they are."""

    def inside(value: object) -> object:
        match value:
            case str():
                return masked(value)
            case dict():
                return {inside(key): inside(inner) for key, inner in value.items()}
            case list() | tuple():
                return [inside(inner) for inner in value]
            case _:
                return value

    body = msgspec.to_builtins(host)
    for name in _OF_THE_REPLY:
        body[name] = inside(body[name])
    for observation in body["observations"]:
        observation["evidence"], observation["reason"] = (
            inside(observation["evidence"]),
            masked(observation["reason"]),
        )
    return msgspec.convert(body, Audited)


def _forms(text: str) -> tuple[str, ...]:
    """Returns a password as it is, as a reason shows it, and as an error of Python or JSON quotes
    it.
    """
    return (
        text,
        printable_line(text, len(text)),
        repr(text)[1:-1],
        ascii(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
    )


def _pattern(secret: AnyStr, before: AnyStr, after: AnyStr) -> AnyStr:
    """Returns what matches a password; one of a few characters only as a word of its own."""
    found = re.escape(secret)
    return before + found + after if len(secret) < _SHORT else found
