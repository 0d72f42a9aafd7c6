"""The view of the hosts of one row of a table that the list of hosts can be filtered by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from fleetaudit.text.host_ranges import HostRanges

ListFilter = Literal["resets", "unreadby", "unwatched", "service", "unasked"]
"""A filter of hosts by a row of the tables of resets and services."""
RowLabel = tuple[ListFilter, str]
"""What names a row in addresses: its filter, and the value of that filter."""


class ListedHosts(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts of one row: folded, and one by one; `row` finds them in the list of hosts."""

    row: RowLabel
    hosts: HostRanges
    names: tuple[str, ...]

    @property
    def filters(self) -> Mapping[str, str]:
        """The filter of these hosts."""
        name, label = self.row
        return {name: label}
