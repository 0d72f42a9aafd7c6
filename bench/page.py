"""How large the page of 10,000 hosts on 40 kernels is, what it costs to make, and how soon a
browser answers.

    python -m bench.page [--hosts N] [--no-browser]

Prints a line for a usual fleet (many equal hosts) and one for a fleet in which no two hosts are
equal. The exit status is 1 if the first takes more than 1.5 MB, 10 s or 500 MB to render, 2 s until
it can be used or 100 ms for a filter.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from fleetaudit.analysis.compare import compare
from fleetaudit.app.kernel_table import add_known_kernels
from fleetaudit.model import (
    Audited,
    AuditRun,
    HostResult,
    Kernel,
    Observation,
    Sysctl,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.report.html import render
from tests.support.browser import ARGUMENTS, GENERATED
from tests.support.runs import (
    Fleet,
    exposure_of,
    missing,
    observe,
    run_of,
)

MEGABYTES, SECONDS, MEMORY_MB, READY_S, FILTER_S = 1.5, 10.0, 500.0, 2.0, 0.1
PLAYBOOK = Path("playbooks/unread-close.yml")
SYSCTLS = 90
"""How many sysctls every host has besides those of a test run: a probe reports about a hundred."""
SERIES = ("5.4", "5.10", "5.15", "6.1", "6.6", "6.12", "6.17", "6.18")
GROUPS = ("web", "app", "db", "cache", "queue", "proxy", "batch", "edge")


def kernels(count: int = 40) -> list[Kernel]:
    """Returns as many builds, spread over the series."""
    return [
        Kernel(
            release=f"{SERIES[i % len(SERIES)]}.{100 + i}-amd64",
            version=f"#1 SMP Debian {i} (2026-09-{1 + i % 28:02})",
            machine="x86_64",
        )
        for i in range(count)
    ]


def hosts(count: int, *, equal: bool, odd: int = 0) -> Iterator[HostResult]:
    """Yields hosts: old series reset on reread-fin-close, some sysctls are astray, one in a hundred
    is not reached; unless `equal`, every host has a value and an ending of its own.

    Hosts of one build that behave in the same way share their observations, sysctls and findings.
    With `odd`, as many of a hundred hosts have the sysctls of others, and the counters of all are
    smaller.
    """
    fleet = Fleet(scenarios=load_playbook(PLAYBOOK).plays[0].scenarios)
    reread = next(s for s in fleet.scenarios if s.name == "reread-fin-close")
    rows = list(fleet.scenarios)
    models = dict[tuple[int, int], Audited]()
    observations = dict[int, tuple[Observation, ...]]()
    usual = {f"net.ipv4.tcp_{i}": Sysctl(value=str(i), default=str(i)) for i in range(SYSCTLS)}
    for n in range(count):
        group = GROUPS[n * len(GROUPS) // count]
        name = f"{group}{n % (count // len(GROUPS) or 1):04}.dc{1 + n % 3}.example.net"
        if n % 100 == 99:
            yield missing(
                name, "connect", f"no answer from {name}:22 within 10 s", f"nc -vz {name} 22", group
            )
            continue
        at, kind = n % 40, (n // 40 + (n % 100 < odd)) % 10
        if (at, kind) not in models:
            kernel = kernels()[at]
            old = at % len(SERIES) < 3
            instead = [observe(reread, f, "RST") for f in reread.families] if old else []
            timeout = Sysctl(value="120" if kind == 7 else "60", default="60")
            sysctls = {**usual, "net.ipv4.tcp_fin_timeout": timeout}
            model = fleet.host("model", kernel, instead=instead, sysctls=sysctls)
            seen = observations.setdefault(at, model.observations)
            models[at, kind] = msgspec.structs.replace(model, observations=seen)
        host = models[at, kind]
        if not equal:
            row = rows[n % len(rows)]
            other = {
                (row.name, f): observe(row, f, "inconclusive", reason=f"trial {n} disagrees")
                for f in row.families
            }
            host = msgspec.structs.replace(
                host,
                observations=tuple(other.get((o.scenario, o.family), o) for o in host.observations),
                sysctls={
                    **host.sysctls,
                    "net.ipv4.tcp_max_orphans": Sysctl(value=str(n), default="8192"),
                },
            )
        yield msgspec.structs.replace(
            host,
            name=name,
            groups=(group,),
            machine_id=str(n),
            exposure=exposure_of(n * 7919 % 5000, 4_000_000 - 1_000_000 * bool(odd), n % 3),
        )


def make(count: int, equal: bool, path: Path) -> tuple[float, float, float]:
    """Returns size in MB, CPU seconds and peak memory in MB beyond that of the run itself; run in a
    fresh process.
    """
    scenarios = load_playbook(PLAYBOOK).plays[0].scenarios
    run: AuditRun = add_known_kernels(run_of(hosts(count, equal=equal), scenarios))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.process_time()
    text = render(compare(run), generated=GENERATED)
    took = time.process_time() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    path.write_text(text, "utf-8")
    return path.stat().st_size / 1e6, took, after - before


def browse(path: Path) -> tuple[float, float]:
    """Returns the seconds until the page can be used, and those that a filter takes until its rows
    are drawn.
    """
    from playwright.sync_api import sync_playwright

    drawn = """(text) => new Promise((done) => {
        const input = document.getElementById('filter');
        const began = performance.now();
        input.value = text;
        input.dispatchEvent(new Event('input', {bubbles: true}));
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
    })"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri(), wait_until="load")
        ready = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        page.locator("#hosts").scroll_into_view_if_needed()
        filtered = max(page.evaluate(drawn, text) for text in ("db", "web 1", "dc2", ""))
        browser.close()
    return ready / 1000, filtered / 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for equal in (True, False):
            path = Path(folder) / "report.html"
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                size, took, memory = pool.apply(make, (options.hosts, equal, path))
            ready, filtered = (0.0, 0.0) if options.no_browser else browse(path)
            words = "many equal hosts" if equal else "no two hosts equal"
            print(
                f"{options.hosts:,} hosts, {words}: {size:.2f} MB, rendered in {took:.1f} s CPU,"
                f" {memory:.0f} MB; usable after {ready:.2f} s, a filter takes"
                f" {filtered * 1000:.0f} ms"
            )
            limits = (MEGABYTES, SECONDS, MEMORY_MB, READY_S, FILTER_S)
            failed |= equal and any(
                v > most
                for v, most in zip((size, took, memory, ready, filtered), limits, strict=True)
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
