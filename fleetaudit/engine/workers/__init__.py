"""Audits the hosts of a plan from many machines: the workers of a Dask cluster.

Rules: a worker connects to hosts, with its own keys, agent and ssh_config, and brings back what
they printed; nothing is decided there. Replies are decoded and judged where the run began, by the
same code as without workers, so a worker is trusted as much as the hosts that it reaches. Passwords
are never sent to a worker. Every host has exactly one result, also if workers or the scheduler are
lost. A worker of another version of fleetaudit gets no host.

`batches` divides the plan, `batch_audit` runs on a worker, `messages` are what it sends back,
`replay` makes results of these, `cluster` talks to Dask (only that module imports it), and
`remote_audit` controls the run.
"""
