"""What the services of a run did: which lose answers, when they close, and the cures. Pure.

Rules: text of hosts stays as it came; each output sanitizes it. A service that could not be asked
is listed with its reason, and none of its numbers count as 0.
"""

from .model import CheckRow, NotAsked, ServiceRow, ServiceTable
from .servers import Cure, find_cure, find_product
from .table import check_rows, has_services, rows_by_check, service_table, shares

__all__ = [
    "CheckRow",
    "Cure",
    "NotAsked",
    "ServiceRow",
    "ServiceTable",
    "check_rows",
    "find_cure",
    "find_product",
    "has_services",
    "rows_by_check",
    "service_table",
    "shares",
]
