"""Output folders with many runs, made without an audit, and what a published site holds."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.app.publish import PublishedSite, PublishRequest, publish_site
from fleetaudit.model import AuditRun
from fleetaudit.report import registry
from fleetaudit.store.latest import point_latest
from fleetaudit.store.names import OUTLINE_FILE
from fleetaudit.store.outline import encode_outline
from fleetaudit.store.run_folder import create_run_folder
from tests.support.runs import small_fleet

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
"""When the first night's run begins."""
_LINK = re.compile(r'<a\b[^>]*?\bhref="([^"#]*)["#]')


def add_run(
    output: Path,
    night: int,
    *,
    run: AuditRun | None = None,
    report: bytes | None = b"",
    latest: bool = True,
    **info: object,
) -> str:
    """Keeps a run of one night, as it is after it has finished, and returns its id.

    `report` are the bytes of its report.html, None for a run without one; by default they are short
    and of this run alone.
    """
    moment = FIRST + timedelta(days=night)
    run = run or small_fleet()
    times = {
        "started": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "finished": f"{moment + timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}",
    }
    defaults: dict[str, object] = {
        "inventory": ("fleet.yml",),
        "playbooks": ("unread-close.yml",),
        "sequence": night + 1,
        "status": 2,
    }
    with create_run_folder(output, moment, b"{}") as folder:
        whole = replace(run, run=replace(run.run, id=folder.id, **{**times, **defaults, **info}))
        if report == b"":
            report = f"<!doctype html><title>{folder.id}</title>\n".encode()
        if report is not None:
            folder.write("report.html", report)
        folder.write(OUTLINE_FILE, encode_outline(outline_of(whole)))
        folder.finish(whole)
    if latest:
        point_latest(output, folder.id)
    return folder.id


def add_rendered_run(output: Path, night: int, **info: object) -> str:
    """Keeps a run with its real report, as `fleetaudit run` does."""
    id_ = add_run(output, night, **info)  # type: ignore[arg-type]  # of RunInfo
    from fleetaudit.store.run_file import read_run

    data = registry.render(read_run(output / id_), "html")
    (output / id_ / "report.html").write_bytes(data)
    return id_


def publish(folder: Path, output: Path, **options: object) -> PublishedSite:
    """Publishes an output folder."""
    return publish_site(PublishRequest(folder=folder, output=output, **options))  # type: ignore[arg-type]


def files_of(site: Path) -> dict[str, bytes]:
    """Returns every file of a site that a reader may see, by its name."""
    paths = (path for path in site.rglob("*") if path.is_file())
    return {
        str(path.relative_to(site)): path.read_bytes()
        for path in paths
        if not path.name.startswith(".fleetaudit-site")
    }


def dead_links(site: Path) -> set[str]:
    """Returns the links of all pages of a site that lead nowhere, or out of it."""
    dead = set[str]()
    for page in site.rglob("*.html"):
        for link in _LINK.findall(page.read_text("utf-8")):
            target = (page.parent / html.unescape(link)).resolve()
            if link and "://" not in link and not _is_in(target, site):
                dead.add(f"{page.relative_to(site)}: {link}")
    return dead


def _is_in(target: Path, site: Path) -> bool:
    """Returns whether a path is a file in the site."""
    return target.is_file() and target.is_relative_to(site.resolve())
