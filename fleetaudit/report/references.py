"""Links from the texts of a playbook to what they name: RFCs, kernel commits, kernel documentation.

Rules: only the number goes into the address, and the places are fixed. So whatever a playbook says,
a link leads to the RFC editor or to kernel.org. Never for text that a host sent.
"""

from __future__ import annotations

import re

from markupsafe import Markup

from fleetaudit.text.phrases import surround

RFC = "https://www.rfc-editor.org/rfc/rfc"
COMMIT = "https://git.kernel.org/linus/"
IP_SYSCTL = "https://docs.kernel.org/networking/ip-sysctl.html"

_REFERENCE = re.compile(
    r"\bRFC (?P<rfc>[1-9][0-9]{0,4})(?: sections? (?P<section>[0-9]+(?:\.[0-9]+)*))?\b"
    r"|\bcommit (?P<commit>[0-9a-f]{12,40})\b"
    r"|\b(?P<document>ip-sysctl)\b",
    re.ASCII,
)
_LINK = Markup('<a href="{}" rel="noreferrer">{}</a>')


def link_references(text: str) -> Markup:
    """Returns a text in HTML in which RFCs ("RFC 2525 section 2.17"), commits ("commit" and 12 to
    40 hexadecimal digits) and ip-sysctl are links.

    `text` has no invisible characters: `document.page_text` has escaped them.
    """
    linked, end = Markup(""), 0
    for found in _REFERENCE.finditer(text):
        linked += text[end : found.start()]
        linked += _LINK.format(_address(found), found[0])
        end = found.end()
    return Markup("<bdi>{}</bdi>").format(linked + text[end:])


def _address(found: re.Match[str]) -> str:
    """Returns the address of a reference."""
    if found["commit"]:
        return COMMIT + found["commit"]
    if found["document"]:
        return IP_SYSCTL
    return f"{RFC}{found['rfc']}{surround('#section-', found['section'] or '')}"
