"""fleetaudit audits how the hosts of a fleet close a TCP connection: FIN or RST, on each kernel.

Data goes one way and touches the network once:

    inventory.yml ── inventory ── Inventory ┐                     ┌ ssh      a remote host
                     connection ─ Target ───┤                     ├ openssh  by the system's ssh
    playbook.yml ─── playbook ─── Plan ─────┴ engine ─ protocol ──┤ local    this machine
                                                       (request)  └ kernel   an image under QEMU
                                                                       │ the probe runs there
    report.html ┐                                                      ▼ one line of JSON
    junit, csv… ┴ report ─ Comparison ─ analysis ─ AuditRun ─ store ─ HostResult ─ probe.verdict

Each package has one job, and imports go down this list (tests/unit/test_architecture.py holds it):

    cli         options in, app called, text and exit status out; only it imports click and rich
    app         use cases without a terminal: audit, merge, doctor, diff…; the Python API
    report      one output a file, and one registry of them; decides nothing
    analysis    pure: judge (expectations), compare (a run), drift (two runs), waivers, remediation
    store       a run folder: journal, manifest, lock, retention, evidence deduplication
    engine      many hosts at once: scheduling, deadlines, retries; one result for every host
    transport   bytes under one deadline, no JSON and no scenarios
    probe       the program that runs on a host (remote/), the protocol with it, and the verdict
    playbook    scenarios, steps, expectations; which host runs what
    connection  variables, options, ansible.cfg and ssh_config of a host become its Target
    inventory   Ansible's inventories and patterns; nothing about connecting
    model, text, errors   frozen nouns; sanitizing, YAML with lines, host ranges; one root of errors

To follow one RST from close() to its cell in the page: probe/remote/verbs.py, probe/protocol.py,
probe/trial_verdict.py, analysis/compare/kernels.py, report/templates/kernels.html. `fleetaudit
doctor` does the same without an experiment.

The Python API is in `__all__`; docs/api.md shows it. It is loaded when it is first used, so that
`fleetaudit --version` stays fast.
"""

from __future__ import annotations

import importlib
import logging
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

# A library does not print: without a handler of its own, logging would write warnings to stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Loads a name of the API when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'app.api')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
