"""Runs a lie together with three honest hosts, and compares what every output says of these.

The run is that of `fleetaudit merge`: engine, decoder, judge, store and all reports.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from fleetaudit.app.merge_output import MergeRequest, merge_into_folder
from fleetaudit.model import Audited, HostResult
from tests.hostile.table import Case, Seen

from .genuine import Genuine, Lie, as_line

HONEST = ("honest1", "honest2", "honest3")
LIAR = "liar"
MAX_PAGE = 1_500_000
MAX_SECONDS = 60.0
FORMATS = ("html", "json", "junit", "csv", "sarif", "prometheus", "text", "pcap")


class Ran(NamedTuple):
    """One run: its status, the liar, and what each output says of the honest hosts."""

    status: int
    liar: HostResult
    honest: Mapping[str, Any]
    page: int


class Fleet:
    """The honest hosts and the liar in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.genuine = Genuine(folder)
        self.replies = folder / "replies"
        self.replies.mkdir()
        for n, name in enumerate(HONEST):
            body = {**self.genuine.body, "machine_id": f"{n:032x}"}
            (self.replies / f"{name}.reply").write_bytes(as_line(body))
        self.without_lie = self.run(b"")

    def run(self, reply: bytes) -> Ran:
        """Returns the run in which the liar sends this."""
        (self.replies / f"{LIAR}.reply").write_bytes(reply)
        output = self.folder / "reports"
        request = MergeRequest(
            paths=(self.replies,),
            output=output,
            playbooks=(str(self.genuine.playbook),),
            formats=FORMATS,
        )
        done = merge_into_folder(request, lambda _: None)
        (liar,) = (host for host in done.written.run.hosts if host.name == LIAR)
        place = done.written.reports[0].parent
        ran = Ran(done.status, liar, of_honest(place), (place / "report.html").stat().st_size)
        shutil.rmtree(output)
        return ran

    def case(self, lie: Lie) -> Case:
        """Returns the case of one lie."""
        return Case(lie.name, lambda: self.check(lie))

    def check(self, lie: Lie) -> Seen:
        """Runs a lie, and says what is not as it must be."""
        reply = lie.send()
        began = time.monotonic()
        ran = self.run(reply)
        wrong = [
            *_of_the_liar(lie, ran),
            *(f"{output} of the honest hosts changed" for output in self.changed(ran)),
        ]
        if ran.page > MAX_PAGE:
            wrong.append(f"a page of {ran.page} bytes")
        if time.monotonic() - began > MAX_SECONDS:
            wrong.append("it took too long")
        reason = getattr(ran.liar, "reason", "") or _reasons(ran.liar)
        cells = {
            "liar": _state(ran.liar),
            "reason": reason.replace("|", "¦").replace("\n", " ")[:110],
            "status": ran.status,
            "honest": "same" if not self.changed(ran) else "changed",
        }
        return Seen(tuple(wrong), cells)

    def changed(self, ran: Ran) -> list[str]:
        """Returns the outputs that say something else of the honest hosts than without the lie."""
        before = self.without_lie.honest
        return [output for output in before if ran.honest[output] != before[output]]


def _state(host: HostResult) -> str:
    """Returns what became of the liar."""
    if isinstance(host, Audited):
        return "audited"
    return f"not audited: {host.stage}"


def _reasons(host: HostResult) -> str:
    """Returns the reasons of a host's observations that are inconclusive."""
    doubtful = (o.reason for o in host.observations if o.ending == "inconclusive")
    return "; ".join(dict.fromkeys(doubtful))


def _of_the_liar(lie: Lie, ran: Ran) -> list[str]:
    """Returns what is wrong with the row of the liar, and with the status of the run."""
    liar = ran.liar
    wrong = list[str]()
    if "a bug" in getattr(liar, "reason", ""):
        wrong.append("a bug in fleetaudit")
    expected = {"refused": (4,), "inconclusive": (2,), "own row": (0, 2)}[lie.seen]
    if ran.status not in expected:
        wrong.append(f"status {ran.status}, expected {expected}")
    text = liar.reason
    if lie.seen == "refused":
        if isinstance(liar, Audited) or liar.stage not in ("decode", "execute"):
            wrong.append(f"{_state(liar)}, expected to be refused")
        elif not liar.reason.isprintable():
            wrong.append("its reason is not printable")
    elif not isinstance(liar, Audited):
        wrong.append(f"{_state(liar)}: {liar.reason[:200]}")
    elif lie.seen == "inconclusive":
        text = _reasons(liar)
        if not text:
            wrong.append("a verdict on every scenario")
    if lie.words not in text:
        wrong.append(f"no “{lie.words}” in “{text[:200]}”")
    return wrong


# ---- what the outputs say of the honest hosts ----------------------------------------------------


def of_honest(place: Path) -> dict[str, Any]:
    """Returns what each output of a run says of the honest hosts."""
    return {
        "store.jsonl": _store_lines(place / "store.jsonl"),
        "run.json": _run_hosts(place / "run.json"),
        "JUnit": _suites(place / "junit.xml"),
        "CSV": _rows(place / "report.csv"),
        "page": _page_rows(place / "report.html"),
    }


def _store_lines(path: Path) -> list[bytes]:
    """Returns the lines up to the last honest host, without those of the run itself."""
    lines = path.read_bytes().splitlines()
    hosts = [n for n, line in enumerate(lines) if line.startswith(b'["host",')]
    first = next(n for n, line in enumerate(lines) if line.startswith(b'["evidence",'))
    return lines[first : hosts[len(HONEST) - 1] + 1]


def _run_hosts(path: Path) -> list[str]:
    """Returns the honest hosts of run.json."""
    hosts = json.loads(path.read_bytes())["hosts"]
    return [json.dumps(host) for host in hosts if host["name"] in HONEST]


def _suites(path: Path) -> list[str]:
    """Returns the suites of the honest hosts, without the time of the run."""
    suites = [*ElementTree.parse(path).getroot().iter("testsuite")]
    for suite in suites:
        suite.attrib.pop("timestamp", None)
    return [ElementTree.tostring(s, "unicode") for s in suites if s.get("name") in HONEST]


def _rows(path: Path) -> list[list[str]]:
    """Returns the rows of the honest hosts."""
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if row and row[0] in HONEST]


def _page_rows(path: Path) -> list[dict[str, Any]]:
    """Returns what the page knows of each honest host, with its shared values."""
    text = path.read_text().partition('id="data">')[2].partition("</script>")[0]
    data = json.loads(text)
    rows = list[dict[str, Any]]()
    for index in (data["names"].index(name) for name in HONEST):
        row = {key: data[key][index] for key in ("names", "state", "rate", "unread")}
        row["kernel"] = data["kernels"][data["kernel"][index]][:2]
        for key in ("about", "finding", "hint"):
            at = data[key][index]
            row[key] = data[f"{key}s"][at] if at >= 0 else None
        rows.append(row)
    return rows
