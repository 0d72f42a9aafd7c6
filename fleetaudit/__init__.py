"""fleetaudit audits how the hosts of a fleet close a TCP connection with unread data: FIN or RST,
on each kernel.

Data goes one way, and touches the network once:

    inventory.yml ── inventory ── Inventory ┐                              ┌ ssh      remote host
                     connection ─ Target ───┤                              ├ openssh  remote host
    playbook.yml ─── playbook ─── Plan ─────┴ engine ─ probe.protocol ─────┤ local    this machine
                                                                           └ kernel   under QEMU
                                                                               │ the probe runs
    report.html ┐                                                              ▼ one line of JSON
    junit, csv… ┴ report ─ Comparison ─ analysis ─ AuditRun ─ store ─ HostResult ─ probe.verdict

To follow one RST from close() to its cell in the page: probe/remote/verbs.py, probe/protocol.py,
probe/trial_verdict.py, analysis/compare/kernels.py, report/templates/kernels.html. Imports go down
the list of packages in tests/unit/test_architecture.py; docs/architecture.md explains them.
"""

__version__ = "0.1.0"
