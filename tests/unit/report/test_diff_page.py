"""The text of the page of two runs: same bytes for the same runs, working links, the policy."""

from __future__ import annotations

import base64
import hashlib
import re

import msgspec

from fleetaudit.model import AuditRun
from tests.support.browser import diff_page_of
from tests.support.runs import K510, K612, Fleet, run_of, small_fleet, upgraded_fleet


def words_of(page: str) -> str:
    """Returns what the page says, without its style and scripts."""
    body = re.sub(r"<(style|script|title)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", body).split())


def again(run: AuditRun) -> AuditRun:
    return msgspec.json.decode(msgspec.json.encode(run), type=AuditRun)


def test_the_same_runs_give_the_same_bytes() -> None:
    before, after = upgraded_fleet()
    assert diff_page_of(again(before), again(after)) == diff_page_of(before, after)


def test_the_policy_allows_only_the_style_and_the_script_by_their_hashes() -> None:
    text = diff_page_of(*upgraded_fleet())
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not re.search(
        r"\sstyle=|\son[a-z]+=", re.sub(r"<(style|script)\b.*?</\1>", "", text, flags=re.DOTALL)
    )


def test_every_link_has_a_target_on_the_page_and_every_anchor_is_unique() -> None:
    same = run_of([Fleet().host("a", K612)])
    refused = run_of([Fleet().host("b", K612)])
    pages = (upgraded_fleet(), (small_fleet(), small_fleet()), (same, refused))
    for text in (diff_page_of(*runs) for runs in pages):
        anchors = re.findall(r'\sid="([^"]+)"', text)
        assert len(anchors) == len(set(anchors))
        assert set(re.findall(r'href="#([^"]+)"', text)) <= set(anchors)


def test_the_page_begins_with_the_sentence_that_decides() -> None:
    words = words_of(diff_page_of(*upgraded_fleet()))
    assert words.index("✗ Regressions: unread-close on 1 host.") < 150
    assert "Exit status 8: something changed." in words
    assert f"{K510.release} → {K612.release} on 3 hosts" in words


def test_the_page_names_both_runs_and_the_command_that_makes_it_again() -> None:
    page = diff_page_of(*upgraded_fleet(), command="fleetaudit diff one two")
    words = words_of(page)
    assert "2026-11-22T02:00:00Z to 2026-11-22T02:03:41Z" in words
    assert "2026-11-23T02:00:00Z to 2026-11-23T02:03:41Z" in words
    assert "To make this page again: fleetaudit diff one two" in words
    (row,) = re.findall("<tr>.*Hosts not audited.*</tr>", page)
    assert re.findall("<td>(.*?)</td>", row) == ["1", "2"]
    assert ">differs<" in row


def test_a_page_of_runs_that_cannot_be_compared_has_the_reason_and_what_to_do() -> None:
    before, after = (run_of([Fleet().host(name, K612)]) for name in ("linux-a", "linux-b"))
    words = words_of(diff_page_of(before, after))
    assert "The two runs cannot be compared: the two runs have no host in common." in words
    assert "Exit status 65" in words
    assert "give a kernel that is replaced the same host name in both" in words
    assert "Kernels by scenarios" not in words


def test_runs_without_hosts_have_a_page() -> None:
    words = words_of(diff_page_of(run_of([]), run_of([])))
    assert "cannot be compared" in words
