"""The files for other tools, each read by that tool or its reference reader."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import yaml
from msgspec.structs import replace

from fleetaudit.analysis.policy import behaviour_of_host, render_playbook
from fleetaudit.model import Audited, AuditRun, Sysctl
from fleetaudit.report import pcap, registry
from fleetaudit.store.run_file import encode_run, read_run, run_schema
from tests.support.runs import small_fleet
from tests.support.stored_runs import with_export_only
from tests.unit.report import test_formats as readers

from .runs import Made, harmless, make_run
from .scoreboard import Score, hidden_in, shown

ROOT_URI = "%SRCROOT%"
PLAY_KEYS = {"name", "hosts", "scenarios", "sysctls", "trials", "adjust", "families"}
_FIRST_OF_FORMULA = tuple("=+-@\t\r＝＋－＠")


def render(made: Made, name: str) -> str:
    """Returns an output as text."""
    return registry.render(made.run, name).decode("utf-8")


def junit(made: Made) -> Score:
    """JUnit, by an XML parser and the schema of Jenkins."""
    score, text = Score(made.placed), render(made, "junit")
    score.refuse_hidden(text)
    root = readers.read_junit(text)
    for element in root.iter():
        for value in (*element.attrib.values(), element.text or ""):
            score.read(value)
    names = [suite.get("name") for suite in root.findall("testsuite")]
    if len(set(names)) != len(made.run.hosts):
        score.fail("two hosts have one name")
    return score


def sarif(made: Made) -> Score:
    """SARIF, by the schema of OASIS; the plain text of messages is what a viewer shows."""
    score, text = Score(made.placed), render(made, "sarif")
    score.refuse_hidden(text)
    log = readers.read_sarif(text)
    for message in _messages(log):
        score.read(_plain(score, message))
        if found := re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\((?!1\))", message):
            score.fail(f"a link: {found[0]!r} in {message!r}")
    for name, value in _texts(log):
        if name not in ("text", "uri"):
            score.read(value)
        if name == "uri" and not re.fullmatch(r"[A-Za-z0-9%/._~:-]+", value):
            score.fail(f"not a URI: {value!r}")
    return score


def _plain(score: Score, message: str) -> str:
    """Returns a message as SARIF 2.1.0, 3.11.5 and 3.11.6 have it read: no link, no placeholder."""
    if re.search(r"(?<!\{)(\{\{)*\{(?!\{)", message):
        score.fail(f"a placeholder: {message!r}")
    text = message.replace("{{", "{").replace("}}", "}")
    return re.sub(r"\\([\\\[\]])", r"\1", text)


def _messages(log: dict[str, Any]) -> Iterator[str]:
    """Yields the texts of all message objects."""
    return (value for name, value in _texts(log) if name == "text")


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yields every text of JSON with the key that it has."""
    if isinstance(value, str):
        yield name, value
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _texts(inner, key)
    for inner in value if isinstance(value, list) else ():
        yield from _texts(inner, name)


def csv_by_reader(made: Made) -> Score:
    """CSV, by Python's strict reader; no cell begins as a formula, with either separator."""
    score, text = Score(made.placed), render(made, "csv")
    score.refuse_hidden(text.replace("\r\n", "\n"))
    for row in readers.read_csv(text):
        for cell in row.values():
            score.read(_without_quotes(cell), _in_cell)
    for separator in ",;\t|":
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            for cell in record:
                if cell.lstrip(' "').startswith(_FIRST_OF_FORMULA):
                    score.fail(f"a formula with {separator!r}: {cell!r}")
    return score


def _in_cell(payload: str) -> str:
    """Returns what a cell shows of a payload; the apostrophe against formulas is left out."""
    return _without_quotes(shown(payload))


def _without_quotes(text: str) -> str:
    return text.replace("'", "")


def csv_by_libreoffice(made: Made) -> Score:
    """CSV, opened by LibreOffice as a spreadsheet; with each separator, no cell is a formula."""
    score = Score(made.placed)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "report.csv")
        table.write_text(render(made, "csv"), "utf-8", newline="")
        # Comma, semicolon, both with tab and bar; a blank would cut every text into words.
        for separators in ("44", "59", "44/59/9/124"):
            _open_table(score, table, separators)
    return score


