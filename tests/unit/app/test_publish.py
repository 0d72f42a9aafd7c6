"""A site of an output folder: what is in it, what is written again, what is removed, what stays."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from fleetaudit.app import publish as publishing
from fleetaudit.app.history import read_history, render_history
from fleetaudit.app.option_values import parse_publish_mode
from fleetaudit.app.report import RenderedReport, render_report
from fleetaudit.errors import LockedError, NothingToDoError, OutputError, UsageError
from fleetaudit.report import site as site_pages
from fleetaudit.store.names import JOURNAL_FILE, OUTLINE_FILE, STORE_FILE
from fleetaudit.store.run_head import FindingCounts, HostCounts
from fleetaudit.store.run_list import list_runs
from fleetaudit.store.site_folder import LIST_FILE, LOCK_FILE
from tests import SCHEMAS
from tests.support.published import FIRST, add_run, dead_links, files_of, publish
from tests.support.stored_runs import as_killed

SCHEMA = SCHEMAS / "site.schema.json"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder with three nights of one job, and one run of another."""
    output = tmp_path / "reports"
    for night in range(3):
        add_run(output, night)
    add_run(output, 5, limit="web", latest=False)
    return output


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def data_of(site: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((site / "history.json").read_bytes())
    return data


def latest_of(site: Path) -> str:
    return str(data_of(site)["latest"]["id"])  # type: ignore[index]


def jobs_of(site: Path) -> list[str]:
    return [job["job"] for job in data_of(site)["jobs"]]  # type: ignore[attr-defined]


# ---- what is in a site ---------------------------------------------------------------------------


def test_a_site_has_every_run_byte_for_byte_and_the_last_ones_at_addresses_that_stay(
    output: Path, site: Path
) -> None:
    done = publish(site, output)
    main, other = jobs_of(site)
    ids = sorted(path.name for path in output.iterdir() if path.name.startswith("2026"))
    for id_, page in done.pages.items():
        assert (site / page).read_bytes() == (output / id_ / "report.html").read_bytes()
    assert sorted(done.pages) == ids
    assert set(files_of(site)) == {
        "index.html", "history.json", "latest/index.html",
        f"{main}/index.html", f"{main}/latest/index.html",
        f"{main}/history.html", f"{main}/history.json",
        f"{other}/history.html", f"{other}/history.json",
        f"{other}/index.html", f"{other}/latest/index.html",
        *(f"{main}/{id_}/index.html" for id_ in ids[:3]), f"{other}/{ids[3]}/index.html",
    }  # fmt: skip
    assert (site / "latest/index.html").read_bytes() == (output / "latest/report.html").read_bytes()
    assert (site / main / "latest/index.html").read_bytes() == (
        site / done.pages[ids[2]]
    ).read_bytes()
    assert (site / other / "latest/index.html").read_bytes() == (
        site / done.pages[ids[3]]
    ).read_bytes()
    assert not any(path.is_symlink() for path in site.rglob("*"))
    assert dead_links(site) == set()


def test_the_index_has_jobs_runs_results_in_words_and_history_json_satisfies_its_schema(
    output: Path, site: Path
) -> None:
    publish(site, output)
    page = (site / "index.html").read_text("utf-8")
    assert "expectations not met" in page
    assert "27: 18 audited, 9 not audited" in page
    assert "fleet.yml -p unread-close.yml -l web" in page
    assert page.count("Report of the last run") == page.count("History over weeks") == 2
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data_of(site))
    assert data_of(site)["format"] == "fleetaudit-site/1"


@pytest.mark.parametrize(
    ("missing", "found", "shown"),
    [
        pytest.param(0, {}, "met", id="all audited, no finding"),
        pytest.param(1, {}, "unknown", id="a host that was not audited"),
        pytest.param(1, {"info": 2}, "info", id="info"),
        pytest.param(0, {"info": 2, "warning": 1, "error": 1}, "error", id="the worst counts"),
        pytest.param(0, {"waived": 3}, "met", id="waived"),
    ],
)
def test_a_run_is_as_bad_as_its_worst_open_finding_and_never_good_if_hosts_are_missing(
    missing: int, found: dict[str, int], shown: str
) -> None:
    none = dict.fromkeys(("error", "warning", "info", "waived"), 0)
    run = site_pages.SiteRun(
        id="2026-01-01T020000Z",
        started="",
        finished="",
        status=0,
        result="",
        hosts=HostCounts(selected=4, audited=4 - missing, not_audited=missing, not_selected=0),
        findings=FindingCounts(**{**none, **found}),
        report="",
    )
    assert site_pages.worst_severity(run) == shown
    assert site_pages.draw_bars([run])[0].severity == shown


