"""Writes JSON."""

import sys

from .constants import MAX_SECONDS

TEXT = type(b"".decode("ascii"))  # unicode in Python 2


def json_of(value):
    """Returns `value` as JSON in ASCII: dicts, lists, tuples, text, numbers, True, False and None."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return (
            "{" + ",".join(json_of(str(k)) + ":" + json_of(value[k]) for k in sorted(value)) + "}"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([json_of(v) for v in value]) + "]"
    if isinstance(value, float):
        return "%.6f" % value if abs(value) <= MAX_SECONDS else "null"
    if not isinstance(value, (bytes, TEXT)):
        return str(int(value))
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return (
        '"' + "".join([c if " " <= c <= "~" and c not in '"\\' else escape(c) for c in value]) + '"'
    )


def escape(char):
    """Returns one character as JSON escapes it; beyond U+FFFF as a pair of surrogates."""
    code = ord(char)
    if (
        0xD800 <= code < 0xE000 and sys.version_info[0] > 2
    ):  # a byte that was no UTF-8; half a pair is no JSON
        code = 0xFFFD
    if code > 0xFFFF:
        code -= 0x10000
        return "\\u%04x\\u%04x" % (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF))
    return "\\u%04x" % code
