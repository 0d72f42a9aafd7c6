"""The page in a real browser: it fetches nothing, runs nothing that a host sent, and reads well
without a mouse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.model import (
    Audited,
    AuditRun,
    Evidence,
    Finding,
    Kernel,
    NotAudited,
    Observation,
    Os,
    PeerWitness,
    Segment,
    Sysctl,
)
from fleetaudit.report.document import escape_invisible
from tests.support.browser import LoadedPage, page_of
from tests.support.runs import (
    K612,
    Fleet,
    run_of,
    small_fleet,
)

# ---- the text of it


# ---- hostile hosts

RAN = "globalThis.ran=1"
SEEDS = (
    f"<script>{RAN}</script>",
    f"<img src=x onerror={RAN}>",
    f"<svg onload={RAN}>",
    f'"><svg/onload={RAN}>',
    f"' autofocus onfocus={RAN} x='",
    f"</title><script>{RAN}</script>",
    f"</style><script>{RAN}</script>",
    f"</script><script>{RAN}</script>",
    f"--><script>{RAN}</script>",
    f"javascript:{RAN}",
    "<iframe src=http://127.0.0.1:9/x></iframe>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<style>*{display:none}</style>",
    "<details open ontoggle=globalThis.ran=1>",
    "{{ 7*7 }}{% raw %}",
    "{{ ''.__class__.__mro__ }}",
    "&lt;script&gt;&#x3c;",
    "\u202e\u2066evil\u2069",
)
WRAPS = (
    "{}",
    "{}{}",
    "a{}b",
    " {} ",
    "\x00{}",
    "\x1b[31m{}",
    "\u2028{}",
    "‘{}’",
    "<!--{}",
    "]]>{}",
)


def payloads() -> Iterator[str]:
    """1,000 of them, each unlike the others."""
    for n in range(5):
        for wrap in WRAPS:
            for seed in SEEDS:
                text = wrap.replace("{}", seed, 1).replace("{}", "")
                yield f"{text}~{n}{WRAPS.index(wrap)}{SEEDS.index(seed)}~"


def hostile_run() -> tuple[AuditRun, Sequence[str]]:
    """Returns a run whose every host-controlled string is a payload, and the payloads."""
    said = list(payloads())
    left = iter(said)
    spent = list[str]()

    def take() -> str:
        text = next(left, None) or f"{SEEDS[len(spent) % len(SEEDS)]}~more{len(spent)}~"
        spent.append(text)
        return text

    hosts: list[Audited | NotAudited] = []
    known = Fleet().host("known", K612)
    while len(spent) < 1000:
        wire = (
            Segment(
                at_us=3, sender="closer", flags="<b>R.", seq=1, ack=1, length=0, options=take()
            ),
        )
        added = ((0, (SEEDS[0],)), (1, ()))
        peer = PeerWitness(
            state=7, poll=(take(),), recv=(take(),), so_error=take(), poll_added=added
        )
        evidence = Evidence(
            wire=wire,
            wire_note=take(),
            peer=peer,
            kernel={take(): 1},
            queue={take(): 2},
            bytes={take(): 3},
            steps=((1, 99),),
        )
        seen = Observation(
            scenario="unread-close",
            family="ipv4",
            ending="FIN",
            trials=3,
            endings={"FIN": 2, take(): 1},
            evidence=evidence,
            reason=take(),
        )
        key = take()
        findings = tuple(
            Finding(
                id=f"sysctl:{of}",
                severity="error",
                expected=take(),
                observed=take(),
                because=take(),
                fix=take(),
                waived=take(),
            )
            for of in (key, take())
        )
        hosts.append(
            msgspec.structs.replace(
                known,
                name=take(),
                groups=(take(), take()),
                kernel=Kernel(release=take(), version=take(), machine=take()),
                os=Os(pretty_name=take()),
                python=take(),
                notes=(take(), take()),
                void=take() if len(hosts) % 2 else "",
                isolation="host" if len(hosts) % 3 else "namespace",
                observations=(seen,),
                sysctls={
                    take(): Sysctl(value=take(), default=take(), used=take()),
                    key: Sysctl(state=take()),
                },
                findings=findings,
            )
        )
        hosts.append(NotAudited(name=take(), groups=(), stage="decode", reason=take(), hint=take()))
    return run_of(hosts), spent


# ---- in a browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of(small_fleet()), "utf-8")
    return file


def test_the_page_logs_nothing_and_requests_nothing(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.open_all()
        assert visit.console == []
        assert visit.requests == [visit.url]


def test_no_text_of_a_host_runs_and_all_of_it_can_be_read(chromium: Any, tmp_path: Path) -> None:
    run, spent = hostile_run()
    assert len(set(spent)) == len(spent) >= 1000
    file = tmp_path / "hostile.html"
    file.write_text(page_of(run), "utf-8")
    with LoadedPage(chromium, file) as visit:
        visit.open_all()
        visit.page.fill("#filter", SEEDS[0])
        visit.page.fill("#filter", "")
        assert visit.page.evaluate("globalThis.ran") is None
        assert (visit.console, visit.dialogs, visit.requests) == ([], [], [visit.url])
        heard = (
            "Array.from(document.body.querySelectorAll('script')).forEach(s => s.remove()),"
            " document.body.textContent"
        )
        text = " ".join(visit.page.evaluate(heard).split())
        unread = [p for p in spent if " ".join(escape_invisible(p).split()) not in text]
        assert not unread, f"{len(unread)} cannot be read, the first is {unread[0]!r}"
        assert (
            visit.page.evaluate(
                "document.querySelectorAll('main img, iframe, main script, base, main"
                " style').length"
            )
            == 0
        )


def test_without_javascript_every_section_and_every_detail_is_there(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, java_script_enabled=False) as visit:
        assert not visit.page.is_visible("form.filter")
        assert visit.page.is_visible("text=Which kernels reset?")
        summary = visit.page.locator("#profile-1 > summary")
        assert not visit.page.is_visible("#profile-1 table.verdicts")
        summary.click()
        assert visit.page.is_visible("#profile-1 table.verdicts")


@pytest.mark.parametrize("width", [320, 768, 1280, 2560])
def test_the_page_itself_never_scrolls_sideways(chromium: Any, path: Path, width: int) -> None:
    with LoadedPage(chromium, path, viewport={"width": width, "height": 800}) as visit:
        visit.open_all()
        assert visit.width() <= width


def test_a_long_word_from_a_host_does_not_widen_a_phone_page(chromium: Any, tmp_path: Path) -> None:
    host = Fleet().host(
        "h" * 250,
        Kernel(release="r" * 250, version="v" * 250, machine="m" * 250),
        notes=("n" * 999,),
    )
    file = tmp_path / "long.html"
    file.write_text(
        page_of(
            run_of(
                [
                    host,
                    NotAudited(name="x" * 250, stage="connect", reason="y" * 999, hint="z" * 999),
                ]
            )
        )
    )
    with LoadedPage(chromium, file, viewport={"width": 320, "height": 800}) as visit:
        visit.open_all()
        assert visit.width() <= 320


def test_dark_is_dark_and_light_is_light(chromium: Any, path: Path) -> None:
    for scheme, dark in (("dark", True), ("light", False)):
        with LoadedPage(chromium, path, color_scheme=scheme) as visit:
            colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (max(map(int, re.findall(r"\d+", colour))) < 100) is dark


def test_the_first_tab_stop_skips_to_the_summary(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.textContent") == "Skip to the summary"
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate("document.activeElement.id") == "answers"


def test_on_paper_all_but_the_table_of_agreement_is_open_and_there_are_no_buttons(
    chromium: Any, path: Path
) -> None:
    opened = "details.unfold:not(#agreed) > :not(summary)"
    with LoadedPage(chromium, path) as visit:
        assert not visit.page.locator(opened).first.is_visible()
        visit.page.emulate_media(media="print")
        assert visit.page.locator(opened).count() > 0
        heights = visit.page.locator(opened).evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().height)"
        )
        assert min(heights) > 10
        assert not visit.page.is_visible("#agreed table")
        for hidden in ("nav", "#explorer", "button.copy"):
            assert not visit.page.is_visible(hidden)
        pdf = visit.page.pdf(format="A4")
        assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20


def test_void_hosts_and_hosts_in_their_own_namespace_are_marked_in_words(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.open_all()
        void = visit.page.locator("details.profile", has_text="db2.example.net").first
        assert "prove nothing" in void.inner_text()
        assert void.locator("td s .ending").count() == void.locator("td .ending").count() > 0
        assert (
            "host’s namespace"
            in visit.page.locator("details.profile", has_text="app07").first.inner_text()
        )