def test_the_published_schema_is_current() -> None:
    """Where it is not: `make schemas` writes it."""
    assert SCHEMA.read_bytes() == site_pages.json_schema()


def test_the_index_has_the_last_ten_runs_of_a_job_and_the_page_of_the_job_all(
    tmp_path: Path, site: Path
) -> None:
    output = tmp_path / "reports"
    for night in range(12):
        add_run(output, night)
    publish(site, output)
    (job,) = jobs_of(site)
    assert (site / "index.html").read_text("utf-8").count('<th scope="row">') == 10
    assert "2 earlier runs" in (site / "index.html").read_text("utf-8")
    assert (site / job / "index.html").read_text("utf-8").count('<th scope="row">') == 12


def test_a_run_without_a_report_is_rendered_as_the_command_renders_it(
    output: Path, site: Path
) -> None:
    id_ = add_run(output, 9, report=None)
    done = publish(site, output)
    page = (site / done.pages[id_]).read_bytes()
    assert page == b"".join(render_report([output / id_], "html", width=100).chunks)
    assert b"</html>" in page


def test_latest_is_of_the_run_that_latest_points_to_and_without_one_of_the_last_run(
    output: Path, site: Path
) -> None:
    publish(site, output)
    first = min(path for path in output.iterdir() if path.name.startswith("2026"))
    (output / "latest").unlink()
    publish(site, output)
    assert latest_of(site) == max(publish(site, output).pages)
    (output / "latest").symlink_to(first.name)
    publish(site, output)
    assert latest_of(site) == first.name
    assert (site / "latest/index.html").read_bytes() == (first / "report.html").read_bytes()


def test_no_run_makes_a_site_that_says_so(tmp_path: Path, site: Path) -> None:
    output = tmp_path / "reports"
    output.mkdir()
    publish(site, output)
    assert "There is no finished run yet" in (site / "index.html").read_text("utf-8")
    assert set(files_of(site)) == {"index.html", "history.json"}
    with pytest.raises(NothingToDoError, match="no such folder"):
        publish(site, tmp_path / "missing")


def test_jobs_are_selected_by_name_or_by_the_part_before_the_digits(
    output: Path, site: Path
) -> None:
    add_run(output, 7, inventory=("web.yml",), latest=False)
    publish(site, output)
    main, _, other = jobs_of(site)
    publish(site, output, jobs=("web",))
    assert [job.partition("-")[0] for job in jobs_of(site)] == ["web"]
    assert not (site / main).exists()
    publish(site, output, jobs=(other,))
    assert jobs_of(site) == [other]
    publish(site, output, jobs=("fleet",))
    assert len(jobs_of(site)) == 2
    with pytest.raises(NothingToDoError, match=f"--job x: .*{other}"):
        publish(site, output, jobs=("x",))


# ---- what is written again -----------------------------------------------------------------------


def test_the_same_runs_write_nothing_and_a_new_one_only_what_shows_it(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "reports"
    for night in range(40):
        add_run(output, night, report=None if night == 0 else b"")
    rendered = list[Path]()

    def render(paths: list[Path], *arguments: str, width: int) -> RenderedReport:
        rendered.extend(paths)
        return render_report(paths, *arguments, width=width)

    monkeypatch.setattr(publishing, "render_report", render)
    assert publish(site, output).written == 47
    before = {path: path.stat() for path in site.rglob("*.html")}
    assert publish(site, output).written == 0
    new = add_run(output, 50)
    done = publish(site, output)
    # The run, latest/ twice, the page of the job, its weeks twice, index.html and history.json.
    assert done.written == 8
    changed = {path for path, info in before.items() if path.stat().st_mtime_ns != info.st_mtime_ns}
    assert len(changed) == 5
    assert new in done.pages
    assert len(rendered) == 1


def test_the_weeks_of_a_job_are_those_of_the_command_with_links_to_its_runs(
    output: Path, site: Path
) -> None:
    publish(site, output)
    job = jobs_of(site)[0]
    assert (site / job / "history.json").read_bytes() == render_history(
        read_history(output, job), "json", width=100, bars=False
    )
    page = (site / job / "history.html").read_text("utf-8")
    assert f'href="{FIRST:%Y-%m-%dT%H%M%SZ}/index.html"' in page
    assert 'href="../index.html"' in page
    for path in output.glob("2026*/report.html"):
        path.parent.joinpath(STORE_FILE).unlink()
        path.parent.joinpath(OUTLINE_FILE).unlink()
    assert publish(site, output).pages == {}
    assert set(files_of(site)) == {"index.html", "history.json"}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda page: page.unlink(), id="removed"),
        pytest.param(lambda page: page.write_bytes(b"other"), id="changed"),
        pytest.param(lambda page: (page.unlink(), page.symlink_to("/etc/hostname")), id="a link"),
    ],
)
def test_a_page_that_is_not_as_it_was_written_is_written_again(
    output: Path, site: Path, spoil: Callable[[Path], object]
) -> None:
    publish(site, output)
    whole = files_of(site)
    for name in whole:
        spoil(site / name)
        assert publish(site, output).written == 1, name
        assert files_of(site) == whole
        assert not (site / name).is_symlink()
    assert Path("/etc/hostname").read_bytes() != whole["index.html"]


