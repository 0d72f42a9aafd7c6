"""The pages of a published site that show no run of their own: its index, and one for each job.

Rules: `Site` is what history.json of a site has (format "fleetaudit-site/1", schema in
`fleetaudit/schema/`), so renaming a field is a breaking change. Every address is relative to the
folder of the site. Pure: the same site gives the same bytes, and no clock is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from fleetaudit.model import SEVERITIES, Frozen
from fleetaudit.store.run_head import FindingCounts, HostCounts
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of

from .common import seconds_between
from .document import render_document

INDEX, DATA, LATEST = "index.html", "history.json", "latest/index.html"
HISTORY = "history.html"
"""The addresses of a site, and of the folder of each job, that never change."""
MOST_RUNS = 10
"""How many runs of a job the index has; the page of the job has them all."""
MOST_BARS = 60
"""How many runs the chart of a job has."""
BAR_HEIGHT = 24


class SiteRun(Frozen, frozen=True, kw_only=True):
    """A run: as in `fleetaudit runs`; `result` is its exit status in words, `report` its page."""

    id: str
    started: str
    finished: str
    status: int | None
    result: str
    hosts: HostCounts
    findings: FindingCounts
    report: str


class SiteStatus(Frozen, frozen=True, kw_only=True):
    """The status of a run as the first screen of its report says it: a level, its label, and one
    sentence.
    """

    level: str
    label: str
    sentence: str


class SiteJob(Frozen, frozen=True, kw_only=True):
    """A job: its page, the page of its last run, which keeps its address, and its runs, the last
    one first. `status` is that of the last run. `history` is the page of its runs over time, `data`
    the same as JSON; "" without one.
    """

    job: str
    description: str
    scheduled: bool
    page: str
    latest: str
    history: str = ""
    data: str = ""
    status: SiteStatus | None = None
    runs: tuple[SiteRun, ...]


class SiteUnfinished(Frozen, frozen=True, kw_only=True):
    """A run that is not finished: `done` of its `selected` hosts have a result. `reason` is why it
    cannot be resumed, "" if it can.
    """

    id: str
    job: str
    done: int
    selected: int
    reason: str = ""


class SiteUnreadable(Frozen, frozen=True, kw_only=True):
    """A run that has no page because it cannot be read, and why."""

    id: str
    reason: str


class Site(Frozen, frozen=True, kw_only=True):
    """A site: `latest` is the run whose report is at latest/index.html, null without a run; `jobs`
    in the order of their last runs, that of `latest` first.
    """

    format: Literal["fleetaudit-site/1"] = "fleetaudit-site/1"
    fleetaudit: str
    latest: SiteRun | None
    jobs: tuple[SiteJob, ...]
    unfinished: tuple[SiteUnfinished, ...] = ()
    unreadable: tuple[SiteUnreadable, ...] = ()


class Bar(msgspec.Struct, frozen=True):
    """The findings above info of one run, as a bar: its height, and the worst severity."""

    height: float
    severity: str
    count: int


def encode(site: Site) -> bytes:
    """Returns the site as JSON, with a line feed at the end."""
    return escape_json(encode_json(site)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of history.json, as in `fleetaudit/schema/site.schema.json`."""
    return json_schema_of(Site, "fleetaudit-site/1")


def render_index(site: Site) -> str:
    """Returns the index of a site."""
    return _render(site, site.jobs, most=MOST_RUNS, home="")


def render_job(site: Site, job: SiteJob) -> str:
    """Returns the page of one job, with all its runs."""
    return _render(site, (job,), most=len(job.runs), home="../")


def _render(site: Site, jobs: Sequence[SiteJob], *, most: int, home: str) -> str:
    """Returns a page with these jobs; `home` is the way from it to the folder of the site."""
    return render_document(
        "site.html",
        scripts=("site.js",),
        styles=("site.css",),
        site=site,
        jobs=[(job, draw_bars(job.runs)) for job in jobs],
        most=most,
        home=home,
        seconds=seconds_between,
        worst=worst_severity,
    )


def worst_severity(run: SiteRun) -> str:
    """Returns the worst severity of the findings without a waiver.

    Without a finding it is "met", and "unknown" if some host was not audited.
    """
    counts = msgspec.structs.asdict(run.findings)
    without = "unknown" if run.hosts.not_audited else "met"
    return next((severity for severity in reversed(SEVERITIES) if counts[severity]), without)


def draw_bars(runs: Sequence[SiteRun]) -> tuple[Bar, ...]:
    """Returns a bar for each of the last runs, oldest first; `runs` have the last one first."""
    shown = runs[:MOST_BARS]
    counts = [run.findings.error + run.findings.warning for run in shown]
    most = max(counts, default=0) or 1
    bars = [
        Bar(round(BAR_HEIGHT * count / most, 1), worst_severity(run), count)
        for run, count in zip(shown, counts, strict=True)
    ]
    return tuple(reversed(bars))
