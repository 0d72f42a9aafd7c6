"""Every output with its consumer: the cases of the section, and the columns of the scoreboard."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import msgspec

from fleetaudit.model import Audited, AuditRun, NotAudited
from fleetaudit.store.run_file import encode_run
from tests.hostile.table import Case, Seen
from tests.support.runs import run_of
from tests.support.stored_runs import with_export_only

from . import bounds, browser, files, shells, terminal
from .corpus import of_kinds, payloads
from .runs import Made, make_run
from .scoreboard import Score, hidden_in
from .ssh_hosts import Hosts, hostile_hosts

COLUMNS = ("payloads", "fields", "pairs", "wrong")
RUN, BEFORE = "reports/2026-11-22T020000Z", "reports/2026-11-21T020000Z"
STEP = 613
"""How many payloads apart the runs begin: a prime, so that each lands in other fields."""


def cases(*, rounds: int = 6, hosts: int = 60, pages: int = 20, each: int = 12) -> list[Case]:
    """Returns all cases.

    `rounds` runs of `hosts` hosts go through each file, and as many of `pages` hosts through the
    page. `each` hosts on loopback say something in each of the ways that there are.
    """
    reads: list[tuple[str, Callable[[Made], Score], tuple[str, ...]]] = [
        ("junit × xml.etree and xmlschema", files.junit, ()),
        ("sarif × its schema", files.sarif, ()),
        ("csv × csv", files.csv_by_reader, ()),
        ("csv × LibreOffice", files.csv_by_libreoffice, ("soffice",)),
        ("prometheus × prometheus_client", files.prometheus, ()),
        ("prometheus × promtool", files.promtool, ("promtool",)),
        ("run.json × json and its schema", files.run_json, ()),
        ("store × fleetaudit", files.store, ()),
        ("pcap × file system and tcpdump", files.pcap_files, ("tcpdump",)),
        ("policy × YAML", files.policy, ()),
    ]
    made = [Case(name, partial(_files, read, rounds, hosts, needs)) for name, read, needs in reads]
    in_folder: list[tuple[str, Callable[[Path], Score], tuple[str, ...]]] = [
        ("report, explain, diff, runs, merge × pyte", _stored_commands, ()),
        ("run and its progress × pyte", partial(_live, _RUN, each), ("sshd",)),
        ("run -vv × pyte", partial(_live, (*_RUN, "-vv"), each), ("sshd",)),
        ("run --transport openssh × pyte", partial(_openssh, each), ("sshd",)),
        ("doctor × pyte", partial(_live, _DOCTOR, each), ("sshd",)),
        ("log file × text", partial(_log, each), ("sshd",)),
        ("replies, merge × pyte", partial(_merged, each), ("sshd",)),
        ("--notify, --cron × its command", partial(_notify, each), ("sshd",)),
        ("hints × sh", _hints, ()),
        ("schedule × crontab and sh", partial(_schedule, systemd=False), ("crontab",)),
        ("schedule × systemd", partial(_schedule, systemd=True), ("systemd-analyze",)),
        ("completion × bash", _completion, ("bash",)),
        ("10 MB at every stage × sizes", bounds.at_every_stage, ("sshd",)),
    ]  # fmt: skip
    made += [Case(name, partial(_in_folder, do, needs)) for name, do, needs in in_folder]
    made += [
        Case("page × Chromium", partial(_pages, rounds, pages)),
        Case("10 MB in a reply × decoder", lambda: _seen(bounds.fields_of_a_reply())),
        Case("10 MB in a run × every file", lambda: _seen(bounds.long_reasons())),
    ]
    return made


# ---- how a case is run


def _seen(*scores: Score) -> Seen:
    """Returns the row of one output, of several scores added up."""
    pairs = {(s.placed[tag].path, s.placed[tag].payload) for s in scores for tag in s.seen}
    wrong = [text for score in scores for text in score.wrong]
    cells = {
        "payloads": len({payload for _, payload in pairs}),
        "fields": len({path for path, _ in pairs}),
        "pairs": len(pairs),
        "wrong": len(wrong),
    }
    if not pairs:
        wrong.append("nothing of any payload was seen")
    return Seen(tuple(ascii(text)[:400] for text in wrong[:5]), cells)


def _missing(needs: Sequence[str]) -> Seen | None:
    """Returns a row for a program that is not installed; in CI that is wrong."""
    name = files.needed(*needs)
    if not name:
        return None
    if os.environ.get("CI"):
        return Seen((f"{name} is missing",))
    return Seen(cells={"wrong": f"{name} is missing"})


@cache
def _made(number: int, hosts: int) -> Made:
    """Returns one of the runs."""
    return make_run(number * STEP, hosts)


def _files(read: Callable[[Made], Score], rounds: int, hosts: int, needs: Sequence[str]) -> Seen:
    """Reads one file of several runs."""
    if missing := _missing(needs):
        return missing
    return _seen(*(read(_made(number, hosts)) for number in range(rounds)))


def _pages(rounds: int, hosts: int) -> Seen:
    """Opens the pages of several runs."""
    if not files.installed(*browser.EXECUTABLES) and (missing := _missing(("chromium",))):
        return missing
    scores = list[Score]()
    with browser.browser() as chromium:
        for number in range(rounds):
            made = _made(number, hosts)
            scores.append(browser.page(made, chromium, first=number * STEP))
        scores.append(browser.without_script(_made(0, hosts), chromium))
    return _seen(*scores)


def _in_folder(do: Callable[[Path], Score], needs: Sequence[str]) -> Seen:
    """Runs a case in a folder of its own."""
    if missing := _missing(needs):
        return missing
    with tempfile.TemporaryDirectory() as folder:
        return _seen(do(Path(folder)))


# ---- stored runs on a terminal


def _store(folder: Path, made: Made) -> AuditRun:
    """Writes a run and an earlier one, in which the same hosts had other texts."""
    run: AuditRun = msgspec.json.decode(encode_run(made.run), type=AuditRun)
    info = msgspec.structs.replace(run.run, id="2026-11-21T020000Z", started="2026-11-21T02:00:00Z")
    earlier = msgspec.structs.replace(run, run=info, hosts=_changed(run))
    for name, one in ((RUN, run), (BEFORE, earlier)):
        (folder / name).mkdir(parents=True)
        with_export_only(folder / name, one)
    (folder / "reports/latest").symlink_to(Path(RUN).name)
    return run


def _changed(run: AuditRun) -> tuple[Audited, ...]:
    """Returns the audited hosts of a run, each with the kernel and the system of another one."""
    hosts = run.audited
    others = (*hosts[1:], *hosts[:1])
    return tuple(
        msgspec.structs.replace(
            host, kernel=other.kernel, os=other.os, sysctls=other.sysctls, void=other.void
        )
        for host, other in zip(hosts, others, strict=True)
    )


def _stored_commands(folder: Path) -> Score:
    """Runs every command that prints something of a stored run."""
    made = make_run(0, 60)
    score = Score(made.placed)
    run = _store(folder, made)
    names = [host.name for host in run.hosts if "\0" not in host.name]
    lines = [
        ["report", RUN, "--format", "text"],
        ["diff", BEFORE, RUN],
        ["runs"],
        ["merge", RUN, "-o", "merged"],
        ["scenarios"],
        *(["explain", RUN, "--", name] for name in names),
        *(["explain", RUN, "--", host.name, host.observations[0].scenario] for host in run.audited
          if "\0" not in host.name + host.observations[0].scenario),
    ]  # fmt: skip
    terminal.read(score, terminal.commands(lines, folder))
    for words in (
        ["report", RUN, "--format", "json"],
        ["diff", BEFORE, RUN, "--format", "json"],
        ["runs", "--format", "json"],
        *(["explain", RUN, "--format", "json", "--", name] for name in names[:9]),
    ):
        text = shells.run(words, folder).stdout.decode()
        if hidden := hidden_in(text):
            score.fail(f"printed as they are: {sorted(map(ascii, hidden))[:9]}")
        files.read_json(score, json.loads(text))
    return score


# ---- hosts on loopback

_OPTIONS = ("--host-key-policy", "accept-new", "--retries", "0")
_RUN = ("run", "hosts", "-p", "quick.yml", *_OPTIONS, "-v")
_DOCTOR = ("doctor", "hosts", *_OPTIONS)


@contextmanager
def _loopback(folder: Path, each: int) -> Iterator[Hosts]:
    """Starts hosts that say every ninth payload or so."""
    with hostile_hosts(folder, payloads()[::7], each) as hosts:
        yield hosts


def _live(words: Sequence[str], each: int, folder: Path) -> Score:
    """Runs a command with these hosts on a terminal."""
    with _loopback(folder, each) as hosts:
        score = Score(hosts.placed)
        data = terminal.show(["-m", "fleetaudit", *words], folder)
        text = terminal.read(score, data, has_bar=True)
    if words[0] == "run" and "audited, kernel" not in text:
        score.fail("no reply with payloads was taken, so their fields were not tested")
    return score


def _openssh(each: int, folder: Path) -> Score:
    """Runs an audit by the system's ssh, which escapes what it quotes in its own way (vis(3))."""
    with _loopback(folder, each) as hosts:
        score = Score(hosts.placed)
        words = ("-m", "fleetaudit", *_RUN, "--transport", "openssh")
        text = terminal.read(score, terminal.show(words, folder), has_bar=True)
    by_ssh = Score(hosts.placed)
    by_ssh.read(re.sub(r"\\[0-3][0-7]{2}|\\\\", _unescape, text), _without_escapes)
    # A text is right as fleetaudit shows it, or as ssh does.
    wrong = {failed.split(" is ")[0] for failed in by_ssh.wrong}
    score.wrong = [failed for failed in score.wrong if failed.split(" is ")[0] in wrong]
    return score


