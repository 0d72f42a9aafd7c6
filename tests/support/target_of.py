"""How one host is reached, from nothing but its variables and the options: no file is read."""

from __future__ import annotations

from typing import Any

from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.connection.target import resolve_target
from fleetaudit.model import Host, NotAudited, Target


def target(options: ConnectionOptions | None = None, /, **variables: Any) -> Target | NotAudited:
    """Returns the target of a host in line 3 of an inventory whose variables begin at line 10."""
    origins = {name: f"inv/hosts.yml:{line}" for line, name in enumerate(variables, 10)}
    host = Host(
        name="web1",
        groups=("web",),
        variables=variables,
        variable_origins=origins,
        origin="inv/hosts.yml:3",
    )
    return resolve_target(host, options or ConnectionOptions())
