"""fleetaudit audits how the hosts of a fleet close a TCP connection: FIN or RST, on each kernel.

Data flows in one direction; only one step, the transport, uses the network:

    inventory.yml ── inventory ── Inventory ┐                     ┌ ssh      a remote host
                     connection ─ Target ───┤                     ├ openssh  by the system's ssh
    playbook.yml ─── playbook ─── Plan ─────┴ engine ─ protocol ──┤ local    this machine
                                                       (request)  └ kernel   an image under QEMU
                                                                       │ the probe runs there
    report.html ┐                                                      ▼ one line of JSON
    junit, csv… ┴ report ─ Comparison ─ analysis ─ AuditRun ─ store ─ HostResult ─ probe.verdict

Each package has one job, and imports go down this list (tests/unit/test_architecture.py checks it):

    cli         parses options, calls app, prints; the only package that imports click and rich
    app         use cases without a terminal: audit, merge, doctor, diff…; the Python API
    report      one module per output format, and a registry of them; decides nothing
    analysis    pure: judge (expectations), compare (a run), drift and run_diff (two), waivers…
    store       a run folder: journal, manifest, lock, retention, evidence deduplication
    engine      many hosts at once: scheduling, deadlines, retries; one result for every host
    transport   moves bytes under one deadline; knows no JSON and no scenarios
    probe       the program that runs on a host (remote/), the protocol with it, and the verdict
    playbook    scenarios, steps, expectations; which host runs what
    connection  makes a host's Target from variables, options, ansible.cfg and ssh_config
    inventory   Ansible's inventories and patterns; nothing about connecting
    model, text, errors   frozen data types; sanitizing, YAML with lines, host ranges; all errors
    caching     what is computed once for values that nearly every host has
    log         the loggers of all of them

To follow one RST from close() to its cell in the page, read probe/remote/verbs.py,
probe/protocol.py, probe/trial_verdict.py, analysis/compare/kernels.py and
report/templates/kernels.html in this order. `fleetaudit doctor` runs the same stages without an
experiment.

The Python API is `__all__`; docs/api.md describes it. Its modules are imported on first use, so
that `fleetaudit --version` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.app.api import (
        audit,
        compare,
        diff,
        load_inventory,
        load_playbook,
        load_run,
        merge,
        render,
    )
    from fleetaudit.app.planning import LoadedInventory
    from fleetaudit.connection.options import ConnectionOptions
    from fleetaudit.engine import EngineSettings, StopRequest
    from fleetaudit.errors import FleetauditError
    from fleetaudit.model import Audited, AuditRun, Drift, HostResult, NotAudited, Playbook, Secret

__version__ = "0.1.0"

__all__ = [
    "AuditRun",
    "Audited",
    "Comparison",
    "ConnectionOptions",
    "Drift",
    "EngineSettings",
    "FleetauditError",
    "HostResult",
    "LoadedInventory",
    "NotAudited",
    "Playbook",
    "Secret",
    "StopRequest",
    "audit",
    "compare",
    "diff",
    "load_inventory",
    "load_playbook",
    "load_run",
    "merge",
    "render",
]

_MODULES = {
    "Comparison": "analysis.compare",
    "ConnectionOptions": "connection.options",
    "EngineSettings": "engine",
    "FleetauditError": "errors",
    "LoadedInventory": "app.planning",
    "StopRequest": "engine",
    **dict.fromkeys(
        ("AuditRun", "Audited", "Drift", "HostResult", "NotAudited", "Playbook", "Secret"), "model"
    ),
}
"""The module of each type of the API; the functions are in `app.api`."""


def __getattr__(name: str) -> Any:
    """Loads a name of the API when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'app.api')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
