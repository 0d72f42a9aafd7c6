"""Host names as inventories write them: `web[01:10:2]`, `db:2222`, `[::1]:22` become plain names
and a port. Pure.

Rules: what Ansible accepts means the same here. What Ansible turns into a name that can be no
host's (`web:ssh`, `web1 web2`) or into no host at all (`web[5:1]`) is refused, because such a host
would silently be missing.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
import re
import string
from collections.abc import Sequence

from fleetaudit.text.sanitize import shorten

MAX_NAMES = 100_000
"""How many names one line may stand for."""

_LOOKED_AT = 2000
_RANGE = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.IGNORECASE)
_HEX_RANGE = re.compile(r"(?<![^:])\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\](?![^:])", re.IGNORECASE)
_LABEL = re.compile(r"(?:\w[\w-]*)?[^\W_]")
_BRACKETED = re.compile(r"\[(.+)\]:([^\]]*)")
_WITH_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):(.*)")
_NO_NAME = re.compile(r"[\s,\x00-\x1f\x7f]")
MAX_NAME = 1024
"""How many characters a name may have; a host's name in the DNS has at most 253."""


class InvalidNameError(ValueError):
    """A name that is none; `hint` says what would do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


def parse_host_name(text: str) -> tuple[Sequence[str], int | None]:
    """Returns the names that `text` stands for, in order, and the port they share; raises
    `InvalidNameError`.
    """
    check_host_name(text)
    pattern, port = _split_port(text)
    return _expand(pattern), None if port is None else _port(text, port)


def check_host_name(text: str) -> None:
    """Raises `InvalidNameError` for a text that can be no name, range or port: empty, with blanks in it,
    a template.
    """
    odd = _NO_NAME.search(text)
    if not text or odd:
        raise _no_name(text, odd[0] if odd else "")
    if len(text) > MAX_NAME:
        raise InvalidNameError(
            f"“{shorten(text)}” is longer than {MAX_NAME} characters", "is a line's end missing?"
        )
    check_printable(text)
    if "{{" in text:
        raise InvalidNameError(
            f"“{shorten(text)}” is a template; a host's name cannot be one",
            "put the template in ansible_host",
        )


def check_printable(text: str) -> None:
    """Raises `InvalidNameError` for a name with a character in it that one cannot see: it would be taken
    for another one.

    Among them are escape sequences, marks that reverse the direction of what follows, and halves of
    characters.
    """
    if not text.isprintable():
        odd = next(character for character in text if not character.isprintable())
        raise InvalidNameError(
            f"a character that one cannot see, U+{ord(odd):04X}, in the name “{shorten(text)}”",
            "retype it",
        )


def is_address(text: str) -> bool:
    """Returns whether `text` is one name, IPv4 or IPv6 address, with ranges or a port or without,
    and no list.
    """
    bracketed = _BRACKETED.fullmatch(text)
    if (
        bracketed
        and bracketed[2].isdecimal()
        and (_is_ipv6(bracketed[1]) or _is_name(bracketed[1]))
    ):
        return True
    with_port = _WITH_PORT.fullmatch(text)
    if with_port and with_port[2].isdecimal() and _is_name(with_port[1]):
        return True
    return _is_name(text) or _is_ipv6(text)


def _no_name(text: str, odd: str) -> InvalidNameError:
    words = " ".join(text[:_LOOKED_AT].split())
    if not words:
        return InvalidNameError("an empty host name", "write the name, or remove the entry")
    if "=" in words and odd.isspace():
        return InvalidNameError(
            f"“{shorten(words.split()[0])} …” has a variable in its name, as INI inventories write"
            " them",
            "in YAML a host is a key and its variables are below it:  web1: {ansible_host:"
            " 192.0.2.1}",
        )
    if odd.isspace() or odd == ",":
        return InvalidNameError(
            f"“{shorten(words)}” is no host name: several names in one, folded from several lines or"
            " from a list?",
            "one host a line, each with a colon at its end:  web1:",
        )
    return InvalidNameError(
        f"a control character, U+{ord(odd):04X}, in a host name", "retype the name"
    )


def _split_port(text: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed and (_is_ipv6(bracketed[1]) or _is_name(bracketed[1])):
        return bracketed[1], bracketed[2]
    if ":" not in text or _is_ipv6(text):
        return text, None
    with_port = _WITH_PORT.fullmatch(text)
    if not with_port:
        return text, None
    name, port = with_port.groups()
    if bracketed:  # Ansible reads [1:3]:22 as the host 1 at port 3
        raise InvalidNameError(
            f"“{shorten(text)}”: what is in brackets is no IPv6 address",
            "write [2001:db8::1]:22, or name:22",
        )
    if not _is_name(name):
        raise InvalidNameError(
            f"“{shorten(name)}” in “{shorten(text)}” is no host name that can have a port",
            "use ansible_port instead",
        )
    return name, port


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        hint = "a port is a number from 1 to 65535; an IPv6 address has eight groups or “::”"
        raise InvalidNameError(f"“{shorten(port)}” in “{shorten(text)}” is no port", hint)
    return int(port)


def _is_name(text: str) -> bool:
    """Whether Ansible takes `text` for a host name (or IPv4 address), ranges included, and so a
    port may follow.
    """
    return all(_LABEL.fullmatch(label) for label in _RANGE.sub("0", text).split("."))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(_HEX_RANGE.sub("1", text))
    except ValueError:
        return False
    return True


def _expand(pattern: str) -> Sequence[str]:
    if "[" not in pattern and "]" not in pattern:
        return (pattern,)
    pieces = re.split(r"\[([^\[\]]*)\]", pattern)
    if any("[" in literal or "]" in literal for literal in pieces[::2]):
        raise InvalidNameError(
            f"a bracket in “{shorten(pattern)}” has no partner",
            "a range is written web[01:10] or db-[a:f]",
        )
    ranges = [_range(pattern, piece) for piece in pieces[1::2]]
    count = math.prod(len(r) for _, r in ranges)
    if count > MAX_NAMES:
        hint = f"write ranges of at most {MAX_NAMES} names"
        raise InvalidNameError(
            f"“{shorten(pattern)}” stands for {count} names, more than the {MAX_NAMES} allowed",
            hint,
        )
    choices = list[Sequence[str]]()
    for literal, (width, numbers) in itertools.zip_longest(
        pieces[::2], ranges, fillvalue=(0, None)
    ):
        choices.append((str(literal),))
        if isinstance(numbers, str):
            choices.append(numbers)
        elif numbers is not None:
            choices.append([str(n).zfill(width) for n in numbers])
    return ["".join(parts) for parts in itertools.product(*choices)]


def _range(pattern: str, piece: str) -> tuple[int, str | range]:
    """Returns the width to fill with zeros and the numbers, or 0 and the letters, of one range
    without its brackets.
    """
    if _is_ipv6(piece):
        hint = f"write {piece}, or [{piece}]:22 for another port"
        raise InvalidNameError(
            f"“{shorten(pattern)}”: an IPv6 address is in brackets only where a port follows", hint
        )
    hint = "a range is written [begin:end] or [begin:end:step], as in web[01:10] or db-[a:f]"
    bounds = piece.split(":")
    if not 2 <= len(bounds) <= 3 or not bounds[1]:
        raise InvalidNameError(f"“[{shorten(piece)}]” in “{shorten(pattern)}” is no range", hint)
    begin, end, step = bounds[0] or "0", bounds[1], bounds[2] if len(bounds) == 3 else "1"
    if not re.fullmatch(r"[0-9]{1,9}", step) or int(step) == 0:
        raise InvalidNameError(
            f"“[{shorten(piece)}]” in “{shorten(pattern)}”: the step must be a number above 0", hint
        )
    members: str | range
    width = 0
    if re.fullmatch(r"[A-Za-z]:[A-Za-z]", f"{begin}:{end}"):
        letters = string.ascii_letters
        members = letters[letters.index(begin) : letters.index(end) + 1 : int(step)]
    elif re.fullmatch(r"[0-9]{1,18}:[0-9]{1,18}", f"{begin}:{end}"):
        if begin[0] == "0" and len(begin) > 1:
            width = len(begin)
            if len(end) != width:
                wanted = f"[{begin}:{end.zfill(width)}]"
                raise InvalidNameError(
                    f"“[{shorten(piece)}]” in “{shorten(pattern)}”: begin and end differ in length",
                    f"write {wanted}",
                )
        members = range(int(begin), int(end) + 1, int(step))
    else:
        raise InvalidNameError(
            f"“[{shorten(piece)}]” in “{shorten(pattern)}” is no range of numbers or of letters",
            hint,
        )
    if not members:
        raise InvalidNameError(
            f"“[{shorten(piece)}]” in “{shorten(pattern)}” is empty: it ends before it begins", hint
        )
    return width, members
