"""Which probe runs on a host, the Python or the native one: `fleetaudit_probe`. No I/O."""

from __future__ import annotations

from typing import get_args

from fleetaudit.model import ProbeChoice

from .options import ConnectionOptions
from .variables import Variables, first_set_or

NAME = "fleetaudit_probe"
_CHOICES: dict[str, ProbeChoice] = {choice: choice for choice in get_args(ProbeChoice)}


def resolve_probe(variables: Variables, options: ConnectionOptions) -> ProbeChoice:
    """Returns which probe runs on a host: what the variable says, else the option, else "auto".

    Raises `InputError` for a written value that is none of them, `CannotReachError` for one that a
    template makes, or that cannot be decrypted.
    """
    value = first_set_or("auto", variables.text(NAME), options.probe)
    if value not in _CHOICES:
        raise variables.error(
            NAME, "is not auto, python or native", "write  fleetaudit_probe: auto"
        )
    return _CHOICES[value]
