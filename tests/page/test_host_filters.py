"""From every number of the page to the hosts that it counts: filters, their buttons, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import (
    Audited,
    AuditRun,
    Drift,
    Ending,
    HostResult,
    Kernel,
    Sysctl,
)
from tests.support.browser import LoadedPage, page_of
from tests.support.many_kernels import fleet_of
from tests.support.runs import (
    K510,
    K612,
    Fleet,
    by_name,
    exposure_of,
    missing,
    observe,
    run_of,
)

HOSTS = 200
K612_OTHER = Kernel(release=K612.release, version="#2 SMP another build", machine=K612.machine)
KERNELS = (K510, K612, K612_OTHER, Kernel(release="custom", version="#1", machine="x86_64"))
ENDINGS: tuple[Ending, ...] = ("FIN", "RST", "sent, not delivered", "not run", "inconclusive")


def hosts(*, later: bool) -> Iterator[HostResult]:
    """Yields hosts that differ in everything that the page counts; `later` some of it changed."""
    fleet = Fleet()
    unread, reread = by_name("unread-close"), by_name("reread-fin-close")
    for n in range(HOSTS):
        name, group = f"web{n:03}.example.net", ("web", "db", "cache & more", "a=b#c?d%")[n % 4]
        if n % 20 == 19:
            reason = ("refused", "not routed: <&>")[n // 20 % 2]
            yield missing(name, "connect", f"{reason} on {name}", f"nc -vz {name} 22", group)
            continue
        instead = []
        if n % 7 == 0:
            instead += [observe(unread, f, ENDINGS[n // 7 % 5]) for f in unread.families[:1]]
        if n % 9 == 0 and not (later and n % 2):
            instead += [observe(reread, f, "RST") for f in reread.families]
        timeout = {
            "net.ipv4.tcp_fin_timeout": Sysctl(
                value=str(60 + n % 3 * (1 + later)), default=str(60 + n % 2)
            ),
            "net.ipv4.tcp_max_orphans": Sysctl(value=str(n % 17), default="8192"),
        }
        if n % 5 == 0:
            del timeout["net.ipv4.tcp_max_orphans"]
        void = "the positive control failed" if n % 23 == 22 else ""
        host = fleet.host(
            name,
            KERNELS[n % 4],
            groups=(group,),
            instead=instead,
            sysctls=timeout,
            void=void,
            isolation="host" if n % 31 == 30 else "namespace",
            exposure=exposure_of(n, 4000, n % 3),
        )
        host = msgspec.structs.replace(host, machine_id=str(n))
        yield waive(host, f"accepted, see ticket {n % 54}") if n % 27 == 0 else host


def waive(host: Audited, reason: str) -> Audited:
    """Returns a host whose first finding is waived."""
    findings = tuple(
        msgspec.structs.replace(f, waived=reason) if i == 0 else f
        for i, f in enumerate(host.findings)
    )
    return msgspec.structs.replace(host, findings=findings)


def two_runs() -> tuple[AuditRun, Drift]:
    """Returns a run of 200 hosts, and what changed since an earlier one."""
    after, before = run_of(hosts(later=True)), run_of(hosts(later=False))
    info = msgspec.structs.replace(
        before.run, id="2026-11-21T020000Z", started="2026-11-21T02:00:00Z"
    )
    before = msgspec.structs.replace(before, run=info, hosts=before.hosts[:-3])
    return after, compute_drift(before, after)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("filters") / "report.html"
    file.write_text(page_of(*two_runs()), "utf-8")
    return file


SECTIONS = {
    "status",
    "answers",
    "kernels",
    "duels",
    "expectations",
    "changes",
    "not-audited",
    "sysctls",
    "hosts",
}


def test_as_many_hosts_are_listed_as_every_number_counts(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        numbers = visit.numbers()
        assert visit.console == []
    assert [n for n in numbers if n["counted"] != n["listed"] or not n["address"]] == []
    assert [n["text"] for n in numbers if "No host" in n["text"]] == []
    assert {n["section"] for n in numbers} >= SECTIONS
    assert len(numbers) > 150
    names = {name for n in numbers for name in re.findall(r"(?:^|&)([a-z]+)=", n["filter"])}
    assert names >= {
        "build", "cause", "change", "ending", "family", "finding", "like", "namespace", "notrun",
        "observed", "scenario", "series", "state", "sysctl", "unlisted", "waived", "waiver",
    }  # fmt: skip


FINDING = "scenario:reread-fin-close/ipv4"


def listed(visit: LoadedPage) -> int:
    """Returns the number of listed hosts; only some of them have a row until one scrolls."""
    return int(visit.page.inner_text(".found output").split()[0])


def test_filters_are_buttons_that_remove_one_each(chromium: Any, path: Path) -> None:
    fragment = f"#hosts?finding={FINDING}&group=web&ending=RST&scenario=reread-fin-close"
    with LoadedPage(chromium, path, fragment) as visit:
        chips = visit.page.get_by_role("list", name="Filters").get_by_role("button")
        assert chips.evaluate_all("all => all.map(one => one.ariaLabel)") == [
            f"Remove the filter Finding: {FINDING}",
            "Remove the filter Group: web",
            "Remove the filter Ending: RST",
            "Remove the filter Scenario: reread-fin-close",
        ]
        few = listed(visit)
        assert 0 < few < HOSTS / 4
        assert visit.page.input_value("#by-group") == "web"
        chips.nth(1).focus()
        visit.page.keyboard.press("Enter")
        assert chips.count() == 3
        assert visit.page.input_value("#by-group") == ""
        assert few < listed(visit) < HOSTS
        assert visit.page.evaluate("document.activeElement.ariaLabel").endswith("Ending: RST")
        assert "Removed Group: web; " in visit.page.inner_text("#spoken")
        assert visit.page.url.endswith(
            f"#hosts?finding={FINDING}&ending=RST&scenario=reread-fin-close"
        )
        for _ in range(3):
            visit.page.keyboard.press("Enter")
        assert not visit.page.is_visible("#chips")
        assert visit.page.inner_text(".found output") == f"{HOSTS} hosts"
        assert visit.page.evaluate("document.activeElement.id") == "list"


def test_filters_combine_with_the_fields_and_survive_reload_and_back(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, f"#hosts?finding={FINDING}") as visit:
        every = listed(visit)
        visit.page.select_option("#by-group", "cache & more")
        visit.page.click("button.sort:has-text('Aborts')")
        some = visit.hosts()
        assert 0 < len(some) < every < HOSTS
        address = visit.page.url
        assert address.endswith(f"#hosts?finding={FINDING}&group=cache+%26+more&sort=-rate")
        visit.page.reload()
        assert (visit.page.url, visit.hosts()) == (address, some)
        visit.page.fill("#filter", "web01")
        assert visit.hosts() == [name for name in some if "web01" in name] != []
        visit.page.fill("#filter", "")
        visit.page.locator("table.hosts a").first.click()
        visit.page.go_back()
        visit.page.locator("#list").wait_for(state="visible")
        assert (visit.page.url, visit.hosts()) == (address, some)
        visit.page.go_back()
        visit.page.wait_for_function("() => !location.hash.includes('sort')")
        assert sorted(visit.hosts()) == sorted(some)
        visit.page.go_back()
        visit.page.wait_for_function("() => !location.hash.includes('group')")
        assert listed(visit) == every
        assert (visit.console, set(visit.requests)) == ([], {visit.url})


def test_two_values_of_one_filter_are_alternatives(chromium: Any, path: Path) -> None:
    found = {}
    for series in ("series=5.10", "series=none", "series=5.10&series=none"):
        with LoadedPage(chromium, path, f"#hosts?{series}&state=audited") as visit:
            found[series] = listed(visit)
    first, second, both = found.values()
    assert min(first, second) > 0
    assert both == first + second


def test_two_texts_for_names_are_alternatives_as_their_chips_say(chromium: Any, path: Path) -> None:
    found = {}
    for texts in ("q=web001", "q=web002 example", "q=web001&q=web002+example&q=+"):
        with LoadedPage(chromium, path, f"#hosts?{texts}") as visit:
            found[texts] = visit.hosts()
    first, second, both = found.values()
    assert (len(first), len(second)) == (1, 1)
    assert both == first + second


def test_hosts_like_another_are_found_without_a_search_for_each_host(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        searches = visit.page.evaluate(
            """() => new Promise((done) => {
              const original = Array.prototype.indexOf;
              let searches = 0;
              Array.prototype.indexOf = function (...all) {
                searches += this.length > 100;
                return original.apply(this, all);
              };
              addEventListener("hashchange", () => done(searches), { once: true });
              location.hash = "#hosts?like=web000.example.net";
            })"""
        )
        assert searches < 5
        assert visit.hosts()[0] == "web000.example.net"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("finding=scenario:no-such/ipv4", "Finding: scenario:no-such/ipv4"),
        ("sysctl=net.ipv4.tcp_fin_timeout=7", "Sysctl: net.ipv4.tcp_fin_timeout=7"),
        ("group=nobody", "Group: nobody"),
        ("kernel=99", "Kernel: 99"),
        ("state=great", "State: great"),
        ("changed=everything", "Changed: everything"),
        ("colour=red", "colour: red"),
        ("constructor=x&__proto__=y", "constructor: x, __proto__: y"),
        ("state=constructor", "State: constructor"),
        ("like=nobody", "Behaves like: nobody"),
        ("observed=<img src=x onerror=ran=1>", "Observed: <img src=x onerror=ran=1>"),
        ("cause=%E2%80%AE%00%ff", "Not audited: \u202e\x00\ufffd"),
        ("worst=", None),
    ],
)  # fmt: skip
def test_what_no_host_has_is_named_and_nothing_is_shown(
    chromium: Any, path: Path, query: str, named: str | None
) -> None:
    with LoadedPage(chromium, path, f"#hosts?{query}") as visit:
        text = visit.page.evaluate("document.querySelector('.found output').textContent")
        if named is None:
            assert text == f"{HOSTS} hosts"
        else:
            assert text == f"0 of {HOSTS} hosts. No host of this report has {named}."
            assert visit.hosts() == []
            assert visit.page.locator(".chip-unknown").count() >= 1
        assert (visit.console, visit.page.evaluate("globalThis.ran")) == ([], None)


def test_the_focus_follows_a_number_to_the_list_again_and_again(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, reduced_motion="reduce") as visit:
        number = visit.page.locator("#expectations a[data-filter]").first
        for _ in range(2):
            number.focus()
            visit.page.keyboard.press("Enter")
            visit.page.wait_for_function("() => document.activeElement.id === 'hosts-h'")
            top = visit.page.evaluate(
                "document.getElementById('hosts').getBoundingClientRect().top"
            )
            assert abs(top) < 100


def test_without_a_script_every_number_leads_to_its_details(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, java_script_enabled=False) as visit:
        numbers = visit.page.locator("a[data-filter]")
        places = numbers.evaluate_all("all => all.map(one => one.getAttribute('href'))")
        assert len(places) > 150
        ids = set(visit.page.locator("[id]").evaluate_all("all => all.map(one => '#' + one.id)"))
        assert set(places) <= ids
        visit.page.locator("#not-audited a[data-filter]").nth(1).click()
        assert "#cause-" in visit.page.url
        assert not visit.page.is_visible("#explorer")


def test_every_number_of_the_heat_map_leads_to_its_hosts(chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_of(fleet_of(40)), "utf-8")
    with LoadedPage(chromium, file) as visit:
        visit.page.click("text=Open all series")
        numbers = visit.numbers("#heat a[href^='#hosts?'], #kernels a[data-filter]")
        assert visit.console == []
    assert [n for n in numbers if n["counted"] != n["listed"] or not n["address"]] == []
    assert [n["text"] for n in numbers if "No host" in n["text"]] == []
    assert len(numbers) > 200