def test_a_report_that_is_written_again_is_published_again(output: Path, site: Path) -> None:
    id_ = max(publish(site, output).pages)
    (output / id_ / "report.html").write_bytes(b"<!doctype html>again")
    done = publish(site, output)
    assert (site / done.pages[id_]).read_bytes() == b"<!doctype html>again"


# ---- what is removed, and what stays -------------------------------------------------------------


def test_the_pages_of_a_pruned_run_go_and_files_of_others_stay_and_are_named(
    output: Path, site: Path
) -> None:
    pages = publish(site, output).pages
    gone = min(pages)
    note, robots = (site / pages[gone]).parent / "note.txt", site / "robots.txt"
    note.write_text("mine")
    robots.write_text("User-agent: *\n")
    (site / "more").mkdir()
    shutil.rmtree(output / gone)
    done = publish(site, output)
    assert not (site / pages[gone]).exists()
    assert note.read_text() == "mine"
    assert done.removed == 1
    assert set(done.foreign) == {"more", "robots.txt", str(note.parent.relative_to(site))}
    assert "robots.txt" in "".join(done.notes())
    assert robots.exists()
    note.unlink()
    note.parent.rmdir()
    assert publish(site, output).foreign == ("more", "robots.txt")


def test_a_job_without_runs_leaves_no_folder(output: Path, site: Path) -> None:
    pages = publish(site, output).pages
    last = max(pages)
    shutil.rmtree(output / last)
    publish(site, output)
    assert not (site / pages[last]).parents[1].exists()
    assert dead_links(site) == set()


def test_a_file_in_the_place_of_a_page_is_refused_and_left_alone(output: Path, site: Path) -> None:
    publish(site, output)
    (job, _) = jobs_of(site)
    id_ = add_run(output, 8)
    page = site / job / id_ / "index.html"
    page.parent.mkdir()
    page.write_text("mine")
    with pytest.raises(OutputError, match="was not written by fleetaudit publish"):
        publish(site, output)
    assert page.read_text() == "mine"
    assert dead_links(site) == set()


def test_a_link_to_a_folder_is_followed_neither_for_writing_nor_for_removing(
    output: Path, site: Path, tmp_path: Path
) -> None:
    pages = publish(site, output).pages
    oldest = min(pages)
    job = (site / pages[oldest]).parents[1]
    elsewhere = tmp_path / "elsewhere"
    shutil.move(job, elsewhere)
    job.symlink_to(elsewhere)
    kept = files_of(elsewhere)
    with pytest.raises(OutputError, match="a link or a file is where a folder"):
        publish(site, output)
    assert files_of(elsewhere) == kept
    for path in output.iterdir():
        if path.name.startswith("2026-01-0") and path.name != max(pages):
            shutil.rmtree(path)
    (output / "latest").unlink()
    publish(site, output)
    assert files_of(elsewhere) == kept
    assert job.is_symlink()


# ---- bad runs ------------------------------------------------------------------------------------


