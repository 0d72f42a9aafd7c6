"""What the mappings of a playbook have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fleetaudit.model import Severity

Text = Annotated[str, Meta(min_length=1, max_length=4000)]
Tag = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", max_length=64)]
Tags = Annotated[
    list[Tag],
    Meta(
        max_length=64,
        description="For --tags and --skip-tags, as in Ansible; “always” and “never” are special.",
    ),
]
FindingSeverity = Annotated[
    Severity,
    Meta(
        description="Severity of the finding if this is not met: info, warning (default) or error."
    ),
]
Because = Annotated[
    str, Meta(max_length=4000, description="Why this is expected, with the source.")
]
Fix = Annotated[
    str,
    Meta(
        max_length=4000,
        description="What to do if it is not met; replaces the advice of fleetaudit.",
    ),
]


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every mapping in a playbook: an unknown key is an error."""


class ConditionFile(File, frozen=True, kw_only=True):
    """Where an expectation applies. Elsewhere it is not judged; what runs on a host stays the
    same.
    """

    groups: Annotated[
        str | list[Text],
        Meta(description="Hosts of one of these inventory groups, or of this one."),
    ] = []
    kernel: Annotated[
        str,
        Meta(
            max_length=200,
            description=(
                "Kernel releases: comparisons separated by commas, such as “>=6.1, <6.12”. Only the"
                " numbers that are written count, so “==6.1” is the whole series."
            ),
        ),
    ] = ""
