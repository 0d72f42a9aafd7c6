"""SSH servers that misbehave on purpose, and what fleetaudit makes of each.

Rules: real sockets on loopback. A fault is a good SSH server (paramiko's) with one thing wrong.
Each has the stage and words of the reason that are right. It is measured in a process of its own:
seconds over the host's deadline, memory, and what is left over.

Modules: `server` (the good server and its hooks), `before_ssh`, `messages`, `commands` (what a
server does wrong), `catalog` (every fault), `serve` (the process with the servers),
`routes` (how a host is reached), `client` (the process that is measured), `cases`, `offsets`
(a disconnect at each byte of a good conversation), `fleet` (bad hosts among good ones).
"""
