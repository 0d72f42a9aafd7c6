"""The step language: every phrase parses to its tuple, and a line that is no phrase is explained
word by word.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import Family, Step
from fleetaudit.playbook import parse_playbook
from fleetaudit.playbook.phrases import PHRASES, Phrase
from fleetaudit.playbook.step_order import order_problem, step_families
from fleetaudit.playbook.steps import MAX_BYTES, SOCKET_OPTIONS, StepError, parse_step
from tests import ROOT

EXAMPLE = {
    "SIDE": "peer",
    "N": "7",
    "TIME": "50 ms",
    "BACKLOG": "2",
    "OTHERS": "3",
    "SYSCTL": "net.ipv4.tcp_rmem",
    "VALUES": "4096 8192 16384",
    "OPTION": "SO_LINGER 1 0",
}


def steps(*texts: str) -> list[Step]:
    return [parse_step(text) for text in texts]


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: phrase.pattern)
def test_every_phrase_of_the_language_can_be_parsed(phrase: Phrase) -> None:
    text = " ".join(EXAMPLE.get(word, word) for word in phrase.pattern.split())
    step = parse_step(text)
    assert step.text == text
    assert len(step.call) >= 2
    assert not any(str(part).startswith("$") for part in step.call)


def phrase_table() -> str:
    """Returns the language as the table that docs/scenarios.md shows."""
    return "\n".join(
        [
            "| step | what it does |",
            "|---|---|",
            *(f"| `{p.pattern}` | {p.meaning} |" for p in PHRASES),
        ]
    )


def test_the_documentation_has_every_phrase_and_option_of_the_language() -> None:
    page = (ROOT / "docs" / "scenarios.md").read_text("utf-8")
    assert phrase_table() in page
    assert [name for name in SOCKET_OPTIONS if f"`{name}`" not in page] == []


def test_the_playbook_in_the_documentation_is_valid() -> None:
    page = (ROOT / "docs" / "scenarios.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    (play,) = parse_playbook(example, source="docs/scenarios.md").plays
    assert "unread-large-close" in {s.name for s in play.scenarios}


def test_no_two_phrases_are_the_same() -> None:
    assert len({phrase.pattern for phrase in PHRASES}) == len(PHRASES)
    assert len({phrase.call for phrase in PHRASES}) == len(PHRASES)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("peer sends 5 bytes", ("peer", "send", 5)),
        ("peer sends 1 byte", ("peer", "send", 1)),
        ("  closer   closes ", ("closer", "close")),
        ("closer sets SO_LINGER 1 0", ("closer", "set", "SO_LINGER", 1, 0)),
        ("closer sets TCP_LINGER2 -1", ("closer", "set", "TCP_LINGER2", -1)),
        ("closer reads the urgent byte", ("closer", "read-urgent")),
        ("peer resends 10 urgent bytes with FIN", ("peer", "resend-fin", 10, "urgent")),
        ("peer connects with 5 bytes in the SYN", ("peer", "connect", "fastopen", 5)),
        (
            "namespace sets net.ipv4.tcp_fastopen 519",
            ("namespace", "sysctl", "net.ipv4.tcp_fastopen", "519"),
        ),
        (
            "namespace sets net.ipv4.tcp_rmem 4096  8192 16384",
            ("namespace", "sysctl", "net.ipv4.tcp_rmem", "4096 8192 16384"),
        ),
        ("wait 50 ms", ("both", "wait", 50)),
        ("wait 50ms", ("both", "wait", 50)),
        ("wait 1 millisecond", ("both", "wait", 1)),
        ("closer waits 1.001 seconds", ("both", "wait", 1001)),
        ("peer waits 0.5 s", ("both", "wait", 500)),
        ("closer sends nothing for 2 seconds", ("closer", "wait", 2000)),
        ("closer sets TCP_KEEPIDLE 1", ("closer", "set", "TCP_KEEPIDLE", 1)),
        ("peer tries to connect", ("peer", "connect", "unanswered")),
        ("peer vanishes", ("peer", "vanish")),
        ("3 others wait in the accept queue", ("others", "queue-up", 3)),
        ("second listener joins with SO_REUSEPORT", ("listener", "share")),
        ("peer connects again from the same port", ("peer", "reconnect")),
        ("namespace drops RST", ("namespace", "drop", "rst")),
        ("namespace drops invalid", ("namespace", "drop", "invalid")),
        ("peer is killed", ("peer", "end", "kill")),
        ("peer exits", ("peer", "end", "exit")),
        ("closer reads 5 bytes with MSG_WAITALL", ("closer", "read-waitall", 5)),
        ("listener has a backlog of 2", ("listener", "backlog", 2)),
        ("peer resends 10 bytes", ("peer", "resend", 10)),
        ("peer sends 1 byte out of order", ("peer", "send-out-of-order", 1)),
        ("both sign with TCP_MD5SIG", ("both", "sign")),
    ],
)
def test_a_step_becomes_the_tuple_that_the_probe_runs(
    text: str, call: tuple[str | int, ...]
) -> None:
    assert parse_step(text).call == call


@pytest.mark.parametrize(
    ("text", "word", "wanted"),
    [
        ("server closes", "server", {"closer", "peer", "listener"}),
        ("closer closess", "closess", {"closes", "exits", "sends"}),
        ("closer reads", "", {"all", "the", "to", "a number of bytes"}),
        ("peer sends five bytes", "five", {"a number of bytes", "until"}),
        ("peer sends 5 bytes now", "now", {"nothing more"}),
        (f"peer sends {MAX_BYTES + 1} bytes", str(MAX_BYTES + 1), {"a number of bytes"}),
        ("closer sets SO_LINGER 1", "", {"an integer"}),
        ("closer sets SO_LINGRE 1 0", "SO_LINGRE", {"SO_LINGER"}),
        ("namespace sets kernel.panic 1", "kernel.panic", {"net.ipv4.…"}),
        ("peer is destroyed", "destroyed", {"killed", "terminated"}),
        ("wait 2001 ms", "2001", {"a time from 1 to 2000 ms"}),
        ("closer sends nothing for 3 seconds", "3", {"a time from 1 to 2000 ms"}),
        ("17 others wait in the accept queue", "17", {"a number from 1 to 16"}),
        ("namespace drops FIN", "FIN", {"RST", "invalid"}),
        ("wait 3 seconds", "3", {"a time from 1 to 2000 ms"}),
        ("wait 0 ms", "0", {"a time from 1 to 2000 ms"}),
        ("wait 1.5 ms", "1.5", {"a time from 1 to 2000 ms"}),
        ("wait 5", "", {"ms", "seconds"}),
        ("wait 5 minutes", "minutes", {"ms", "seconds"}),
        ("listener has a backlog of 1025", "1025", {"a number from 2 to 1024"}),
        ("listener has a backlog of 1", "1", {"a number from 2 to 1024"}),
        ("namespace sets net.ipv4.tcp_rmem", "", {"a value"}),
        ("namespace sets net.ipv4.tcp_rmem 1 2 3 4 5 6 7 8 9", "9", {"nothing more"}),
        ("", "", {"closer", "peer"}),
    ],
)
def test_a_wrong_step_names_the_word_and_what_is_expected(
    text: str, word: str, wanted: set[str]
) -> None:
    with pytest.raises(StepError) as caught:
        parse_step(text)
    assert caught.value.word == word
    assert wanted <= set(caught.value.expected)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("closer closess", "closes"),
        ("waits 50 ms", "wait"),
        ("wait 50 msec", "ms"),
        ("peer is kiled", "killed"),
        ("closer reads 5 bytes with WAITALL", "MSG_WAITALL"),
        ("listener has a backlogg of 2", "backlog"),
        ("peer resend 5 bytes", "resends"),
        ("both sign with MD5SIG", "TCP_MD5SIG"),
        ("both sign with TCP_MD5", "TCP_MD5SIG"),
    ],
)
def test_a_similar_word_is_suggested(text: str, near: str) -> None:
    with pytest.raises(StepError, match=f"did you mean “{near}”"):
        parse_step(text)


@given(
    st.lists(
        st.sampled_from(
            sorted(
                {w for p in PHRASES for w in p.pattern.split()} | {"5", "1", "-1", *SOCKET_OPTIONS}
            )
        )
    )
)
def test_any_words_give_a_step_with_the_same_text_or_an_error(words: list[str]) -> None:
    text = " ".join(words)
    try:
        step = parse_step(text)
    except StepError as e:
        error = e
    else:
        assert parse_step(step.text) == step
        return
    assert error.expected


@pytest.mark.parametrize(
    ("texts", "families"),
    [
        (["closer closes"], ("ipv4", "ipv6")),
        (["peer connects over MPTCP", "closer closes"], ("ipv4", "ipv6")),
        (["peer connects over AF_UNIX", "closer closes"], ("unix",)),
        (["closer connects over AF_UNIX SOCK_SEQPACKET", "closer closes"], ("unix",)),
        (["peer connects over IPv4-mapped IPv6", "closer closes"], ("ipv6",)),
    ],
)
def test_families_follow_from_the_steps(texts: list[str], families: tuple[Family, ...]) -> None:
    assert step_families(steps(*texts), ("ipv4", "ipv6")) == families


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "at least one step"),
        (["peer sends 5 bytes"], "no step ends anything"),
        (["peer sends 5 bytes", "peer connects", "closer closes"], "before every other step"),
        (["peer connects", "closer connects", "closer closes"], "before every other step"),
        (
            ["closer closes", "peer connects again from the same port"],
            "must come after both sides have closed",
        ),
        (
            ["closer closes", "peer closes", "closer connects again from the same port"],
            "it was the peer that connected",
        ),
        (
            [
                "closer connects",
                "closer closes",
                "peer closes",
                "peer connects again from the same port",
            ],
            "it was the closer that connected",
        ),
        (
            ["peer connects over MPTCP", "2 others wait in the accept queue", "closer closes"],
            "subflow",
        ),
        (["closer waits 1 s"], "no step ends anything"),
        (["peer vanishes", "peer sends 5 bytes"], "peer is gone since “peer vanishes”"),
        (["peer connects over MPTCP", "peer vanishes"], "each subflow has its own socket"),
        (["peer connects over AF_UNIX", "peer vanishes"], "AF_UNIX has nothing of the kind"),
        (["peer tries to connect", "peer connects"], "before every other step"),
        (["closer closes", "closer reads all"], "closer is gone since “closer closes”"),
        (["closer is killed", "closer closes"], "gone since “closer is killed”"),
        (["peer closes", "peer sends 5 bytes", "closer closes"], "peer is gone"),
        (
            ["peer connects over AF_UNIX", "closer disconnects"],
            "“closer disconnects”: AF_UNIX has nothing of the kind",
        ),
        (["peer connects over AF_UNIX", "closer is destroyed"], "AF_UNIX has nothing of the kind"),
        (
            ["peer connects over AF_UNIX", "closer sets TCP_NODELAY 1", "closer closes"],
            "nothing of the kind",
        ),
        (["listener closes", "peer connects over AF_UNIX", "closer closes"], "nothing of the kind"),
        (
            [
                "peer connects over AF_UNIX SOCK_SEQPACKET",
                "peer sends 1 urgent byte",
                "closer closes",
            ],
            "AF_UNIX SOCK_SEQPACKET has no urgent data",
        ),
        (
            ["peer is killed", "peer sends 5 bytes", "closer closes"],
            "peer is gone since “peer is killed”",
        ),
        (
            ["peer connects", "both sign with TCP_MD5SIG", "closer closes"],
            "must come before every step",
        ),
        (
            ["peer sends 5 bytes", "listener has a backlog of 2", "closer closes"],
            "must come before every step",
        ),
        (
            ["peer connects", "listener sets TCP_FASTOPEN 5", "closer closes"],
            "must come before every step",
        ),
        (
            ["both sign with TCP_MD5SIG", "peer connects over AF_UNIX", "closer closes"],
            "AF_UNIX has nothing of the kind",
        ),
        (
            ["peer connects over AF_UNIX", "peer sends 5 bytes out of order", "closer closes"],
            "AF_UNIX has nothing",
        ),
        (
            ["both sign with TCP_MD5SIG", "peer sends 5 bytes out of order", "closer closes"],
            "is not signed",
        ),
        (
            ["others fill the accept queue", "listener closes"],
            "the RST of each stranger would be counted",
        ),
        (
            ["peer connects over MPTCP", "peer sends 5 bytes out of order", "closer closes"],
            "not over MPTCP",
        ),
        (["peer sends 32769 bytes out of order", "closer closes"], "holds 32768 bytes at most"),
        (["wait 2 s", "wait 2 s", "wait 2 s", "closer closes"], "the steps wait 6000 ms"),
    ],
)
def test_an_order_that_cannot_run_is_refused(texts: list[str], said: str) -> None:
    assert said in order_problem(steps(*texts))


@pytest.mark.parametrize(
    "texts",
    [
        ["closer closes"],
        ["listener sets TCP_FASTOPEN 5", "peer connects with 5 bytes in the SYN", "closer closes"],
        ["closer duplicates its socket", "closer closes", "closer closes the other reference"],
        [
            "closer half-closes",
            "peer sends 5 bytes",
            "closer closes",
            "peer reads to the end",
            "peer closes",
        ],
        [
            "peer connects over AF_UNIX",
            "closer sets SO_RCVBUF 4096",
            "peer sends 1 urgent byte",
            "closer closes",
        ],
        ["others fill the accept queue", "peer sends 5 bytes"],
        ["closer closes", "closer waits 50 ms", "peer sends 5 bytes"],
        [
            "both sign with TCP_MD5SIG",
            "listener has a backlog of 2",
            "peer connects",
            "closer closes",
        ],
    ],
)
def test_an_order_that_can_run_is_not_refused(texts: list[str]) -> None:
    assert order_problem(steps(*texts)) == ""