def _unescape(found: re.Match[str]) -> str:
    """Returns a character that ssh escaped, "" for one that is no letter."""
    return "\\" if found[0] == "\\\\" else ""


def _without_escapes(payload: str) -> str:
    """Returns the characters of a payload that ssh never escapes; of several lines a reason quotes
    the last one.
    """
    return "".join(c for c in payload.split("\n")[-1] if " " < c < "\x7f")


def _log(each: int, folder: Path) -> Score:
    """Reads the log file of a run."""
    with _loopback(folder, each) as hosts:
        score = Score(hosts.placed)
        shells.run(_RUN, folder, FLEETAUDIT_LOG_PATH="log")
    text = (folder / "log").read_text("utf-8")
    score.refuse_hidden(text)
    score.read(text)
    for line in text.splitlines():
        if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ |  ", line):
            score.fail(f"a forged line: {line!r}")
    return score


def _merged(each: int, folder: Path) -> Score:
    """Merges replies that were fetched by other means, and prints the run that this makes."""
    with _loopback(folder, each) as hosts:
        score = Score(hosts.placed)
        replies = folder / "replies"
        replies.mkdir()
        for file in (folder / "said").glob("*.out"):
            (replies / f"{file.stem}.reply").write_bytes(file.read_bytes())
    lines = [
        ["merge", "-p", "quick.yml", "replies", "-o", "merged"],
        *(["explain", "merged/latest", file.stem] for file in sorted(replies.iterdir())),
    ]
    terminal.read(score, terminal.commands(lines, folder))
    return score


