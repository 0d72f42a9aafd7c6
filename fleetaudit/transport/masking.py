"""Hides the passwords that a target was sent in whatever comes back from it: the host may print
them, on purpose or not. Pure.

Rules: what a host printed is masked before anything is cut off or joined. A reason was sanitized
and cut already, so a part of a password at a cut is masked, too. A password of a few characters is
masked only as a word of its own: otherwise its gaps in the text would reveal it. A result line is
data, and stays as it is until it is decoded: in its sentences every password is masked, in its
values and in commands to type only one that cannot be there by chance.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import AnyStr

import msgspec
from msgspec import UnsetType

from fleetaudit.caching.recent import Recent
from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Audited,
    NoTarget,
    Observation,
    ServiceCheck,
    ServiceResult,
    Target,
    Watched,
)
from fleetaudit.probe.protocol import REPLY_MARK, Reply
from fleetaudit.text.sanitize import QUOTE_MAX, printable_line

from . import Output

_HIDDEN = "…"
_SHORT = 4  # a password of fewer characters is a word by chance
# Characters: a password this long, of more than letters or digits alone, is in no value by chance.
_STRONG = 8
_MIN_PIECE = 3  # characters of a password at a cut that are worth hiding
_OF_THE_REPLY = {"void", *Reply.__struct_fields__} & {*Audited.__struct_fields__} - {
    "observations",
    "isolation",
}


_Observations = tuple[Observation, ...]


class Maskings:
    """The maskings of one run: targets with the same passwords share one. Threads may share it."""

    def __init__(self) -> None:
        self._known = Recent[frozenset[str], Masking](64)

    def of(self, target: Target | NoTarget) -> Masking:
        """Returns what hides the passwords of a target."""
        passwords = frozenset(_passwords(target))
        return self._known.get(passwords) or self._known.put(passwords, Masking(target))


class Masking:
    """Hides the passwords of one target, for the login and for `become`.

    A target without a password gets everything back as it is.
    """

    def __init__(self, target: Target | NoTarget) -> None:
        passwords = _passwords(target)
        # Longest first: one may begin with another.
        raw = sorted(map(_encode, passwords), key=len, reverse=True)
        forms = set(chain.from_iterable(map(_forms, passwords)))
        self._forms = sorted(forms, key=len, reverse=True)
        self._data = _any_text(map(re.escape, filter(_is_strong, self._forms)))
        self._raw = _any_bytes(_pattern(secret, rb"(?<!\w)", rb"(?!\w)") for secret in raw)
        self._text = _any_text(_pattern(form, r"(?<!\w)", r"(?!\w)") for form in self._forms)
        # What hosts share, by its identity, which the value keeps.
        self._whole = Recent[int, tuple[_Observations, _Observations]](32)
        self._single = Recent[int, tuple[Observation, Observation]](4096)

    def output(self, output: Output) -> Output:
        """Returns an output without passwords, except in its result line.

        That one is data, which `audited` masks once it is decoded.
        """
        if not self._has_password(output):
            return output
        stdout = b"\n".join(map(self._mask_line, output.stdout.split(b"\n")))
        return replace(output, stdout=stdout, stderr=self._mask_raw(output.stderr))

    def _has_password(self, output: Output) -> bool:
        """Returns whether a password is anywhere in an output."""
        if self._raw is None:
            return False
        return bool(self._raw.search(output.stderr) or self._raw.search(output.stdout))

    def _mask_line(self, line: bytes) -> bytes:
        """Returns a line of stdout without passwords; the result line stays as it is."""
        if line.startswith(REPLY_MARK):
            return line
        return self._mask_raw(line)

    def _mask_raw(self, printed: bytes) -> bytes:
        """Returns bytes that the host printed without passwords."""
        if self._raw is None:
            return printed
        return self._raw.sub(_HIDDEN.encode(), printed)

    def error(self, error: TransportError) -> TransportError:
        """Returns the same error, or one whose reason has no password."""
        return error.with_reason(self.text(error.reason))

    def audited(self, host: Audited) -> Audited:
        """Returns the same host, or a copy without passwords in its reply.

        Sentences (reasons, notes) are masked as by `text`, all other values as by `data`. The names
        of its plan, which are not the host's, stay as they are.
        """
        if self._text is None:
            return host
        observations = self._observations(host.observations)
        host = msgspec.structs.replace(host, observations=())
        if self._has_data(host):
            host = _mapped(host, self.data)
        return msgspec.structs.replace(
            host,
            notes=tuple(map(self.text, host.notes)),
            void=self.text(host.void),
            observations=observations,
            watch=self._watch(host.watch),
            services=self._services(host.services),
        )

    def _watch(self, watched: Watched | UnsetType) -> Watched | UnsetType:
        """Returns a watch without passwords in its sentences."""
        if isinstance(watched, UnsetType):
            return watched
        notes = tuple(map(self.text, watched.notes))
        return msgspec.structs.replace(watched, problem=self.text(watched.problem), notes=notes)

    def _services(
        self, services: tuple[ServiceResult, ...] | UnsetType
    ) -> tuple[ServiceResult, ...] | UnsetType:
        """Returns services without passwords in their sentences."""
        if isinstance(services, UnsetType):
            return services
        return tuple(map(self._service, services))

    def _service(self, service: ServiceResult) -> ServiceResult:
        """Returns one service without passwords in its sentences."""
        checks = tuple(map(self._check, service.checks))
        problem = self.text(service.problem)
        return msgspec.structs.replace(service, problem=problem, checks=checks)

    def _check(self, check: ServiceCheck) -> ServiceCheck:
        """Returns one check without passwords in its sentences."""
        problem, note = self.text(check.problem), self.text(check.wire_note)
        return msgspec.structs.replace(check, problem=problem, wire_note=note)

    def _observations(self, observations: _Observations) -> _Observations:
        """Returns the same observations, or others without passwords; those that hosts share are
        looked through once.
        """
        known = self._whole.get(id(observations))
        if known is not None:
            return known[1]
        masked = tuple(map(self._observation, observations))
        if all(map(operator.is_, masked, observations)):
            masked = observations
        return self._whole.put(id(observations), (observations, masked))[1]

    def _observation(self, o: Observation) -> Observation:
        """Returns the same observation, or one without passwords."""
        known = self._single.get(id(o))
        if known is not None:
            return known[1]
        masked = self._without_passwords(o)
        if not o.has_long_trace:
            self._single.put(id(o), (o, masked))
        return masked

    def _without_passwords(self, o: Observation) -> Observation:
        """Returns an observation without passwords in its values and sentences; the same one if it
        has none.
        """
        masked = o
        if self._has_data(o):
            masked = _mapped_observation(o, self.data)
        reason, note = self.text(masked.reason), self.text(masked.evidence.wire_note)
        if (reason, note) == (o.reason, o.evidence.wire_note):
            return masked
        evidence = msgspec.structs.replace(masked.evidence, wire_note=note)
        return msgspec.structs.replace(masked, reason=reason, evidence=evidence)

    def _has_data(self, value: Audited | Observation) -> bool:
        """Returns whether a password that is in no value by chance is in a value."""
        if self._data is None:
            return False
        return bool(self._data.search(msgspec.json.encode(value).decode()))

    def data(self, text: str) -> str:
        """Returns a value or a command without passwords, except those that may be in it by
        chance: short ones, and those of letters or digits alone.
        """
        if self._data is None:
            return text
        return self._data.sub(_HIDDEN, text)

    def text(self, text: str) -> str:
        """Returns a text without passwords, and without parts of them at a cut.

        `text` is a sentence: a reason or a note, sanitized and perhaps cut off with "…".
        """
        if not text or self._text is None:
            return text
        return self._without_pieces(self._text.sub(_HIDDEN, text))

    def _without_pieces(self, reason: str) -> str:
        """Returns a reason without the beginning of a password before a cut, and without the end of
        one after an opening quotation mark.
        """
        for form in self._forms:
            # Longest first. A reason quotes at most QUOTE_MAX characters of a host's text.
            for size in range(min(len(form) - 1, QUOTE_MAX), _MIN_PIECE - 1, -1):
                reason = reason.replace(f"{form[:size]}…", "…").replace(f"“{form[-size:]}", "“…")
        return reason


def _passwords(target: Target | NoTarget) -> set[str]:
    """Returns the passwords of a target, for the login and for `become`."""
    if isinstance(target, NoTarget):
        return set()
    secrets = [target.password]
    if target.become:
        secrets.append(target.become.password)
    passwords = (secret.reveal() for secret in filter(None, secrets))
    return set(filter(str.strip, passwords))


def _encode(password: str) -> bytes:
    """Returns a password as it was sent: bytes of its file that are not UTF-8 are kept."""
    return password.encode("utf-8", "surrogateescape")


def _is_strong(form: str) -> bool:
    """Returns whether a value cannot have this text by chance.

    True for "abcdefg1", False for "abcdefgh" and "12345678" (one kind alone) and for "abc1".
    """
    return len(form) >= _STRONG and not (form.isalpha() or form.isdecimal())


def _any_text(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """Returns a pattern that matches any of these, None if there are none."""
    pattern = "|".join(patterns)
    if not pattern:
        return None
    return re.compile(pattern)


def _any_bytes(patterns: Iterable[bytes]) -> re.Pattern[bytes] | None:
    """Returns the same for bytes."""
    pattern = b"|".join(patterns)
    if not pattern:
        return None
    return re.compile(pattern)


def _mapped(host: Audited, masked: Callable[[str], str]) -> Audited:
    """Returns the host with every text of its reply masked, except its observations; the names of
    its plan stay as they are.
    """
    body = msgspec.to_builtins(host)
    for name in _OF_THE_REPLY & body.keys():  # what is unset has no key
        body[name] = _mapped_value(body[name], masked)
    return msgspec.convert(body, Audited)


def _mapped_observation(o: Observation, masked: Callable[[str], str]) -> Observation:
    """Returns the observation with every text of its reply masked."""
    body = msgspec.to_builtins(o)
    for name in ("evidence", "reason"):
        body[name] = _mapped_value(body[name], masked)
    return msgspec.convert(body, Observation)


def _mapped_value(value: object, masked: Callable[[str], str]) -> object:
    """Returns a value with every text in it masked, keys too."""
    match value:
        case str():
            return masked(value)
        case dict():
            return {
                _mapped_value(key, masked): _mapped_value(inner, masked)
                for key, inner in value.items()
            }
        case list() | tuple():
            return [_mapped_value(inner, masked) for inner in value]
        case _:
            return value


def _forms(text: str) -> tuple[str, ...]:
    """Returns a password as it is, sanitized for a reason, and as Python or JSON quote it."""
    return (
        text,
        printable_line(text, len(text)),
        repr(text)[1:-1],
        ascii(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
    )


def _pattern(secret: AnyStr, before: AnyStr, after: AnyStr) -> AnyStr:
    """Returns a pattern for a password; one of a few characters matches only as a word of its
    own.
    """
    pattern = re.escape(secret)
    if len(secret) >= _SHORT:
        return pattern
    return before + pattern + after
