"""Recognizes files of secrets by how they begin, so that no error quotes a line of one. Pure."""

from __future__ import annotations

import re

_HEAD = 4096
_SECRETS = (
    (re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"), "a private key"),
    (re.compile(r"PuTTY-User-Key-File"), "a private key"),
    # shadow(5): nine fields; and files of htpasswd(1).
    (re.compile(r"[^:\s]{1,64}:[^:\s]*(?::[0-9-]{0,20}){7}\s*$", re.MULTILINE), "passwords"),
    (re.compile(r"[^:\s]{1,64}:\$[0-9a-z]{1,10}\$[^:\s]{8}"), "passwords"),
)


def secret_kind(text: str) -> str:
    """Returns what secrets the text of a file begins with, "" if it does not look like any.

    It is "a private key" or "passwords", in the words of a message. Blank lines do not count.
    """
    head = text[:_HEAD].lstrip()
    return next((kind for pattern, kind in _SECRETS if pattern.match(head)), "")
