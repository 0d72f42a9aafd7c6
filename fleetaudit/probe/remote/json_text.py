"""Writes JSON, in ASCII: python3-minimal has no json module."""

import sys
from typing import Any, Callable, Dict

from .constants import MAX_SECONDS

TEXT = type(b"".decode("ascii"))  # unicode in Python 2
PLAIN = frozenset(chr(code) for code in range(0x20, 0x7F)) - frozenset('"\\')


def to_json(value):
    # type: (Any) -> str
    """Returns JSON of dicts, lists, tuples, text, bytes (UTF-8), numbers, True, False and None."""
    return WRITERS.get(type(value), integer_to_json)(value)


def object_to_json(value):
    # type: (Any) -> str
    members = [to_json(str(key)) + ":" + to_json(value[key]) for key in sorted(value)]
    return "{" + ",".join(members) + "}"


def array_to_json(value):
    # type: (Any) -> str
    return "[" + ",".join(map(to_json, value)) + "]"


def integer_to_json(value):
    # type: (Any) -> str
    return str(int(value))


def float_to_json(value):
    # type: (float) -> str
    """Returns a number with microseconds, null for one that is no number of seconds."""
    return "%.6f" % value if abs(value) <= MAX_SECONDS else "null"


def bytes_to_json(value):
    # type: (bytes) -> str
    return text_to_json(value.decode("utf-8", "replace"))


def text_to_json(value):
    # type: (str) -> str
    return '"' + "".join([c if c in PLAIN else escape(c) for c in value]) + '"'


def escape(char):
    # type: (str) -> str
    """Returns one character as JSON escapes it; beyond U+FFFF as a pair of surrogates."""
    code = ord(char)
    if 0xD800 <= code < 0xE000 and sys.version_info[0] > 2:
        code = 0xFFFD  # a byte that was not UTF-8; half a pair is not JSON
    if code > 0xFFFF:
        code -= 0x10000
        return "\\u%04x\\u%04x" % (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF))
    return "\\u%04x" % code


WRITERS = {
    type(None): lambda value: "null",
    bool: {False: "false", True: "true"}.__getitem__,
    dict: object_to_json,
    list: array_to_json,
    tuple: array_to_json,
    float: float_to_json,
    bytes: bytes_to_json,
    TEXT: text_to_json,
}  # type: Dict[type, Callable[[Any], str]]
