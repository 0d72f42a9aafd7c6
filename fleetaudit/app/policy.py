"""Makes a playbook of expectations from what a host, or most hosts, of a run did."""

from __future__ import annotations

from pathlib import Path

from fleetaudit.analysis.policy import behaviour_of_host, behaviour_of_majority, render_playbook
from fleetaudit.store.run_file import read_run


def make_policy(run_path: Path, host_name: str | None) -> str:
    """Returns a playbook that expects what `host_name` did, or, if it is None, most hosts.

    `run_path` is a run folder or its run.json. Raises `NothingToDoError` for a run that is missing,
    `InputError` for what is not a run, and as `behaviour_of_host` for the host.
    """
    run = read_run(run_path)
    if host_name is None:
        return render_playbook(run, behaviour_of_majority(run))
    return render_playbook(run, behaviour_of_host(run, host_name))
