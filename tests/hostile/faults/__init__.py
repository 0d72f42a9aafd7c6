"""SSH servers that misbehave on purpose, and what fleetaudit makes of each.

Rules: real sockets on loopback. A fault is a good SSH server (paramiko's) with one thing wrong. A
stage and words of the reason are beside each, and it is measured in a process of its own: seconds
over the host's deadline, memory, and what is left over.

Modules: `server` (the good server and its hooks), `before_ssh`, `messages`, `commands`, `floods`,
`damage` (one kind of fault each), `catalog` (all of them), `serve` (the process with the servers),
`routes` (how a host is reached), `client` (the process that is measured), `cases`, `offsets`
(a disconnect at each byte of a good conversation), `fleet` (bad hosts among good ones).
"""
