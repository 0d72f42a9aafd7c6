"""Writes fleetaudit/schema/ again, from the types that read and write those files.

python -m tests.support.schemas
"""

from __future__ import annotations

from collections.abc import Callable

from fleetaudit.analysis import bisection, doctor, drift, explanation, history, waivers
from fleetaudit.analysis.kernel_table import model as kernel_table
from fleetaudit.playbook import format as playbook
from fleetaudit.report import site
from fleetaudit.store import run_list
from fleetaudit.store.run_file import run_schema
from tests import SCHEMAS

WRITERS: dict[str, Callable[[], bytes | str]] = {
    "bisect": bisection.json_schema,
    "doctor": doctor.json_schema,
    "drift": drift.json_schema,
    "explain": explanation.json_schema,
    "history": history.json_schema,
    "kernel-table": kernel_table.json_schema,
    "playbook": playbook.json_schema,
    "run": run_schema,
    "runs": run_list.json_schema,
    "site": site.json_schema,
    "waivers": waivers.json_schema,
}


def main() -> None:
    for name, schema in WRITERS.items():
        text = schema()
        path = SCHEMAS / f"{name}.schema.json"
        path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)


if __name__ == "__main__":
    main()
