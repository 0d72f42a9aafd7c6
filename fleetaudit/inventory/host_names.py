"""Parses host names of inventories: `web[01:10:2]`, `db:2222`, `[::1]:22`: names and a port.

Pure. Rules: what Ansible accepts means the same here. What Ansible turns into a name that no host
can have (`web:ssh`, `web1 web2`) or into no host at all (`web[5:1]`) is an error, because such a
host would silently be missing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from fleetaudit.text.sanitize import first_invisible, is_plain, shorten

from .entries import Origin
from .name_ranges import InvalidNameError, expand_ranges

__all__ = [
    "InvalidNameError", "check_group_name", "check_host_name", "is_address", "parse_host_name",
    "parse_host_name_at",
]  # fmt: skip

MAX_NAME = 1024
"""Maximum number of characters of a name; a host's name in the DNS has at most 253."""
_QUOTED_MAX = 2000
_RANGE = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.IGNORECASE)
_HEX_RANGE = re.compile(r"(?<![^:])\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\](?![^:])", re.IGNORECASE)
_LABEL = re.compile(r"(?:\w[\w-]*)?[^\W_]")
_BRACKETED = re.compile(r"\[(.+)\]:([^\]]*)")
_WITH_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):(.*)")
_NUMBER_AFTER_BRACKETS = re.compile(r"\[(.+)\]:\d+")
_NUMBER_AFTER_NAME = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):\d+")
_IN_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_FORBIDDEN = re.compile(r"[\s,\x00-\x1f\x7f]")


def parse_host_name(text: str) -> tuple[Sequence[str], int | None]:
    """Returns the names that `text` stands for, in order, and the port that they share.

    `text` is one entry of an inventory: a name or an address, with ranges such as `web[01:10:2]`
    and with a port, which needs brackets around an IPv6 address (`[::1]:22`). The port is None if
    there is none. Raises `InvalidNameError` for what no host can be called, for a port that is not
    1 to 65535, for an invalid range, and for more than 100,000 names. Ansible: `parse_address` in
    parsing/utils/addresses.py, and "How to build your inventory: adding ranges of hosts".
    """
    check_host_name(text)
    pattern, port = _split_port(text)
    if "[" in pattern:
        _check_brackets(pattern)
    if port is None:
        return expand_ranges(pattern), None
    number = _parse_port(text, port)
    return expand_ranges(pattern), number


def parse_host_name_at(text: str, at: Origin) -> tuple[Sequence[str], int | None]:
    """Returns what `parse_host_name` returns; raises `InputError` at the place where `text` is."""
    try:
        return parse_host_name(text)
    except InvalidNameError as e:
        raise at.error(e.message, e.hint) from e


def check_group_name(name: str, at: Origin) -> None:
    """Raises `InputError` for a group's name that is too long, or has an invisible character.

    Any other text can be the name of a group, as in Ansible.
    """
    try:
        _check_length(name)
        _check_visible(name)
    except InvalidNameError as e:
        raise at.error(e.message, e.hint) from e


def check_host_name(text: str) -> None:
    """Raises `InvalidNameError` for a text that cannot be a name with ranges and a port.

    Such a text is empty or too long, has blanks or control characters in it, or is a template.
    """
    if not text:
        raise _empty_name()
    if forbidden := _FORBIDDEN.search(text):
        raise _invalid_name(text, forbidden[0])
    _check_length(text)
    _check_visible(text)
    if "{{" in text:
        raise InvalidNameError(
            f"“{shorten(text)}” is a template; a host's name cannot be one",
            "put the template in ansible_host",
        )


def _check_length(text: str) -> None:
    """Raises `InvalidNameError` for a name of more than `MAX_NAME` characters."""
    if len(text) > MAX_NAME:
        raise InvalidNameError(
            f"“{shorten(text)}” is longer than {MAX_NAME} characters", "is a line's end missing?"
        )


def _check_visible(text: str) -> None:
    """Raises `InvalidNameError` for a name with an invisible character: it looks like another name.

    Such characters are escape sequences, marks that reverse the direction of text, fillers, blanks
    of other widths, lone surrogates, and combining marks that would be drawn over other text.
    """
    if is_plain(text):
        return
    if invisible := first_invisible(text):
        raise InvalidNameError(
            f"an invisible character, U+{ord(invisible):04X}, in the name “{shorten(text)}”",
            "retype it",
        )


