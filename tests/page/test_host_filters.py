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
        yield waive(host, f"accepted, see ticket {n % 36}") if n % 18 == 0 else host


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


NUMBERS = """async () => {
    const found = [];
    for (const link of Array.from(document.querySelectorAll("a[data-filter]"))) {
        link.click();
        await new Promise((done) => setTimeout(done));
        const text = document.querySelector(".found output").textContent;
        const first = (words) => Number(words.match(/[0-9,]+/)[0].replace(/,/g, ""));
        found.push({
            section: link.closest("section")?.id || "", filter: link.dataset.filter,
            counted: first(link.textContent), listed: first(text), text,
            address: location.hash === link.getAttribute("href"),
        });
    }
    return found;
}"""
SECTIONS = {"kernels", "duels", "expectations", "changes", "not-audited", "sysctls", "hosts"}


def test_as_many_hosts_are_listed_as_every_number_counts(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        numbers = visit.page.evaluate(NUMBERS)
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
