"""A host that lies: replies that are valid and wrong, each of which costs its own row at most.

`genuine` records a reply of the real probe, `numbers`, `shapes` and `evidence` make lies of it,
`fleet` runs each together with three honest hosts, `over_ssh` sends a sample through a real sshd.
"""
