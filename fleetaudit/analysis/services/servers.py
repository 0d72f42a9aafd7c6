"""Which server answers, and what its administrator can change; each fact has its source. Pure."""

from __future__ import annotations

from fleetaudit.model import ServiceCheckName
from fleetaudit.model.base import Frozen


class Cure(Frozen, frozen=True, kw_only=True):
    """What to change in a server for one check, and the sources of that."""

    product: str
    check: ServiceCheckName
    text: str
    sources: tuple[str, ...]


def find_product(server: str, executable: str) -> str:
    """Returns the server that a Server header and an executable name, "" if it is not known."""
    return ""


def find_cure(product: str, check: ServiceCheckName) -> Cure | None:
    """Returns what to change in a server, None if nothing is known."""
    return None
