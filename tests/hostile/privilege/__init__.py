"""Least privilege, tested for real (`make privilege`).

Which host keys and certificates are trusted, compared with OpenSSH's own client; what an account
may do that can do nothing but be audited; and what the controller needs.

Modules: `world` (keys, servers, both clients), `certificates` and `other_keys` (host keys),
`odd_server` (one that shows forged certificates), `logins` (accounts that can do one thing),
`controller` (fleetaudit itself without any privilege).
"""