def test_a_corrupt_run_is_listed_and_the_others_are_published(output: Path, site: Path) -> None:
    headless, bodiless = add_run(output, 10, latest=False), add_run(output, 11, latest=False)
    (output / headless / STORE_FILE).write_bytes(b"{}\n")
    (output / bodiless / "report.html").unlink()
    store = output / bodiless / STORE_FILE
    store.write_bytes(store.read_bytes()[:-200])
    done = publish(site, output)
    assert {run.id for run in done.unreadable} == {headless, bodiless}
    page = (site / "index.html").read_text("utf-8")
    assert "Cannot be read" in page
    assert bodiless in page
    assert not list(site.rglob(f"{bodiless}*"))
    assert len(done.pages) == 4
    assert dead_links(site) == set()


def test_a_run_that_is_pruned_between_the_list_and_its_page_is_left_out(
    output: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(site, output).pages

    def list_then_prune(*arguments: Path) -> object:
        runs = list_runs(*arguments)
        shutil.rmtree(output / min(first))
        return runs

    monkeypatch.setattr(publishing, "list_runs", list_then_prune)
    done = publish(site, output)
    assert set(done.pages) == {*first} - {min(first)}
    assert done.unreadable == ()
    assert not (site / first[min(first)]).exists()
    assert dead_links(site) == set()


def test_only_finished_runs_are_published_and_others_are_named(output: Path, site: Path) -> None:
    id_ = add_run(output, 10, latest=False)
    (output / id_ / "report.html").unlink()
    (output / id_ / "plan.json").unlink()
    as_killed(output / id_, 2)
    done = publish(site, output)
    assert id_ not in done.pages
    assert "Not finished" in (site / "index.html").read_text("utf-8")
    assert (output / id_ / JOURNAL_FILE).exists()


def test_a_link_in_the_place_of_a_report_is_not_published(output: Path, site: Path) -> None:
    id_ = add_run(output, 10, report=None)
    secret = output.parent / "secret.html"
    secret.write_text("CANARY")
    (output / id_ / "report.html").symlink_to(secret)
    publish(site, output)
    assert not any(b"CANARY" in data for data in files_of(site).values())


def test_hostile_names_are_escaped_and_never_a_path(tmp_path: Path, site: Path) -> None:
    output = tmp_path / "reports"
    names = (
        "../../../x\u202e.yml",
        "<script>alert(1)</script>",
        "'\"&.yml",
        "a" * 253,
        "😀.yml",
        "..",
    )
    for night, name in enumerate(names):
        add_run(output, night, inventory=(name,), limit="</title><b>\u202e", job="../../etc")
    publish(site, output)
    page = (site / "index.html").read_text("utf-8")
    assert len(jobs_of(site)) == len(names)
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert {path.name for path in tmp_path.iterdir()} == {"reports", "site"}
    assert dead_links(site) == set()


def test_two_jobs_of_one_inventory_name_have_two_addresses(tmp_path: Path, site: Path) -> None:
    output = tmp_path / "reports"
    one, two = (
        add_run(output, 0, inventory=("a/fleet.yml",)),
        add_run(output, 1, inventory=("b/fleet.yml",)),
    )
    pages = publish(site, output).pages
    assert pages[one].partition("/")[0] != pages[two].partition("/")[0]
    assert all(page.startswith("fleet-") for page in pages.values())


# ---- folders that must not become a site ---------------------------------------------------------


def test_a_folder_that_holds_something_else_is_refused_and_not_changed(
    output: Path, site: Path
) -> None:
    site.mkdir()
    (site / "index.html").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty \(index.html\)") as error:
        publish(site, output)
    assert f"fleetaudit publish {site}/fleetaudit" in str(error.value)
    assert [path.name for path in site.iterdir()] == ["index.html"]
    assert publish(site / "fleetaudit", output).written > 0


@pytest.mark.parametrize("make", ["link", "dangling", "loop", "file", "fifo"])
def test_what_is_no_folder_is_refused(output: Path, tmp_path: Path, make: str) -> None:
    path, target = tmp_path / "it", tmp_path / "target"
    if make == "link":
        target.mkdir()
    if make in ("link", "dangling"):
        path.symlink_to(target)
    elif make == "loop":
        path.symlink_to(path)
    elif make == "file":
        path.write_text("mine")
    else:
        os.mkfifo(path)
    with pytest.raises(OutputError, match=r"symbolic link|not a folder"):
        publish(path, output)
    assert not target.exists() or not list(target.iterdir())


@pytest.mark.parametrize("where", ["reports", "reports/site", ".", "x/../reports/y"])
def test_a_site_and_the_output_folder_are_never_inside_each_other(
    output: Path, tmp_path: Path, where: str
) -> None:
    before = {path.name for path in output.iterdir()}
    with pytest.raises(UsageError, match="inside each other"):
        publish(tmp_path / where, output)
    assert {path.name for path in output.iterdir()} == before


def test_the_site_of_another_output_folder_is_refused_while_that_exists(
    output: Path, tmp_path: Path, site: Path
) -> None:
    publish(site, output)
    other = tmp_path / "other"
    add_run(other, 0)
    with pytest.raises(OutputError, match=r"the site of the runs in .*reports"):
        publish(site, other)
    shutil.rmtree(output)
    assert len(publish(site, other).pages) == 1
    assert dead_links(site) == set()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{}", id="another format"),
        pytest.param('{"format":"fleetaudit-site-files/1","output":"/","created":true,"files":'
                     '{"../../etc/passwd":["",1,1]}}', id="a path out of it"),
        pytest.param('{"format":"fleetaudit-site-files/1","output":"/","created":true,"files":'
                     '{"a/../../x.html":{"source":""}}}', id="two dots"),
    ],
)  # fmt: skip
def test_a_list_that_is_not_one_is_refused_and_nothing_is_removed(
    output: Path, site: Path, text: str
) -> None:
    publish(site, output)
    before = files_of(site)
    (site / LIST_FILE).write_text(text)
    with pytest.raises(OutputError, match="not the list of files of a site"):
        publish(site, output)
    assert files_of(site) == before