def _open_table(score: Score, table: Path, separators: str) -> None:
    """Opens a table with some separators (codes of characters) and reads what came of it."""
    profile = f"-env:UserInstallation={table.parent.as_uri()}/profile"
    # Separators, text delimiter, UTF-8, first line, no formats, English, no quoted fields as text,
    # detect special numbers; the last word lets formulas be formulas.
    options = f"{separators},34,76,1,,1033,false,true,false,false,false,-1,true"
    done = subprocess.run(
        ["soffice", profile, "--headless", "--convert-to", "fods",
         f"--infilter=Text - txt - csv (StarCalc):{options}",
         "--outdir", str(table.parent), str(table)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    made = table.with_suffix(".fods")
    if not made.exists():
        made = next(iter(table.parent.glob("report*.fods")), made)
    if not made.exists():
        score.fail(f"LibreOffice made no spreadsheet: {done.stderr[-300:]}")
        return
    _read_spreadsheet(score, ET.parse(made).getroot(), whole=separators == "44")
    made.unlink()


def _read_spreadsheet(score: Score, root: ET.Element, *, whole: bool) -> None:
    """Reads the cells of a flat OpenDocument spreadsheet; `whole`: cells are those of the CSV."""
    names = {
        "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
        "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    }
    cells = list(root.iter(f"{{{names['table']}}}table-cell"))
    if len(cells) < 100:
        score.fail(f"LibreOffice read only {len(cells)} cells")
    for cell in cells:
        if formula := cell.get(f"{{{names['table']}}}formula"):
            score.fail(f"a formula: {formula!r}")
        if cell.find(f".//{{{names['text']}}}a") is not None:
            score.fail("a link in a cell")
        if whole:
            text = "".join(cell.itertext())
            score.read(_without_quotes(text), _in_cell)


def prometheus(made: Made) -> Score:
    """Metrics, by prometheus_client: no others than a run of the same shape has."""
    score, text = Score(made.placed), render(made, "prometheus")
    score.refuse_hidden(text)
    plain = readers.read_metrics(render(make_run(change=harmless), "prometheus"))
    metrics = readers.read_metrics(text)
    if extra := metrics.keys() - plain.keys():
        score.fail(f"forged metrics: {extra}")
    for metric in metrics.values():
        for sample in metric.samples:
            for value in sample.labels.values():
                score.read(value)
    return score


def promtool(made: Made) -> Score:
    """Metrics, by promtool of Prometheus."""
    score, text = Score(made.placed), render(made, "prometheus")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        score.fail(f"promtool: {done.stderr or done.stdout}"[:300])
    score.read(re.sub(r"\\(.)", r"\1", text))
    return score


def run_json(made: Made) -> Score:
    """run.json, by a JSON parser and its published schema: every text comes back as it was."""
    score = Score(made.placed)
    data = encode_run(_encodable(made.run))
    document = json.loads(data)
    jsonschema.Draft202012Validator(json.loads(run_schema())).validate(document)
    read_json(score, document)
    if hidden := hidden_in(data.decode()):
        score.fail(f"printed as they are: {sorted(map(ascii, hidden))[:9]}")
    if data.count(b"\n") != 1:
        score.fail("more than one line")
    return score


def store(made: Made) -> Score:
    """The store of a run, read again by the product: every text comes back as it was."""
    score, run = Score(made.placed), _encodable(made.run)
    with tempfile.TemporaryDirectory() as folder:
        read = read_run(with_export_only(Path(folder), run).parent)
    if read != run:
        score.fail("the run that is read is another one")
    read_json(score, json.loads(encode_run(read)))
    return score


def read_json(score: Score, document: Any) -> None:
    """Compares all keys and texts of JSON."""
    score.read_exactly(set(_strings(document)))


def _encodable(run: AuditRun) -> AuditRun:
    """Returns a run as JSON can have it: it has no lone surrogates, so none is ever read."""
    return msgspec.json.decode(encode_run(run), type=AuditRun)


def _keys(value: Any) -> Iterator[str]:
    """Yields the keys of JSON."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _keys(inner)


def _strings(value: Any) -> Iterator[str]:
    """Yields keys and texts of JSON."""
    yield from _keys(value)
    yield from (text for _, text in _texts(value))


def pcap_files(made: Made) -> Score:
    """Names of packet files, by the file system, and the files, by tcpdump."""
    score = Score(made.placed)
    names = dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        for host in made.run.hosts:
            name = pcap.file_name(host.name)
            if not re.fullmatch(r"[A-Za-z0-9_%~-][A-Za-z0-9_.%~-]*\.pcap", name):
                score.fail(f"the name of a file: {name!r} of {host.name!r}")
            if names.setdefault(name, host.name) != host.name:
                score.fail(f"one file for two hosts: {name!r}")
            if isinstance(host, Audited):
                Path(folder, name).write_bytes(pcap.render(host, rows=made.run.scenarios))
            score.seen |= {t for t, p in made.placed.items() if p.text == host.name}
        if {*map(str, Path(folder).parent.glob("passwd*"))}:
            score.fail("a file outside of the folder")
        files = sorted(Path(folder).iterdir())
        for file in files[:20]:
            done = subprocess.run(["tcpdump", "-nr", str(file)], capture_output=True, timeout=60)
            if done.returncode:
                score.fail(f"tcpdump: {done.stderr[-200:]!r}")
    return score


def policy(made: Made) -> Score:
    """The playbook of a golden host, by a YAML parser that is not ours: payloads as values of
    sysctls come back as they were, or as a comment, and add no key.
    """
    score = Score({})
    whole = small_fleet()
    host = replace(whole.audited[0], name=made.run.audited[0].name)
    values = dict[str, Sysctl]()
    for number, (tag, placed) in enumerate(made.placed.items()):
        text = " ".join(placed.text.encode("utf-8", "replace").decode().split())
        score.placed[tag] = placed._replace(path="sysctls.value", payload=text.removesuffix(tag))
        values[f"net.ipv4.x{number}"] = Sysctl(value=text, default="0")
    run = replace(whole, hosts=(replace(host, sysctls=values),))
    text = render_playbook(run, behaviour_of_host(run, host.name))
    score.refuse_hidden(text)
    (play,) = yaml.safe_load(text)
    if unknown := play.keys() - PLAY_KEYS:
        score.fail(f"forged keys: {unknown}")
    expected = play["sysctls"]["expect"]
    if unknown := expected.keys() - values.keys():
        score.fail(f"forged sysctls: {unknown}")
    score.read_exactly(str(test["equals"]) for test in expected.values())
    return score


def needed(*programs: str) -> str:
    """Returns the first of some programs that is not installed, "" if all are."""
    return next((name for name in programs if not installed(name)), "")


def installed(*programs: str) -> bool:
    """Returns whether one of some programs is installed."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return any(shutil.which(name, path=path) for name in programs)
