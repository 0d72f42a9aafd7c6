"""fleetaudit audits how the hosts of a fleet close a TCP connection with unread data: FIN or RST,
on each kernel.

The corridor; data goes one way, and touches the network once:

    inventory.yml ─ inventory/ ─ Inventory ┐                                ┌ transport/ssh, openssh  a remote host
    playbook.yml ── playbook ─── Playbook ─┴ plan ─ Plan ─ wire.request ────┤ transport/local         this machine
                                                          (COMMAND, stdin)  └ transport/kernel        a kernel image
                                                                                   │ probe/remote, joined, runs there
    report.html ┐                                                                  ▼ one line of JSON
    junit, csv… ┴ report/ ─ Comparison ─ compare ─ AuditRun ─ archive ─ HostResult ─ verdict ─ wire.decode
                                           ▲                    (engine: many at once)
                                         judge (expectations → findings), waivers, drift (against the run before)

To follow one RST from close() to its cell in the page: probe/remote/verbs.py, wire.py, verdict.py,
compare/kernels.py, report/templates/kernels.html, model.py. `fleetaudit doctor` goes down the same
corridor with nothing to do, and doctor/ tells how far it came. Imports go down the list of rooms in
tests/unit/test_architecture.py, which holds them.
"""

__version__ = "0.1.0"