def test_a_folder_that_cannot_be_written_is_an_error_of_the_output(
    output: Path, site: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    site.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        publish(site, output)


def test_two_that_publish_at_once_do_not_mix(output: Path, site: Path) -> None:
    publish(site, output)
    with (site / LOCK_FILE).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="publishes there now"):
            publish(site, output)
        with pytest.raises(LockedError):
            publish(site, output, wait_s=0.3)
    assert publish(site, output).written == 0


def test_one_that_waited_publishes_also_the_runs_that_finished_meanwhile(
    output: Path, site: Path
) -> None:
    publish(site, output)
    with ThreadPoolExecutor(1) as pool, (site / LOCK_FILE).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(publish, site, output, wait_s=60.0)
        time.sleep(0.5)
        id_ = add_run(output, 30)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert id_ in waiting.result().pages


# ---- permissions ---------------------------------------------------------------------------------


def modes(site: Path) -> tuple[set[int], set[int]]:
    """Returns the modes of the files that a reader may see, and of the folders."""
    files = {stat.S_IMODE((site / name).stat().st_mode) for name in files_of(site)}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in site.rglob("*") if path.is_dir()}
    return files, folders | {stat.S_IMODE(site.stat().st_mode)}


@pytest.mark.parametrize(
    ("mode", "folders"), [(0o600, 0o700), (0o644, 0o755), (0o640, 0o750), (0o664, 0o775)]
)
def test_only_the_owner_reads_a_site_unless_the_mode_says_otherwise(
    output: Path, site: Path, mode: int, folders: int
) -> None:
    publish(site, output)
    assert modes(site) == ({0o600}, {0o700})
    assert publish(site, output, mode=mode).written == 0
    assert modes(site) == ({mode}, {folders})
    add_run(output, 20)
    publish(site, output, mode=mode)
    assert modes(site) == ({mode}, {folders})
    for name in (LIST_FILE, LOCK_FILE):
        assert stat.S_IMODE((site / name).stat().st_mode) == 0o600


def test_a_folder_of_somebody_keeps_its_mode_and_its_group_is_inherited(
    output: Path, site: Path
) -> None:
    site.mkdir()
    site.chmod(0o2750)
    publish(site, output, mode=0o644)
    assert stat.S_IMODE(site.stat().st_mode) == 0o2750
    (job, _) = jobs_of(site)
    assert stat.S_IMODE((site / job).stat().st_mode) == 0o2755


@pytest.mark.parametrize(
    "text",
    [
        "0666",
        "0646",
        "0755",
        "4644",
        "02644",
        "0444",
        "0200",
        "x",
        "",
        "0o644",
        "-644",
        "0888",
        "644 ",
    ],
)
def test_a_mode_that_is_unsafe_or_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--publish-mode"):
        parse_publish_mode(text)


def test_modes_are_octal_with_and_without_a_zero() -> None:
    assert parse_publish_mode("0644") == parse_publish_mode("644") == 0o644
