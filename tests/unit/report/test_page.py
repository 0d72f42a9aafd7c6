"""The text of the page: same bytes for the same run, working links, every host named."""

from __future__ import annotations

import base64
import hashlib
import re

import msgspec

from fleetaudit.model import AuditRun, NotAudited, ScenarioRow
from fleetaudit.report.document import escape_invisible
from tests.support.browser import page_of
from tests.support.runs import run_of, small_fleet


def test_the_same_run_gives_the_same_bytes() -> None:
    again = msgspec.json.decode(msgspec.json.encode(small_fleet()), type=AuditRun)
    assert page_of(again) == page_of(small_fleet())


def test_the_policy_allows_only_the_style_and_the_script_by_their_hashes() -> None:
    text = page_of(small_fleet())
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(
            rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL
        )  # the data has a type, so it is not a script
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not re.search(
        r"\sstyle=|\son[a-z]+=", re.sub(r"<(style|script)\b.*?</\1>", "", text, flags=re.DOTALL)
    )


def test_every_link_has_a_target_on_the_page_and_every_anchor_is_unique() -> None:
    text = page_of(small_fleet())
    anchors = re.findall(r'\sid="([^"]+)"', text)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(anchors)


def test_every_selected_host_is_named_on_the_page_and_the_numbers_at_the_top_add_up() -> None:
    run = small_fleet()
    words = " ".join(re.sub(r"<[^>]+>", "", page_of(run)).split())
    assert "27 hosts selected: 18 audited on 3 kernel builds, 9 not audited." in words
    for host in run.hosts:
        assert host.name in words or host.name.startswith("cache")
    assert "cache[1-4]" in words


def test_a_run_without_hosts_and_a_run_without_audited_hosts_have_a_page() -> None:
    assert "No host was audited" in page_of(run_of([]))
    lost = [h for h in small_fleet().hosts if isinstance(h, NotAudited)]
    assert "9 of 9 selected hosts were not audited" in re.sub(r"<[^>]+>", "", page_of(run_of(lost)))


def test_invisible_characters_are_escaped() -> None:
    assert (
        escape_invisible("web\u202etxt\x1b[0m\u200b\ud800") == "web\\u202etxt\\x1b[0m\\u200b\\ud800"
    )
    assert escape_invisible("größer 日本") == "größer 日本"


def test_a_scenario_that_no_host_ran_is_on_the_page() -> None:
    row = ScenarioRow(
        name="only", title="", steps=(), expect=("FIN",), severity="info", control=None, because=""
    )
    assert "only" in page_of(msgspec.structs.replace(run_of([]), scenarios=(row,)))