def is_address(text: str) -> bool:
    """Returns whether `text` is one name, IPv4 or IPv6 address, and not a list of names.

    It may have ranges and a port. The colons of an address do not separate the parts of a pattern,
    so that a pattern is tried as an address before it is split.
    """
    bracketed = _NUMBER_AFTER_BRACKETS.fullmatch(text)
    if bracketed and _is_name_or_ipv6(bracketed[1]):
        return True
    with_number = _NUMBER_AFTER_NAME.fullmatch(text)
    if with_number and _is_name(with_number[1]):
        return True
    return _is_name_or_ipv6(text)


def _check_brackets(pattern: str) -> None:
    """Raises `InvalidNameError` if what is in brackets is an IPv6 address and not a range."""
    for inside in _IN_BRACKETS.findall(pattern):
        if _is_ipv6(inside):
            raise InvalidNameError(
                f"“{shorten(pattern)}”: an IPv6 address is in brackets only where a port follows",
                f"write {inside}, or [{inside}]:22 for another port",
            )


def _empty_name() -> InvalidNameError:
    """Returns the error about a text that is empty or blank."""
    return InvalidNameError("an empty host name", "write the name, or remove the entry")


def _invalid_name(text: str, character: str) -> InvalidNameError:
    """Returns the error about a text that is blank, or has a forbidden character in it.

    The hint depends on what the text looks like: a line of an INI file, lines that YAML folded into
    one, or an escape sequence.
    """
    words = " ".join(text[:_QUOTED_MAX].split())
    if not words:
        return _empty_name()
    if character.isspace() and "=" in words:
        return InvalidNameError(
            f"“{shorten(words.split()[0])} …” has a variable in its name, as INI inventories write"
            " them",
            "in YAML a host is a key and its variables are below it:  web1: {ansible_host:"
            " 192.0.2.1}",
        )
    if character == "," or character.isspace():
        return InvalidNameError(
            f"“{shorten(words)}” is not a host name: several names in one, folded from several"
            " lines or from a list?",
            "one host a line, each with a colon at its end:  web1:",
        )
    return InvalidNameError(
        f"a control character, U+{ord(character):04X}, in a host name", "retype the name"
    )


def _split_port(text: str) -> tuple[str, str | None]:
    """Returns the pattern of the name and the text of the port, None if there is none.

    Where the colons belong to an IPv6 address there is no port: one with a port is in brackets.
    Raises `InvalidNameError` for text before the port that Ansible would not take for a name.
    """
    if ":" not in text:
        return text, None
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed and _is_name_or_ipv6(bracketed[1]):
        return bracketed[1], bracketed[2]
    with_port = _WITH_PORT.fullmatch(text)
    if not with_port or _is_ipv6(text):
        return text, None
    name, port = with_port.groups()
    if bracketed:  # Ansible reads [1:3]:22 as the host 1 at port 3
        raise InvalidNameError(
            f"“{shorten(text)}”: what is in brackets is not an IPv6 address",
            "write [2001:db8::1]:22, or name:22",
        )
    if not _is_name(name):
        raise InvalidNameError(
            f"“{shorten(name)}” in “{shorten(text)}” is not a host name that can have a port",
            "use ansible_port instead",
        )
    return name, port


def _parse_port(text: str, port: str) -> int:
    """Returns the number of the port in `text`.

    Raises `InvalidNameError`: Ansible makes a name of `web:ssh`, which no host has.
    """
    if port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536:
        return int(port)
    raise InvalidNameError(
        f"“{shorten(port)}” in “{shorten(text)}” is not a port",
        "a port is a number from 1 to 65535; an IPv6 address has eight groups or “::”",
    )


def _is_name(text: str) -> bool:
    """Returns whether Ansible takes `text` for a host name or an IPv4 address, ranges included.

    Only then a port may follow.
    """
    return all(map(_LABEL.fullmatch, _RANGE.sub("0", text).split(".")))


def _is_ipv6(text: str) -> bool:
    """Returns whether `text` is an IPv6 address, ranges included.

    A range stands for one whole group of the address, and its numbers are hexadecimal.
    """
    if ":" not in text:
        return False
    try:
        ipaddress.IPv6Address(_HEX_RANGE.sub("1", text))
    except ValueError:
        return False
    return True


def _is_name_or_ipv6(text: str) -> bool:
    """Returns whether `text` is a host name or an address, ranges included."""
    return _is_name(text) or _is_ipv6(text)
