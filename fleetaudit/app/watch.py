"""The play of `fleetaudit watch`: all hosts, no scenario, and for how long they are watched."""

from __future__ import annotations

from fleetaudit.model import Play, Playbook, Watch

NAME = "watch"


def watch_playbook(watch: Watch) -> Playbook:
    """Returns the playbook that only watches: the same hosts as those that the run selects.

    It is in no file, so that its source is "", and it does not belong to the name of the job.
    """
    return Playbook(source="", plays=(Play(name=NAME, hosts="all", watch=watch),))