def _notify(each: int, folder: Path) -> Score:
    """Runs an unattended audit with --notify."""
    with _loopback(folder, each) as hosts:
        return shells.notify(folder, hosts.placed)


# ---- shells


def _hints(folder: Path) -> Score:
    """Types the hints for hosts whose names are payloads, as far as an inventory takes them."""
    from fleetaudit.inventory.host_names import InvalidNameError, parse_host_name

    names = list[str]()
    for payload in of_kinds("shell", "paths", "templates", "cron", "systemd", "html"):
        name = re.sub(r"\s", "${IFS}", payload.text)
        try:
            found, port = parse_host_name(name)
        except InvalidNameError:
            continue
        if port is None and len(found) == 1:
            names += found
    (folder / "quick.yml").write_text(
        "- {name: x, hosts: all, scenarios: [unread-close/unread-close]}"
    )
    return shells.hints(folder, list(dict.fromkeys(names)))


def _schedule(folder: Path, *, systemd: bool) -> Score:
    """Schedules inventories whose names are payloads."""
    chosen = of_kinds("shell", "cron", "systemd", "paths", "ansi", "invisible", "bidi", "templates")
    score = shells.schedule(folder, chosen, systemd=systemd)
    if systemd:
        shells.verify_units(score, folder)
    return score


def _completion(folder: Path) -> Score:
    """Completes the hosts of a run whose names are payloads."""
    chosen = of_kinds("shell", "paths", "homoglyphs", "systemd", "cron", "ansi", "invisible")
    names = dict.fromkeys(payload.text for payload in chosen)
    hosts = [NotAudited(name=name, stage="connect", reason="x") for name in names]
    _store(folder, Made(run_of(hosts), {}))
    return shells.completion(folder, [*names])
