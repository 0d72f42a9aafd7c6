"""The page of ten thousand hosts keeps next commands once."""

from __future__ import annotations

from fleetaudit.analysis.compare import compare
from fleetaudit.model import NotAudited
from fleetaudit.report.html import render
from tests.support.runs import run_of


def test_next_commands_that_differ_in_the_hosts_name_alone_are_kept_once_on_the_page() -> None:
    line = (
        "fleetaudit run /srv/fleet/inventory.yml --playbook /srv/fleet/quick.yml --output-dir"
        " /var/lib/fleetaudit -l "
    )
    hosts = [
        NotAudited(
            name=f"web{n:05}",
            stage="interrupted",
            kind="interrupted",
            reason="the run was interrupted",
            hint=f"{line}web{n:05}",
        )
        for n in range(10_000)
    ]
    page = render(compare(run_of(hosts)), generated="")
    assert len(page.encode()) < 1_500_000
    assert page.count(line) < 50
